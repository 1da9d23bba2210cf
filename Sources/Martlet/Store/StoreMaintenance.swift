import Common
import Glibc
import RouterStore
import SQLite
import TLS

/// What `martlet store` does to the router's store.
struct StoreMaintenance {
    let path: String

    // MARK: Looking

    /// - Returns: lines for people, and whether the store is sound.
    func check() throws(CommandFailure) -> (lines: [String], isSound: Bool) {
        let image = try StoreImage(path: self.path)
        do throws(SQLiteError) {
            let isSound = try image.isSound()
            let contents = try StoreContents(image)
            var lines = [
                "file               \(self.path)", "sessions           \(contents.sessions.count)",
                "subscriptions      \(contents.subscriptionCount)", "queued messages    \(contents.queuedCount)",
                "retained messages  \(contents.retained.count)", "distinct messages  \(contents.messages.count)",
            ]
            let senseless = contents.senseless.count + image.brokenGroups
            if !isSound { lines.append("SQLite finds the file damaged; see `martlet store repair`") }
            if senseless > 0 { lines.append("\(senseless) entries make no sense; see `martlet store repair`") }
            if isSound, senseless == 0 { lines.append("the store is sound") }
            return (lines, isSound && senseless == 0)
        } catch {
            return (["\(self.path): \(error.message); see `martlet store repair`"], false)
        }
    }

    /// Everything as JSON, one object a line: sessions with their subscriptions, then their messages; then what is retained.
    func export(_ line: (String) -> Void) throws(CommandFailure) {
        let contents = try self.contents()
        for (_, session) in contents.sessions.sorted(by: { $0.key < $1.key }) {
            let name = Self.quoted(session.stored.clientIdentifier)
            let filters = session.filters.map { Self.quoted($0) }.joined(separator: ",")
            line(
                "{\"session\":\(name),\"expiry_seconds\":\(session.stored.expirySeconds),"
                    + "\"connected\":\(session.stored.isConnected),"
                    + "\"subscriptions\":[\(filters)],\"queued\":\(session.messages.count),\"received\":\(session.received)}"
            )
            for message in session.messages.compactMap({ contents.messages[$0] }) {
                line("{\"message_for\":\(name),\(Self.describe(message))}")
            }
        }
        for number in contents.retained {
            if let message = contents.messages[number] { line("{\"retained\":true,\(Self.describe(message))}") }
        }
    }

    private func contents() throws(CommandFailure) -> StoreContents {
        let image = try StoreImage(path: self.path)
        do throws(SQLiteError) {
            return try StoreContents(image)
        } catch {
            throw CommandFailure("\(self.path): \(error.message)")
        }
    }

    /// What a message does not have is left out.
    private static func describe(_ message: StoreContents.Message) -> String {
        var members = [
            "\"topic\":\(Self.quoted(message.topic))", "\"qos\":\(message.qos.rawValue)",
            "\"payload_hex\":\(Self.hexadecimal(message.payload))",
        ]
        let properties = message.properties
        if let expiry = message.expiry { members.append("\"expires\":\(expiry)") }
        if let format = properties.payloadFormatIndicator { members.append("\"payload_format\":\(format)") }
        if let type = properties.contentType { members.append("\"content_type\":\(Self.quoted(type))") }
        if let topic = properties.responseTopic { members.append("\"response_topic\":\(Self.quoted(topic))") }
        if let data = properties.correlationData {
            members.append("\"correlation_data_hex\":\(Self.hexadecimal(data))")
        }
        if !properties.userProperties.isEmpty {
            let pairs = properties.userProperties.map { "[\(Self.quoted($0.name)),\(Self.quoted($0.value))]" }
            members.append("\"user_properties\":[\(pairs.joined(separator: ","))]")
        }
        return members.joined(separator: ",")
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        "\"\(String(decoding: Hex.encode(bytes), as: UTF8.self))\""
    }

    private static func quoted(_ text: [UInt8]) -> String { JSONText.quoted(String(decoding: text, as: UTF8.self)) }

    // MARK: Copies

    /// Copies the store as it is at this moment; the router may run.
    func backup(to target: String) throws(CommandFailure) {
        guard access(target, F_OK) != 0 else { throw CommandFailure("\(target) is there already") }
        let image = try StoreImage(path: self.path)
        do throws(SQLiteError) {
            try image.copy(to: target)
        } catch {
            unlink(target)
            throw CommandFailure("\(target): \(error.message)")
        }
        chmod(target, 0o600)
        try Self.synchronize(target)
        guard try StoreMaintenance(path: target).check().isSound else {
            throw CommandFailure(
                "\(target) was written, but is not sound, as the store itself is not; see martlet store check"
            )
        }
    }

    /// Puts a backup in the place of the store, which is kept beside it. The router must not run.
    /// - Returns: where the former store is; nil: there was none.
    func restore(from backup: String) throws(CommandFailure) -> String? {
        guard try StoreMaintenance(path: backup).check().isSound else {
            throw CommandFailure("\(backup) is not sound; nothing was changed")
        }
        let lock = try self.takeLock()
        defer { withExtendedLifetime(lock) {} }
        let fresh = self.path + ".new"
        unlink(fresh)
        let image = try StoreImage(path: backup)
        do throws(SQLiteError) {
            try image.copy(to: fresh)
        } catch {
            throw CommandFailure("\(fresh): \(error.message)")
        }
        return try self.exchange(fresh)
    }

    /// Makes a new store of everything that can still be read; the damaged one is kept beside it. The router must not run.
    func repair() throws(CommandFailure) -> (kept: Int, left: Int, former: String?) {
        let lock = try self.takeLock()
        defer { withExtendedLifetime(lock) {} }
        let image = try StoreImage(path: self.path, isDamaged: true)
        let fresh = self.path + ".new"
        for suffix in ["", "-wal", "-shm"] { unlink(fresh + suffix) }
        var entries: [[UInt8]: [UInt8]] = [:]
        for kind in StoreKey.all {
            // From both ends up to the damage.
            for order in [StoreRows.Order.rising, .falling] {
                let wasWhole = (try? image.readRows(kind, order) { entries[$0] = $1 }) != nil
                if wasWhole { break }
            }
        }
        try? image.readLog()
        for (key, value) in image.logged { entries[key] = value }
        do throws(SQLiteError) {
            try Self.write(entries, to: fresh)
        } catch {
            throw CommandFailure("\(fresh): \(error.message)")
        }
        let left = try StoreMaintenance(path: fresh).removeSenseless()
        return (entries.count - left, left, try self.exchange(fresh))
    }

    private static func write(_ entries: [[UInt8]: [UInt8]], to path: String) throws(SQLiteError) {
        let database = try Database(path: path, busyTimeoutMilliseconds: 1_000)
        try database.migrate(StoreSchema.steps)
        let editor = try StoreEditor(database)
        try database.transaction { () throws(SQLiteError) in
            for (key, value) in entries { try editor.set(key, value) }
        }
    }

    /// Removing one may leave another without what it names.
    private func removeSenseless() throws(CommandFailure) -> Int {
        var removed = 0
        while true {
            let senseless = try self.contents().senseless
            if senseless.isEmpty { return removed }
            removed += senseless.count
            do throws(SQLiteError) {
                let editor = try StoreEditor(Database(path: self.path, busyTimeoutMilliseconds: 1_000))
                for key in senseless { try editor.set(key, nil) }
            } catch {
                throw CommandFailure("\(self.path): \(error.message)")
            }
        }
    }

    // MARK: Files

    private var folder: String { Folder.parent(of: self.path) ?? "." }

    private func takeLock() throws(CommandFailure) -> StoreLock {
        var status = stat()
        guard stat(self.folder, &status) == 0 else {
            guard errno == ENOENT else { throw CommandFailure(Configuration.unreadable(self.folder, errno)) }
            throw CommandFailure(
                "there is no folder \(self.folder); a router that was started once has made it, with its user as the owner"
            )
        }
        do throws(StoreLock.Failure) {
            let lock = try StoreLock(storePath: self.path)
            let lockPath = self.path + StoreLock.suffix
            if geteuid() == 0 { _ = chown(lockPath, status.st_uid, status.st_gid) }
            return lock
        } catch {
            switch error {
            case .isTaken:
                throw CommandFailure("the router is running; stop it first (systemctl stop martlet-router)")
            case .cannotOpen(let reason): throw CommandFailure(reason)
            }
        }
    }

    /// Under the lock: the file at `fresh` becomes the store.
    private func exchange(_ fresh: String) throws(CommandFailure) -> String? {
        try Self.synchronize(fresh)
        var status = stat()
        // Whose it was, or else whose the folder is: the command may be run by root.
        if stat(self.path, &status) == 0 {
            _ = chown(fresh, status.st_uid, status.st_gid)
            chmod(fresh, status.st_mode & 0o777)
        } else if stat(self.folder, &status) == 0 {
            _ = chown(fresh, status.st_uid, status.st_gid)
            chmod(fresh, 0o600)
        }
        var former: String?
        if access(self.path, F_OK) == 0 {
            var number = 1
            while access("\(self.path).former-\(number)", F_OK) == 0 { number += 1 }
            let target = "\(self.path).former-\(number)"
            for suffix in ["-wal", "-shm", ""] where access(self.path + suffix, F_OK) == 0 {
                guard rename(self.path + suffix, target + suffix) == 0 else {
                    throw CommandFailure("\(target)\(suffix): \(String(cString: strerror(errno)))")
                }
            }
            former = target
        }
        guard rename(fresh, self.path) == 0 else {
            throw CommandFailure("\(self.path): \(String(cString: strerror(errno)))")
        }
        return former
    }

    private static func synchronize(_ path: String) throws(CommandFailure) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw CommandFailure("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        guard fsync(file) == 0 else { throw CommandFailure("\(path): \(String(cString: strerror(errno)))") }
    }
}
