import Glibc
import TLS

/// The ClientHello of a client that is not heard of any more.
package func firstTLSMessage(_ context: TLSClientContext) throws -> [UInt8] {
    let (near, far) = try makeSocketPair()
    defer {
        close(near)
        close(far)
    }
    _ = context.makeConnection(fileDescriptor: near)?.handshake()
    return receiveNow(far) ?? []
}
