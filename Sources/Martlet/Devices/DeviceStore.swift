import Common
import Devices
import Glibc
import SQLite
import TLS

/// The file of devices, as commands work on it.
struct DeviceStore {
    let path: String

    private static let nameBytesMax = 1024

    /// - Parameter makes: the file, when it is not there; a name that is mistyped must not look like an empty one.
    private func open(makes: Bool) throws(CommandFailure) -> DeviceDatabase {
        if makes, Folder.isAbsent(self.path) {
            let folder = Folder.parent(of: self.path) ?? "."
            try Folder.require(folder, absent: "there is no folder \(folder); make it first")
        } else {
            try Folder.require(self.path, absent: Configuration.missingDeviceFile(self.path))
        }
        do throws(SQLiteError) {
            let database = try DeviceDatabase(path: self.path, use: .write)
            self.giveToOwnerOfFolder()
            return database
        } catch {
            throw CommandFailure("\(self.path): \(error.message)")
        }
    }

    /// Auth workers, whose folder it is, have to open what root has made.
    private func giveToOwnerOfFolder() {
        var status = stat()
        guard geteuid() == 0, stat(Folder.parent(of: self.path) ?? ".", &status) == 0 else { return }
        for suffix in ["", "-wal", "-shm"] { _ = chown(self.path + suffix, status.st_uid, status.st_gid) }
    }

    func attempt<Result>(
        makes: Bool = false,
        _ body: (DeviceDatabase) throws(SQLiteError) -> Result
    ) throws(CommandFailure) -> Result {
        let database = try self.open(makes: makes)
        do throws(SQLiteError) {
            return try body(database)
        } catch {
            throw CommandFailure("\(self.path): \(error.message)")
        }
    }

    func all() throws(CommandFailure) -> [Device] {
        try self.attempt { database throws(SQLiteError) in try database.all() }
    }

    func device(_ name: String) throws(CommandFailure) -> Device {
        let found = try self.attempt { database throws(SQLiteError) in try database.device(Array(name.utf8)) }
        guard let found else { throw CommandFailure("there is no device \(name) in \(self.path)") }
        return found
    }

    func add(_ device: Device) throws(CommandFailure) {
        let shown = String(decoding: device.name, as: UTF8.self)
        try Self.check(device.name)
        let isThere = try self.attempt(makes: true) { database throws(SQLiteError) in
            try database.device(device.name) != nil
        }
        guard !isThere else { throw CommandFailure("\(shown) is there already; see martlet device show") }
        try self.attempt { database throws(SQLiteError) in try database.put([device]) }
    }

    func change(_ name: String, _ body: (inout Device) throws(CommandFailure) -> Void) throws(CommandFailure) {
        var device = try self.device(name)
        try body(&device)
        try self.attempt { database throws(SQLiteError) in try database.put([device]) }
    }

    func remove(_ name: String) throws(CommandFailure) {
        let removed = try self.attempt { database throws(SQLiteError) in try database.remove(Array(name.utf8)) }
        guard removed else { throw CommandFailure("there is no device \(name) in \(self.path)") }
    }

    /// Adds devices, or replaces those of the same name; all or none.
    func put(_ devices: [Device]) throws(CommandFailure) {
        try self.attempt(makes: true) { database throws(SQLiteError) in try database.put(devices) }
    }

    /// A file to be imported, without a byte order mark.
    static func read(_ file: String, bytesMax: Int) throws(CommandFailure) -> ArraySlice<UInt8> {
        do throws(ValueError) {
            return ByteOrderMark.removed(from: try Configuration.readFile(file, bytesMax: bytesMax))
        } catch {
            throw CommandFailure("\(file): \(error.message)")
        }
    }

    /// Why an auth worker would make nothing of the file; nil: nothing is wrong with it, or somebody writes it just now. It is only
    /// read, and nothing is made beside it.
    func damage() -> String? {
        var status = stat()
        if stat(self.path, &status) == 0, status.st_mode & S_IFMT != S_IFREG { return "is not a file" }
        do throws(SQLiteError) {
            _ = try DeviceDatabase(path: self.path, use: .look).revision()
            return nil
        } catch {
            return error.isBusy ? nil : error.message
        }
    }

    // MARK: Parts

    static func check(_ name: [UInt8]) throws(CommandFailure) {
        guard !name.isEmpty, name.count <= Self.nameBytesMax, !TemplateText.hasControlCharacters(name) else {
            throw CommandFailure("a name has 1 to \(Self.nameBytesMax) bytes, and no control characters")
        }
    }

    static func set(_ password: [UInt8], of device: inout Device) throws(CommandFailure) {
        guard let made = DevicePassword.make(password) else { throw CommandFailure("OpenSSL cannot hash the password") }
        device.secret = made.secret
        device.salt = made.salt
    }

    /// 128 random bits that can be typed.
    static func randomPassword() -> [UInt8] { Hex.encode(SecureRandom.bytes(16)) }

    /// `publish:up/#`
    static func accessRow(_ text: String) throws(CommandFailure) -> AccessRow {
        guard let colon = text.firstIndex(of: ":") else {
            throw CommandFailure("\(text) is not ACCESS:FILTER, such as publish:up/%C/#")
        }
        let row = AccessRow(filter: Array(text[text.index(after: colon)...].utf8), access: Array(text[..<colon].utf8))
        guard case .rule = AccessRow.meaning(of: row.access) else {
            throw CommandFailure("\(text): the access is publish, subscribe or all")
        }
        guard !row.filter.isEmpty else { throw CommandFailure("\(text): the filter is empty") }
        guard row.filter.withUnsafeBytes({ TopicFilter.isValid($0) }) else {
            throw CommandFailure("\(text): the filter is not valid: + and # stand alone between slashes, # at the end")
        }
        return row
    }

    /// The same as somebody types it: what a row would hold as it stands is told here, if it looks like a placeholder.
    static func typedAccessRow(_ text: String) throws(CommandFailure) -> AccessRow {
        let row = try Self.accessRow(text)
        do throws(TemplateError) {
            _ = try TemplateText(row.filter)
        } catch {
            throw CommandFailure("\(text): there is no such placeholder; there are \(Placeholder.listing)")
        }
        return row
    }

    static func describe(_ device: Device) -> Report.Block {
        var block: Report.Block = []
        block.add("device", bytes: device.name)
        block.add("state", device.isDisabled ? "disabled" : "enabled")
        block.add("logs_in_by", device.secret == nil ? "certificate" : "password")
        if device.isSuperuser { block.add("superuser", "yes") }
        if !device.note.isEmpty { block.add("note", device.note) }
        for row in device.access {
            block.add("acl", String(decoding: row.access + [UInt8(ascii: ":")] + row.filter, as: UTF8.self))
        }
        return block
    }
}
