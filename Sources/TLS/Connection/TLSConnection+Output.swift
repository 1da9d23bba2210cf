import COpenSSL
import Common
import Glibc

/// What OpenSSL writes goes through here to the socket. A record that the socket takes in part only is kept, and counts as written for
/// OpenSSL: a KeyUpdate that asks for another one is answered in the middle of a read, and with a write under way that would be the end of
/// the connection ("bad length"). Nor can reading wait for the write: a client that does not read may be waiting for us to do so.
extension TLSConnection {
    /// Records that wait for the socket. Beyond this OpenSSL is told to write again later, so that a client whose requests for new keys are
    /// answered and that reads none of the answers is not read any more.
    static let keptOutputMax = 64 << 10

    /// What the object is by which OpenSSL writes (BIO_meth_new(3)). It does not change any more.
    private struct OutputMethod: @unchecked Sendable {
        static let shared = OutputMethod()

        let pointer: OpaquePointer

        private init() {
            guard let pointer = martlet_bio_output_method(TLSConnection.writeCallback) else {
                preconditionFailure("OpenSSL has no memory for a method")
            }
            self.pointer = pointer
        }
    }

    private static let writeCallback: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32 = {
        object,
        bytes,
        count in
        guard let object, let bytes, count > 0, let owner = BIO_get_data(object) else { return -1 }
        martlet_bio_clear_retry(object)
        let connection = Unmanaged<TLSConnection>.fromOpaque(owner).takeUnretainedValue()
        let taken = connection.send(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
        if taken < 0, errno == EAGAIN || errno == EINTR { martlet_bio_retry_write(object) }
        return Int32(truncatingIfNeeded: taken)
    }

    /// Has OpenSSL write through this connection, which outlives the SSL object.
    func connectOutput() -> Bool {
        guard let object = BIO_new(OutputMethod.shared.pointer) else { return false }
        BIO_set_data(object, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(object, 1)
        SSL_set0_wbio(self.pointer, object)
        return true
    }

    /// - Returns: how many bytes count as written; -1: none, as `errno` says.
    private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
        var sent = 0
        if self.keptOutput.isEmpty {
            sent = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            // In the handshake nothing is read before all is written, and OpenSSL itself writes the rest.
            if sent == bytes.count || !self.keepsOutput { return sent }
            if sent < 0 {
                guard errno == EAGAIN || errno == EINTR else { return -1 }
                sent = 0
            }
        }
        guard self.keptOutput.readableBytes + bytes.count - sent <= Self.keptOutputMax else {
            errno = EAGAIN
            return sent > 0 ? sent : -1
        }
        self.keptOutput.write(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
        return bytes.count
    }

    /// Writes what is kept. Nil: nothing is left of it.
    func flushKeptOutput() -> IOResult? {
        switch self.sendKeptOutput() {
        case 0: nil
        case EAGAIN: .wantsWrite
        case let code: .failed(self.fail(self.connectionFailure(error: SSL_ERROR_SYSCALL, systemError: code)))
        }
    }

    /// The same without a word about a failure, which shows when what the peer has sent before is read.
    ///
    /// - Returns: why something is left: a number of errno(3); 0: nothing is.
    @discardableResult
    func sendKeptOutput() -> Int32 {
        while !self.keptOutput.isEmpty {
            let bytes = self.keptOutput.readable
            let sent = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if sent > 0 {
                self.keptOutput.consume(sent)
            } else if errno != EINTR {
                return errno
            }
        }
        self.keptOutput.releaseIfEmpty()
        return 0
    }
}
