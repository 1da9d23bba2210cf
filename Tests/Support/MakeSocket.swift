import Common
import Glibc

package enum SocketKind {
    case stream
    case datagram
}

/// A socket that is closed on exec. Test files that import modules with headers of C libraries do not always find the names of the kinds
/// themselves.
///
/// - Parameter family: AF_INET, AF_INET6 or AF_UNIX.
package func makeSocket(_ family: Int32, _ kind: SocketKind = .stream, blocks: Bool = true) throws -> Int32 {
    var type = kind == .stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue
    type |= SOCK_CLOEXEC.rawValue
    if !blocks { type |= SOCK_NONBLOCK.rawValue }
    let fileDescriptor = socket(family, Int32(type), 0)
    guard fileDescriptor >= 0 else { throw SystemError("socket") }
    return fileDescriptor
}
