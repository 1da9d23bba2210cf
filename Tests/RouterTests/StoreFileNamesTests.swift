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

    /// Has the folder look as if nothing had happened in it for an hour.
    private func age() {
        let time = timespec(tv_sec: Int(Clock.wall() / Nanoseconds.perSecond) - 3600, tv_nsec: 0)
        #expect(utimensat(AT_FDCWD, PathText.folder(of: self.path), [time, time], 0) == 0)
    }

    private func look(_ names: inout StoreFileNames, now: Instant) -> String? {
        names.settle(now: now) { $0.missing() }
    }

    @Test func theFoldersTimeTellsOfEachChangeInIt() throws {
        self.age()
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names, now: 1) == nil)
        #expect(names.isUntouched(now: 2))
        #expect(unlink(self.path + "-wal") == 0)
        #expect(!names.isUntouched(now: 3))
        #expect(self.look(&names, now: 3) == self.path + "-wal")
        #expect(!names.isUntouched(now: 4))
    }

    /// Two changes within one tick of the kernel's clock leave the same time.
    @Test func aFolderThatWasJustChangedIsLookedAtAgain() {
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names, now: 1) == nil)
        #expect(!names.isUntouched(now: 2))
    }

    /// The clock was set back since, or the folder is another machine's.
    @Test func aTimeInTheFutureTellsNothing() {
        let time = timespec(tv_sec: Int(Clock.wall() / Nanoseconds.perSecond) + 3600, tv_nsec: 0)
        #expect(utimensat(AT_FDCWD, PathText.folder(of: self.path), [time, time], 0) == 0)
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names, now: 1) == nil)
        #expect(!names.isUntouched(now: 2))
    }

    /// What a symbolic link leads to may be removed without a change in the folder.
    @Test func namesAreLookedAtOnceASecondWhateverTheFolderSays() throws {
        let elsewhere = try TemporaryDirectory()
        #expect(rename(self.path, elsewhere.file("store.db")) == 0)
        #expect(symlink(elsewhere.file("store.db"), self.path) == 0)
        self.age()
        var names = StoreFileNames(path: self.path)
        #expect(self.look(&names, now: 1) == nil)
        #expect(unlink(elsewhere.file("store.db")) == 0)
        #expect(!names.isUntouched(now: 1 + Nanoseconds.perSecond))
        #expect(self.look(&names, now: 1 + Nanoseconds.perSecond) == self.path)
    }
}
