import Common
import Glibc
import SQLite

/// The devices of the embedded source: a SQLite file that the tool writes and auth workers read.
///
/// It has a rollback journal and no write-ahead log, so that readers need nothing but the right to read. Each change has a revision, by
/// which readers find out what has changed; removed names are remembered for that.
package final class DeviceDatabase {
    package enum Use {
        /// Of a file that may be of any kind: nothing is made beside it.
        case look
        case read
        case write
    }

    package enum FileChange {
        case none
        case written
        /// Another file is at the path, or none: what is read here is of the one that was there.
        case replaced
    }

    private static let schema = [
        """
        CREATE TABLE devices (
            name BLOB PRIMARY KEY,
            secret BLOB, -- PBKDF2 in hexadecimal; NULL: no password is needed
            salt BLOB,
            superuser INTEGER NOT NULL,
            disabled INTEGER NOT NULL,
            note TEXT NOT NULL,
            revision INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE access (
            name BLOB NOT NULL,
            position INTEGER NOT NULL,
            filter BLOB NOT NULL,
            access BLOB NOT NULL,
            PRIMARY KEY (name, position)
        ) WITHOUT ROWID;
        CREATE TABLE removed (name BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
        CREATE INDEX devices_by_revision ON devices (revision);
        CREATE INDEX removed_by_revision ON removed (revision);
        """
    ]

    /// Longer than a commit of the tool takes, shorter than anybody notices.
    private static let readBusyMilliseconds: Int32 = 20
    private static let writeBusyMilliseconds: Int32 = 5000

    private let database: Database
    private let selectDevice: Statement
    private let selectAccess: Statement
    private let selectVersion: Statement
    private let path: String
    private var stamp: FileStamp?

    /// - Throws: also for a file of a later release, `SQLiteError` with the reason.
    package init(path: String, use: Use) throws(SQLiteError) {
        self.path = path
        self.stamp = FileStamp(path)
        let access: Database.Access =
            switch use {
            case .look: Self.hasWriteAheadLog(path) ? .immutable : .readOnly
            case .read: .readOnly
            case .write: .create
            }
        self.database = try Database(
            path: path,
            access: access,
            busyTimeoutMilliseconds: use == .write ? Self.writeBusyMilliseconds : Self.readBusyMilliseconds
        )
        if use == .write {
            chmod(path, 0o640)
            try self.database.migrate(Self.schema)
        }
        let version = try self.database.userVersion()
        guard version == Self.schema.count else {
            throw SQLiteError(
                code: 1,
                message: version > Self.schema.count
                    ? "it was made by a later release" : "it is no file of devices; martlet device add makes one",
                path: path
            )
        }
        self.selectDevice = try self.database.prepare(
            "SELECT name, secret, salt, superuser, disabled, note FROM devices WHERE name = ?1"
        )
        self.selectAccess = try self.database.prepare(
            "SELECT filter, access FROM access WHERE name = ?1 ORDER BY position"
        )
        self.selectVersion = try self.database.prepare("PRAGMA data_version")
    }

    /// Of somebody else's file: even readers make the log's index.
    private static func hasWriteAheadLog(_ path: String) -> Bool {
        let file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        var readVersion: UInt8 = 0
        return pread(file, &readVersion, 1, 19) == 1 && readVersion == 2
    }

    /// What has become of the file at the path since the last call, whatever SQLite says of it: somebody may have copied another one
    /// over it.
    package func fileChange() -> FileChange {
        let former = self.stamp
        self.stamp = FileStamp(self.path)
        guard let former, let stamp = self.stamp, stamp.isOfSameFile(as: former) else { return .replaced }
        return stamp == former ? .none : .written
    }

    // MARK: Reading

    /// Nil: there is no such device.
    package func device(_ name: [UInt8]) throws(SQLiteError) -> Device? {
        defer { self.selectDevice.reset() }
        try self.selectDevice.bind(name, at: 1)
        guard try self.selectDevice.step() else { return nil }
        var device = Self.device(self.selectDevice)
        device.access = try self.access(of: name)
        return device
    }

    private func access(of name: [UInt8]) throws(SQLiteError) -> [AccessRow] {
        defer { self.selectAccess.reset() }
        try self.selectAccess.bind(name, at: 1)
        var rows: [AccessRow] = []
        while try self.selectAccess.step() {
            rows.append(
                AccessRow(filter: self.selectAccess.bytes(0) ?? [], access: self.selectAccess.bytes(1) ?? [])
            )
        }
        return rows
    }

    private static func device(_ statement: Statement) -> Device {
        var device = Device(name: statement.bytes(0) ?? [])
        device.secret = statement.bytes(1)
        device.salt = statement.bytes(2)
        device.isSuperuser = statement.bool(3)
        device.isDisabled = statement.bool(4)
        device.note = statement.text(5) ?? ""
        return device
    }

    /// All devices, in order of their names.
    package func all() throws(SQLiteError) -> [Device] {
        let statement = try self.database.prepare(
            "SELECT name, secret, salt, superuser, disabled, note FROM devices ORDER BY name"
        )
        var devices: [Device] = []
        while try statement.step() { devices.append(Self.device(statement)) }
        for index in devices.indices { devices[index].access = try self.access(of: devices[index].name) }
        return devices
    }

    /// Another number after somebody else has written the file.
    package func dataVersion() throws(SQLiteError) -> Int64 {
        defer { self.selectVersion.reset() }
        return try self.selectVersion.step() ? self.selectVersion.int64(0) : 0
    }

    package func revision() throws(SQLiteError) -> Int64 {
        let statement = try self.database.prepare(
            "SELECT max(ifnull((SELECT max(revision) FROM devices), 0), ifnull((SELECT max(revision) FROM removed), 0))"
        )
        return try statement.step() ? statement.int64(0) : 0
    }

    /// What was added, changed or removed after a revision.
    package func namesChanged(after revision: Int64) throws(SQLiteError) -> [[UInt8]] {
        let statement = try self.database.prepare(
            "SELECT name FROM devices WHERE revision > ?1 UNION SELECT name FROM removed WHERE revision > ?1"
        )
        try statement.bind(revision, at: 1)
        var names: [[UInt8]] = []
        while try statement.step() { names.append(statement.bytes(0) ?? []) }
        return names
    }

    // MARK: Writing

    /// Adds devices, or replaces those of the same name; all or none.
    package func put(_ devices: [Device]) throws(SQLiteError) {
        try self.database.transaction { () throws(SQLiteError) in
            let revision = try self.revision() + 1
            let insert = try self.database.prepare(
                """
                INSERT INTO devices (name, secret, salt, superuser, disabled, note, revision)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (name) DO UPDATE SET secret = ?2, salt = ?3, superuser = ?4, disabled = ?5, note = ?6, revision = ?7
                """
            )
            for device in devices {
                try insert.bind(device.name, at: 1)
                try insert.bind(device.secret, at: 2)
                try insert.bind(device.salt, at: 3)
                try insert.bind(device.isSuperuser, at: 4)
                try insert.bind(device.isDisabled, at: 5)
                try insert.bind(device.note, at: 6)
                try insert.bind(revision, at: 7)
                try insert.run()
                try self.run("DELETE FROM removed WHERE name = ?1", device.name)
                try self.replaceAccess(of: device)
            }
        }
    }

    private func replaceAccess(of device: Device) throws(SQLiteError) {
        try self.run("DELETE FROM access WHERE name = ?1", device.name)
        let insert = try self.database.prepare(
            "INSERT INTO access (name, position, filter, access) VALUES (?1, ?2, ?3, ?4)"
        )
        for (position, row) in device.access.enumerated() {
            try insert.bind(device.name, at: 1)
            try insert.bind(Int64(position), at: 2)
            try insert.bind(row.filter, at: 3)
            try insert.bind(row.access, at: 4)
            try insert.run()
        }
    }

    /// False: there was no such device.
    package func remove(_ name: [UInt8]) throws(SQLiteError) -> Bool {
        try self.database.transaction { () throws(SQLiteError) -> Bool in
            let revision = try self.revision() + 1
            try self.run("DELETE FROM devices WHERE name = ?1", name)
            guard self.database.changes > 0 else { return false }
            try self.run("DELETE FROM access WHERE name = ?1", name)
            let insert = try self.database.prepare("INSERT OR REPLACE INTO removed (name, revision) VALUES (?1, ?2)")
            try insert.bind(name, at: 1)
            try insert.bind(revision, at: 2)
            try insert.run()
            return true
        }
    }

    private func run(_ sql: String, _ name: [UInt8]) throws(SQLiteError) {
        let statement = try self.database.prepare(sql)
        try statement.bind(name, at: 1)
        try statement.run()
    }
}
