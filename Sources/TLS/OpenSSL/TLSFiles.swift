import COpenSSL
import Common
import Glibc

/// Reading and writing PEM files, with errors that name the file.
enum TLSFiles {
    /// The largest CA bundle of a distribution has 250 kB; whatever is larger is not a certificate file.
    static let bytesMax = 16 << 20

    /// As `AtomicFile` does.
    static func write(_ bytes: [UInt8], to path: String, permissions: mode_t) throws(TLSError) {
        do throws(SystemError) {
            try AtomicFile.write(bytes, to: path, permissions: permissions)
        } catch {
            throw TLSError(error.description)
        }
    }

    /// The whole file. `setting` is the configuration key that named it ("certificate_file").
    static func read(
        _ path: String,
        setting: String,
        bytesMax: Int = TLSFiles.bytesMax
    ) throws(TLSError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.unreadable(path, setting: setting, code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.unreadable(path, setting: setting, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw TLSError("\(setting) \(path) is not a file; give the path of a PEM file", setting: setting)
        }
        guard status.st_size <= bytesMax else {
            throw TLSError(
                "\(setting) \(path) holds \(status.st_size) bytes; at most \(bytesMax) are read",
                setting: setting
            )
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.unreadable(path, setting: setting, code: errno) }
            if count == 0 { break }
            filled += count
        }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    private static func unreadable(_ path: String, setting: String, code: Int32) -> TLSError {
        TLSError("cannot read \(setting) \(path): \(OpenSSLLibrary.systemErrorText(code))", setting: setting)
    }

    /// All certificates of a PEM file, in order; at least one.
    static func certificates(_ path: String, setting: String) throws(TLSError) -> [X509Certificate] {
        try Self.certificates(in: try Self.read(path, setting: setting), path, setting: setting)
    }

    /// - Parameter path: for messages.
    static func certificates(in bytes: [UInt8], _ path: String, setting: String) throws(TLSError) -> [X509Certificate] {
        let bio = MemoryBIO(copying: bytes)
        OpenSSLLibrary.clearErrors()
        var certificates: [X509Certificate] = []
        while let pointer = PEM_read_bio_X509(bio.pointer, nil, nil, nil) {
            certificates.append(X509Certificate(owning: pointer))
        }
        let error = ERR_peek_last_error()
        let atEnd =
            martlet_ssl_error_library(error) == ERR_LIB_PEM && martlet_ssl_error_reason(error) == PEM_R_NO_START_LINE
        guard atEnd || error == 0 else {
            let position = certificates.count + 1
            let text = "certificate \(position) is damaged: \(OpenSSLLibrary.takeErrorText())"
            throw TLSError("\(setting) \(path): \(text)", setting: setting)
        }
        OpenSSLLibrary.clearErrors()
        guard !certificates.isEmpty else {
            throw TLSError(
                "\(setting) \(path) holds no certificate; it must be PEM, with BEGIN CERTIFICATE lines",
                setting: setting
            )
        }
        return certificates
    }

    /// The private key of a PEM file, decrypted with the password in `passwordFile` (one line end, `\n` or `\r\n`, is left out).
    static func privateKey(
        _ path: String,
        setting: String,
        passwordFile: String?,
        passwordSetting: String = "key_password_file"
    ) throws(TLSError) -> PrivateKey {
        var request = PasswordRequest()
        defer { request.wipe() }
        if let passwordFile {
            var password = try Self.read(passwordFile, setting: passwordSetting)
            if password.last == UInt8(ascii: "\n") {
                password.removeLast()
                if password.last == UInt8(ascii: "\r") { password.removeLast() }
            }
            request.password = consume password
        }
        var bytes = try Self.read(path, setting: setting)
        let looksLikeKey = Self.contains(bytes, "PRIVATE KEY-----")
        let bio = MemoryBIO(copying: bytes)
        wipe(&bytes)
        guard looksLikeKey else {
            throw TLSError(
                "\(setting) \(path) holds no private key; it must be PEM, with a BEGIN PRIVATE KEY line",
                setting: setting
            )
        }
        OpenSSLLibrary.clearErrors()
        if let read = request.readPrivateKey(bio.pointer), let pointer = martlet_ec_key_for_engine(read) {
            OpenSSLLibrary.clearErrors()
            return PrivateKey(owning: pointer)
        }
        let text = OpenSSLLibrary.takeErrorText()
        guard request.wasAsked else {
            throw TLSError("\(setting) \(path) is not a usable private key: \(text)", setting: setting)
        }
        guard let passwordFile else {
            throw TLSError(
                "\(setting) \(path) is encrypted; put its password into a file and name it as \(passwordSetting)",
                setting: setting
            )
        }
        throw TLSError(
            "cannot decrypt \(setting) \(path) with the password in \(passwordSetting) \(passwordFile): \(text)",
            setting: passwordSetting
        )
    }

    private static func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        let text = Array(text.utf8)
        return bytes.indices.contains { bytes[$0] == text[0] && bytes[$0...].starts(with: text) }
    }

    /// A warning if anybody on the machine may read the key.
    static func permissionWarning(keyFile path: String, setting: String) -> TLSWarning? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & 0o007 != 0 else { return nil }
        return TLSWarning(
            message: "\(setting) \(path) can be read by every user of this machine; run: chmod 640 \(path)",
            setting: setting
        )
    }
}

/// What OpenSSL gets when it asks for the password of a key: never a prompt on the terminal.
private struct PasswordRequest {
    var password: [UInt8]?
    var wasAsked = false

    mutating func readPrivateKey(_ bio: OpaquePointer) -> OpaquePointer? {
        withUnsafeMutablePointer(to: &self) { PEM_read_bio_PrivateKey(bio, nil, Self.callback, $0) }
    }

    mutating func wipe() {
        self.password?.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        self.password = nil
    }

    private static let callback:
        @convention(c) @Sendable (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = {
            buffer,
            size,
            _,
            userData in
            guard let buffer, let request = userData?.assumingMemoryBound(to: PasswordRequest.self) else { return -1 }
            request.pointee.wasAsked = true
            guard let password = request.pointee.password, password.count <= Int(size) else { return -1 }
            UnsafeMutableRawBufferPointer(start: buffer, count: Int(size)).copyBytes(from: password)
            return Int32(password.count)
        }
}
