import Common
import Glibc
import TestSupport
import Testing

@testable import Martlet

/// Files that may be there, and cannot be looked at: nobody is to be sent to make them anew.
@Suite struct UnreachableFileTests {
    private let folder: TemporaryDirectory
    /// Below a file, where nobody can look, root neither.
    private var path: String { self.folder.file("file/below") }

    init() throws {
        self.folder = try TemporaryDirectory("martlet-unreachable")
        try Folder.writeFile(self.folder.file("file"), "")
    }

    private func failure(_ body: () throws -> Void) -> String {
        let failure = #expect(throws: CommandFailure.self) { try body() }
        return failure.map { "\($0)" } ?? ""
    }

    @Test("Regression: a store that cannot be looked at is not said to be missing")
    func store() {
        #expect(self.failure { _ = try StoreImage(path: self.path) }.contains("\(self.path): Not a directory"))
        let missing = self.folder.file("none")
        #expect(self.failure { _ = try StoreImage(path: missing) } == "there is no store \(missing)")
    }

    @Test("Regression: a file of devices that cannot be looked at is not said to be missing")
    func devices() {
        let store = DeviceStore(path: self.path)
        #expect(self.failure { _ = try store.all() }.contains("\(self.path): Not a directory"))
        let added = self.failure { try store.attempt(makes: true) { _ in } }
        #expect(added.contains("\(self.path): Not a directory"))
        let missing = self.folder.file("none")
        let text = self.failure { _ = try DeviceStore(path: missing).all() }
        #expect(text.hasPrefix("there is no file \(missing); martlet device add"))
    }

    // Root may read everything.
    @Test(
        "Regression: a user who may not read the store, or the file of devices, is told that, and who may",
        .enabled(if: geteuid() != 0)
    )
    func permission() throws {
        let closed = self.folder.file("closed")
        try Folder.make(closed)
        try Folder.writeFile("\(closed)/file", "")
        #expect(chmod(closed, 0) == 0)
        defer { chmod(closed, 0o700) }
        let expected = "\(closed)/file: Permission denied; run it as root, or as the user of the role"
        #expect(self.failure { _ = try StoreImage(path: "\(closed)/file") }.contains(expected))
        #expect(self.failure { _ = try DeviceStore(path: "\(closed)/file").all() }.contains(expected))
    }
}
