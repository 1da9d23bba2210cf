import Common
import Glibc

/// The messages of `UnfinishedPackets` as files, from which the next router takes them: payloads, named after their sessions. Sessions that
/// have the same message share a file.
///
/// They need not outlive the host, for the connections do not either: nothing is synced, and where the folder is in memory (/run) nothing
/// gets to a disk. Other roles may write to the folder's parent and are not to read messages: the folder must be this user's alone, and is
/// opened once.
final class UnfinishedPacketFiles {
    private final class File {
        let message: Message
        var sessions: Set<UInt64> = []

        init(_ message: Message) {
            self.message = message
        }
    }

    private let directory: Int32
    private let bytesMax: Int
    private var files: [ObjectIdentifier: File] = [:]
    private var filesBySession: [UInt64: File] = [:]
    private var bytes = 0
    /// Packets that got no file.
    private(set) var failures: UInt64 = 0
    private var problem: String?

    /// - Parameters:
    ///   - directory: is made; what is in it belongs to this class.
    ///   - bytesMax: of messages.
    init(directory path: String, bytesMax: Int = RouterLimits.unfinishedPacketBytesMax) throws(SystemError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemError("cannot create \(path)") }
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard directory >= 0 else { throw SystemError("cannot open \(path)") }
        var status = stat()
        guard fstat(directory, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            close(directory)
            throw SystemError("\(path) is not for this user alone", code: EACCES)
        }
        self.directory = directory
        self.bytesMax = bytesMax
    }

    deinit {
        close(self.directory)
    }

    /// - Returns: why some packet got no file; nil: all did.
    func perform(_ changes: [UnfinishedPackets.Change]) -> String? {
        self.problem = nil
        for change in changes {
            switch change {
            case .keep(let session, let message): self.keep(session, message)
            case .drop(let session): self.drop(session)
            }
        }
        return self.problem
    }

    private func keep(_ session: UInt64, _ message: Message) {
        self.drop(session)
        if let file = self.files[ObjectIdentifier(message)], let other = file.sessions.first {
            guard linkat(self.directory, "\(other)", self.directory, "\(session)", 0) == 0 else {
                return self.failed(SystemError("cannot make a link in the folder of packets under way").description)
            }
            return self.add(file, session)
        }
        guard self.bytes + message.countedBytes <= self.bytesMax else {
            return self.failed("there are more than \(self.bytesMax) bytes of such packets")
        }
        do throws(SystemError) {
            try self.write(message.view.payload, to: "\(session)")
        } catch {
            return self.failed(error.description)
        }
        let file = File(message)
        self.files[ObjectIdentifier(message)] = file
        self.bytes += message.countedBytes
        self.add(file, session)
    }

    private func add(_ file: File, _ session: UInt64) {
        file.sessions.insert(session)
        self.filesBySession[session] = file
    }

    private func failed(_ problem: String) {
        self.failures += 1
        self.problem = problem
    }

    private func drop(_ session: UInt64) {
        guard let file = self.filesBySession.removeValue(forKey: session) else { return }
        unlinkat(self.directory, "\(session)", 0)
        file.sessions.remove(session)
        guard file.sessions.isEmpty else { return }
        self.files[ObjectIdentifier(file.message)] = nil
        self.bytes -= file.message.countedBytes
    }

    private func write(_ payload: UnsafeRawBufferPointer, to name: String) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
        let descriptor = openat(self.directory, Self.temporaryName, flags, 0o600)
        guard descriptor >= 0 else { throw SystemError("cannot keep a packet that is under way") }
        var code: Int32 = 0
        var rest = payload[...]
        while !rest.isEmpty, code == 0 {
            let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { code = count == 0 ? EIO : errno }
        }
        close(descriptor)
        if code == 0, renameat(self.directory, Self.temporaryName, self.directory, name) != 0 { code = errno }
        guard code == 0 else {
            unlinkat(self.directory, Self.temporaryName, 0)
            throw SystemError("cannot keep a packet that is under way", code: code)
        }
    }

    private static var temporaryName: String { "new" }

    // MARK: After a start

    /// What the last router left, by session. What is no such file is removed.
    func load() throws(SystemError) -> [UInt64: Message] {
        let descriptor = openat(self.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, let folder = fdopendir(descriptor) else {
            throw SystemError("cannot read the folder of packets under way")
        }
        defer { closedir(folder) }
        var messages: [UInt64: Message] = [:]
        var byInode: [ino_t: Message] = [:]
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            guard let session = UInt64(name), String(session) == name,
                let message = self.read(name, &byInode)
            else {
                unlinkat(self.directory, name, 0)
                continue
            }
            let file = self.files[ObjectIdentifier(message)] ?? File(message)
            if file.sessions.isEmpty { self.bytes += message.countedBytes }
            self.files[ObjectIdentifier(message)] = file
            self.add(file, session)
            messages[session] = message
        }
        return messages
    }

    /// - Parameter known: of the files that were read.
    private func read(_ name: String, _ known: inout [ino_t: Message]) -> Message? {
        let descriptor = openat(self.directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        if let message = known[status.st_ino] { return message }
        let count = Int(status.st_size)
        guard count > 0, self.bytes + count <= self.bytesMax else { return nil }
        var isWhole = true
        let payload = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = Glibc.read(descriptor, buffer.baseAddress?.advanced(by: filled), count - filled)
                if got < 0, errno == EINTR { continue }
                guard got > 0 else { break }
                filled += got
            }
            isWhole = filled == count
        }
        guard isWhole else { return nil }
        let message = payload.withUnsafeBytes { Message.make(payload: $0) }
        known[status.st_ino] = message
        return message
    }
}
