import Common
import Glibc
import TLS

/// A client's bytes: through TLS, or plain.
struct ClientSocket {
    enum IOResult {
        case bytes(Int)
        case wantsRead
        case wantsWrite
        /// Ended, in an orderly way or not.
        case ended(String)
    }

    let fileDescriptor: Int32
    let tls: TLSConnection?

    /// Bytes were decrypted or read ahead that epoll knows nothing of.
    var hasPending: Bool { self.tls?.hasPending ?? false }

    func read(into space: UnsafeMutableRawBufferPointer) -> IOResult {
        if let tls = self.tls { return Self.result(of: tls.read(into: space)) }
        let count = recv(self.fileDescriptor, space.baseAddress, space.count, 0)
        if count > 0 { return .bytes(count) }
        if count == 0 { return .ended("closed by the client") }
        return errno == EAGAIN || errno == EINTR ? .wantsRead : .ended(SystemError("recv").reason)
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> IOResult {
        if let tls = self.tls { return Self.result(of: tls.write(bytes)) }
        let count = send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if count > 0 { return .bytes(count) }
        return errno == EAGAIN || errno == EINTR ? .wantsWrite : .ended(SystemError("send").reason)
    }

    /// Says that nothing more will be sent; the client can read what is under way.
    func finishWriting() {
        self.tls?.shutdown()
        Glibc.shutdown(self.fileDescriptor, Int32(SHUT_WR))
    }

    /// Reads and forgets; false when the client has closed its side.
    func discardInput(_ space: UnsafeMutableRawBufferPointer) -> Bool {
        while true {
            let count = recv(self.fileDescriptor, space.baseAddress, space.count, 0)
            if count == 0 { return false }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
        }
    }

    private static func result(of result: TLSConnection.IOResult) -> IOResult {
        switch result {
        case .bytes(let count): .bytes(count)
        case .wantsRead: .wantsRead
        case .wantsWrite: .wantsWrite
        case .closed: .ended("closed by the client")
        case .failed(let failure): .ended(failure.detail)
        }
    }
}
