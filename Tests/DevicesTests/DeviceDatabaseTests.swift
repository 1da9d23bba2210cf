import Common
import Devices
import TestSupport
import Testing

@Suite struct DeviceDatabaseTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory("martlet-devices")
        self.path = self.directory.file("devices.db")
    }

    private func device(_ name: String) -> Device { Device(name: Array(name.utf8)) }

    @Test func devicesAreKeptAsTheyAre() throws {
        let database = try DeviceDatabase(path: self.path, use: .write)
        var full = self.device("full")
        full.secret = Array("aa".utf8)
        full.salt = Array("bb".utf8)
        full.isSuperuser = true
        full.isDisabled = true
        full.note = "in the cellar"
        full.access = [
            AccessRow(filter: Array("b".utf8), access: Array("all".utf8)),
            AccessRow(filter: Array("a".utf8), access: Array("publish".utf8)),
        ]
        try database.put([full, self.device("bare")])
        let reader = try DeviceDatabase(path: self.path, use: .read)
        #expect(try reader.device(Array("full".utf8)) == full)
        #expect(try reader.device(Array("bare".utf8)) == self.device("bare"))
        #expect(try reader.device(Array("nobody".utf8)) == nil)
        #expect(try reader.all().map(\.name) == ["bare", "full"].map { Array($0.utf8) })
    }

    @Test func readersFindOutWhatHasChanged() throws {
        let writer = try DeviceDatabase(path: self.path, use: .write)
        try writer.put([self.device("a"), self.device("b")])
        let reader = try DeviceDatabase(path: self.path, use: .read)
        let (version, revision) = (try reader.dataVersion(), try reader.revision())
        #expect(try reader.dataVersion() == version)
        #expect(try reader.namesChanged(after: revision) == [])
        try writer.put([self.device("c")])
        #expect(try writer.remove(Array("a".utf8)))
        #expect(try !writer.remove(Array("a".utf8)))
        #expect(try reader.dataVersion() != version)
        #expect(try reader.namesChanged(after: revision) == ["a", "c"].map { Array($0.utf8) })
        try writer.put([self.device("a")])
        let later = try reader.revision()
        #expect(later > revision)
        #expect(try reader.namesChanged(after: later) == [])
    }

    @Test func filesOfAnotherKindAreRefused() throws {
        #expect(throws: (any Error).self) { try DeviceDatabase(path: self.path, use: .read) }
        try writeFile(self.path, Array("this is no database, and longer than a header of one would be".utf8))
        #expect(throws: (any Error).self) { try DeviceDatabase(path: self.path, use: .read) }
    }

    @Test func passwordsAreSaltedAndFit() throws {
        let made = try #require(DevicePassword.make(Array("secret".utf8)))
        let again = try #require(DevicePassword.make(Array("secret".utf8)))
        #expect(made.salt != again.salt && made.secret != again.secret)
        #expect(made.secret.count == 2 * DevicePassword.keyBytes)
    }
}
