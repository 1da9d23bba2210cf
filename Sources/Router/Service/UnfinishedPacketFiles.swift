import Common
import Glibc

/// The messages of `UnfinishedPackets` in a folder, from which the next router takes them.
///
/// ```
///  index    32 bytes for each session: which file has its message, and how long that is
///  0, 1, …  payloads, each for all sessions that have the same message
/// ```
///
/// Files are used again and again, for memory that is given back and fetched anew costs more than the copy. A record is written after its
/// payload and taken back before the file gets another one, each by one write that stays within a page: whenever the process is
/// killed, what records name is whole.
///
/// They need not outlive the host, for the connections do not either: nothing is synced, and where the folder is in memory (/run) nothing
/// gets to a disk. Other roles may write to the folder's parent and are not to read messages: the folder must be this user's alone, and is
/// opened once.
final class UnfinishedPacketFiles {
    private final class File {
        let number: UInt32
        let descriptor: Int32
        var capacity: Int
        /// Nil: it is free.
        var message: Message?
        /// Records that name it.
        var uses = 0

        init(number: UInt32, descriptor: Int32, capacity: Int) {
            self.number = number
            self.descriptor = descriptor
            self.capacity = capacity
        }

        deinit {
            close(self.descriptor)
        }
    }

    private static let indexName = "index"
    /// More are not read from an index, and not written to it.
    private static let recordsMax = 1 << 16
    /// Memory of free files that is kept.
    private static let freeBytesMax = 4 << 20

    private let directory: Int32
    private let index: Int32
    private let bytesMax: Int
    private var filesByMessage: [ObjectIdentifier: File] = [:]
    private var freeFiles: [File] = []
    private var lastFile: UInt32 = 0
    /// Of all files.
    private var capacity = 0
    private var places: [UInt64: (place: Int, file: File)] = [:]
    private var freePlaces: [Int] = []
    private var placesCount = 0
    /// Packets that are not kept.
    private(set) var failures: UInt64 = 0
    private var problem: String?

    /// - Parameters:
    ///   - directory: is made; what is in it belongs to this class.
    ///   - bytesMax: of messages.
    init(directory path: String, bytesMax: Int = RouterLimits.unfinishedPacketBytesMax) throws(SystemError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemError("cannot create \(path)") }
        let directory = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard directory >= 0 else { throw SystemError("cannot open \(path)") }
        var status = stat()
        guard fstat(directory, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            close(directory)
            throw SystemError("\(path) is not for this user alone", code: EACCES)
        }
        let index = Self.open(Self.indexName, in: directory)
        guard index >= 0 else {
            let error = SystemError("cannot open \(path)/\(Self.indexName)")
            close(directory)
            throw error
        }
        self.directory = directory
        self.index = index
        self.bytesMax = bytesMax
    }

    deinit {
        close(self.index)
        close(self.directory)
    }

    private static func open(_ name: String, in directory: Int32) -> Int32 {
        let descriptor = openat(directory, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) != 0 || status.st_mode & S_IFMT != S_IFREG else {
            return descriptor
        }
        close(descriptor)
        errno = EINVAL
        return -1
    }

    // MARK: Changes

    /// - Returns: why some packet is not kept; nil: all are.
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
        do throws(SystemError) {
            let place = try self.takePlace()
            do throws(SystemError) {
                let file = try self.file(of: message)
                file.uses += 1
                self.places[session] = (place, file)
                try self.write(
                    Record(session: session, file: file.number, bytes: message.header.payloadBytes).encoded,
                    at: place
                )
            } catch {
                if self.places[session] == nil { self.freePlaces.append(place) }
                self.drop(session)
                throw error
            }
        } catch {
            self.failures += 1
            self.problem = error.description
        }
    }

    private func drop(_ session: UInt64) {
        guard let (place, file) = self.places.removeValue(forKey: session) else { return }
        guard self.clear(place) else { return }
        file.uses -= 1
        if file.uses == 0 { self.release(file) }
    }

    private func takePlace() throws(SystemError) -> Int {
        if let place = self.freePlaces.popLast() { return place }
        guard self.placesCount < Self.recordsMax else {
            throw SystemError("cannot keep more than \(Self.recordsMax) packets that are under way", code: ENOSPC)
        }
        self.placesCount += 1
        return self.placesCount - 1
    }

    /// - Returns: false when the record is still there: then its file must keep what it has.
    @discardableResult
    private func clear(_ place: Int) -> Bool {
        do throws(SystemError) {
            try self.write([UInt8](repeating: 0, count: Record.byteCount), at: place)
        } catch {
            self.problem = error.description
            return false
        }
        self.freePlaces.append(place)
        return true
    }

    private func write(_ record: [UInt8], at place: Int) throws(SystemError) {
        try Self.write(record, to: self.index, at: place * Record.byteCount)
    }

    // MARK: Files

    private func file(of message: Message) throws(SystemError) -> File {
        if let file = self.filesByMessage[ObjectIdentifier(message)] { return file }
        let bytes = message.header.payloadBytes
        let file = try self.takeFile(bytes)
        do throws(SystemError) {
            try Self.write(message.view.payload, to: file.descriptor, at: 0)
        } catch {
            self.remove(file)
            throw error
        }
        self.capacity += max(0, bytes - file.capacity)
        file.capacity = max(file.capacity, bytes)
        file.message = message
        self.filesByMessage[ObjectIdentifier(message)] = file
        return file
    }

    /// A file that has room for so many bytes, or may grow to them.
    private func takeFile(_ bytes: Int) throws(SystemError) -> File {
        if let place = self.freeFiles.lastIndex(where: { $0.capacity >= bytes }) {
            return self.freeFiles.remove(at: place)
        }
        while self.capacity + bytes > self.bytesMax, let file = self.freeFiles.popLast() { self.remove(file) }
        guard self.capacity + bytes <= self.bytesMax else {
            throw SystemError("cannot keep more than \(self.bytesMax) bytes that are under way", code: ENOSPC)
        }
        self.lastFile &+= 1
        let number = self.lastFile
        let descriptor = Self.open("\(number)", in: self.directory)
        guard descriptor >= 0 else { throw SystemError("cannot make a file for a packet that is under way") }
        return File(number: number, descriptor: descriptor, capacity: 0)
    }

    private func release(_ file: File) {
        if let message = file.message { self.filesByMessage[ObjectIdentifier(message)] = nil }
        file.message = nil
        self.freeFiles.append(file)
        var bytes = self.freeFiles.reduce(0) { $0 + $1.capacity }
        while bytes > Self.freeBytesMax {
            let oldest = self.freeFiles.removeFirst()
            bytes -= oldest.capacity
            self.remove(oldest)
        }
    }

    private func remove(_ file: File) {
        unlinkat(self.directory, "\(file.number)", 0)
        self.capacity -= file.capacity
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32, at position: Int) throws(SystemError) {
        let result = bytes.withUnsafeBytes { raw -> Result<Void, SystemError> in
            do throws(SystemError) {
                return .success(try self.write(raw, to: descriptor, at: position))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer,
        to descriptor: Int32,
        at position: Int
    ) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done, position + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw SystemError("cannot keep a packet that is under way", code: count == 0 ? EIO : errno)
            }
            done += count
        }
    }

    // MARK: After a start

    /// What the last router left, by session. To be called before any change; everything else in the folder is removed.
    func load() throws(SystemError) -> [UInt64: Message] {
        var messages: [UInt64: Message] = [:]
        var files: [UInt32: File] = [:]
        let size = Self.size(self.index)
        self.placesCount = min((size + Record.byteCount - 1) / Record.byteCount, Self.recordsMax)
        for place in 0..<self.placesCount {
            guard let bytes = Self.read(self.index, at: place * Record.byteCount, Record.byteCount),
                let record = bytes.withUnsafeBytes({ Record($0) }), messages[record.session] == nil,
                let file = files[record.file] ?? self.readFile(record)
            else {
                self.clear(place)
                continue
            }
            files[record.file] = file
            guard let message = file.message, message.header.payloadBytes == record.bytes else {
                self.clear(place)
                continue
            }
            file.uses += 1
            self.places[record.session] = (place, file)
            messages[record.session] = message
        }
        self.lastFile = files.keys.max() ?? 0
        try self.removeOthers(files)
        return messages
    }

    private func readFile(_ record: Record) -> File? {
        let descriptor = Self.open("\(record.file)", in: self.directory)
        guard descriptor >= 0 else { return nil }
        let file = File(number: record.file, descriptor: descriptor, capacity: Self.size(descriptor))
        guard record.bytes <= file.capacity, self.capacity + file.capacity <= self.bytesMax,
            let payload = Self.read(descriptor, at: 0, record.bytes)
        else { return nil }
        let message = payload.withUnsafeBytes { Message.make(payload: $0) }
        file.message = message
        self.filesByMessage[ObjectIdentifier(message)] = file
        self.capacity += file.capacity
        return file
    }

    private static func size(_ descriptor: Int32) -> Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Nil: there are not so many bytes.
    private static func read(_ descriptor: Int32, at position: Int, _ count: Int) -> [UInt8]? {
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let rest = buffer.baseAddress?.advanced(by: filled)
                let got = pread(descriptor, rest, count - filled, position + filled)
                if got < 0, errno == EINTR { continue }
                guard got > 0 else { break }
                filled += got
            }
        }
        return bytes.count == count ? bytes : nil
    }

    private func removeOthers(_ files: [UInt32: File]) throws(SystemError) {
        let descriptor = openat(self.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, let folder = fdopendir(descriptor) else {
            throw SystemError("cannot read the folder of packets that are under way")
        }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." || name == Self.indexName { continue }
            if let number = UInt32(name), String(number) == name, files[number] != nil { continue }
            unlinkat(self.directory, name, 0)
        }
    }
}

extension UnfinishedPacketFiles {
    /// A line of the index; all zeros: none.
    private struct Record {
        static let byteCount = 32

        let session: UInt64
        let file: UInt32
        let bytes: Int

        init(session: UInt64, file: UInt32, bytes: Int) {
            self.session = session
            self.file = file
            self.bytes = bytes
        }

        init?(_ raw: UnsafeRawBufferPointer) {
            func word(_ index: Int) -> UInt64 { raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self) }
            guard let file = UInt32(exactly: word(1)), let bytes = Int(exactly: word(2)), bytes > 0 else { return nil }
            self.init(session: word(0), file: file, bytes: bytes)
            guard word(3) == self.check else { return nil }
        }

        private var check: UInt64 {
            var hash = self.session
            for word in [UInt64(self.file), UInt64(self.bytes)] {
                hash = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
                hash ^= hash >> 29
            }
            return hash
        }

        var encoded: [UInt8] {
            [self.session, UInt64(self.file), UInt64(self.bytes), self.check].withUnsafeBytes { [UInt8]($0) }
        }
    }
}
