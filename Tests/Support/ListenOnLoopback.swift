import CLinux
import Common
import Glibc

/// A TCP socket that listens on 127.0.0.1, at a port that the kernel chose. It is closed on exec.
package func listenOnLoopback(blocks: Bool = true) throws -> (fileDescriptor: Int32, port: UInt16) {
    let fileDescriptor = try makeSocket(AF_INET, blocks: blocks)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
            bind(fileDescriptor, raw, length) == 0 && listen(fileDescriptor, 256) == 0
                && getsockname(fileDescriptor, raw, &length) == 0
        }
    }
    guard isListening else {
        let error = SystemError("listen")
        close(fileDescriptor)
        throw error
    }
    return (fileDescriptor, UInt16(bigEndian: address.sin_port))
}
