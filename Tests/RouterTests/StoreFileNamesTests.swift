import Common
import Glibc
import TestSupport
import Testing

@testable import RouterStore

/// Whether a store's files are still there is asked at each commit. The folder's time answers that, where it can.
@Suite struct StoreFileNamesTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
        for suffix in StoreFileNames.suffixes { try self.make(suffix) }
    }

    private func make(_ suffix: String) throws {
        let descriptor = open(self.path + suffix, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0)
        close(descriptor)
    }

    private func look(_ names: inout StoreFileNames) -> String? {
        names.settle { $0.missing() }
    }

    /// Looks until the folder has not changed for long enough.
    private func settle(_ names: inout StoreFileNames) {
        let deadline = Clock.monotonic() + 20 * Nanoseconds.perSecond
        while !names.isUntouched, Clock.monotonic() < deadline {
            #expect(self.look(&names) == nil)
            usleep(1000)
        }
        #expect(names.isUntouched)
    }

    /// - Parameter setsBack: the folder's time to what it was, as cleaners of temporary files do.
    @Test(arguments: [false, true])
    func theFoldersTimeTellsOfEachChangeInIt(setsBack: Bool) throws {
        var names = StoreFileNames(path: self.path)
        self.settle(&names)
        let folder = PathText.folder(of: self.path)
        var before = stat()
        #expect(stat(folder, &before) == 0)
        #expect(unlink(self.path + "-wal") == 0)
        if setsBack { #expect(utimensat(AT_FDCWD, folder, [before.st_atim, before.st_mtim], 0) == 0) }
        #expect(!names.isUntouched)
        #expect(self.look(&names) == self.path + "-wal")
        #expect(!names.isUntouched)
    }

    /// Two changes within one tick of the kernel's clock leave the same time.
    @Test func aFolderThatWasJustChangedIsLookedAtAgain() throws {
        let began = Clock.monotonic()
        try self.make(".other")
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names) == nil)
        let isUntouched = names.isUntouched
        // Not if this thread stood still meanwhile.
        #expect(!isUntouched || Clock.monotonic() - began > 40 * Nanoseconds.perMillisecond)
    }

    /// What a symbolic link leads to may be removed without a change in the folder.
    @Test func theNameOfALinkIsLookedAtWhateverTheFolderSays() throws {
        let elsewhere = try TemporaryDirectory()
        #expect(rename(self.path, elsewhere.file("store.db")) == 0)
        #expect(symlink(elsewhere.file("store.db"), self.path) == 0)
        let began = Clock.monotonic()
        var names = StoreFileNames(path: self.path)
        while Clock.monotonic() - began < 200 * Nanoseconds.perMillisecond {
            #expect(self.look(&names) == nil)
            #expect(!names.isUntouched)
            usleep(10_000)
        }
        #expect(unlink(elsewhere.file("store.db")) == 0)
        #expect(self.look(&names) == self.path)
    }

    /// The folder was moved away between the opening of the store and the first look.
    @Test func aDatabaseThatIsGoneBeforeTheFirstLookIsMissing() throws {
        #expect(unlink(self.path) == 0)
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names) == self.path)
        // Another one there by now is not ours.
        try self.make("")
        #expect(self.look(&names) == self.path)
    }
}
