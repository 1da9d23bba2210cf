import Common
import Glibc

extension EventLoop {
    /// Turns the loop until `condition` holds; false if it does not within `seconds`, which is for failures only.
    package func turn(until condition: () -> Bool, seconds: UInt64 = 20) throws -> Bool {
        let deadline = Clock.monotonic() + seconds * Nanoseconds.perSecond
        while !condition() {
            guard Clock.monotonic() < deadline else { return false }
            try self.turn(maximumWaitNanoseconds: 20 * Nanoseconds.perMillisecond)
        }
        return true
    }

    /// Turns the loop until nothing has happened for some turns: for "and then nothing more comes".
    package func turnUntilQuiet(turns: Int = 3) throws {
        for _ in 0..<turns { try self.turn(maximumWaitNanoseconds: 5 * Nanoseconds.perMillisecond) }
    }
}

/// Two connected Unix stream sockets: non-blocking, close-on-exec.
package func makeSocketPair() throws -> (Int32, Int32) {
    var descriptors: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &descriptors) == 0 else { throw SystemError("socketpair") }
    return (descriptors[0], descriptors[1])
}

/// Sends what the socket takes; returns how many bytes that were.
@discardableResult
package func sendNow(_ fileDescriptor: Int32, _ bytes: [UInt8]) -> Int {
    var sent = 0
    while sent < bytes.count {
        let count = bytes.withUnsafeBytes {
            send(fileDescriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { break }
        sent += count
    }
    return sent
}

/// What can be read from a non-blocking socket at once; nil when it has ended.
package func receiveNow(_ fileDescriptor: Int32, maximum: Int = 1 << 20) -> [UInt8]? {
    var bytes: [UInt8] = []
    while bytes.count < maximum {
        let chunk = [UInt8](unsafeUninitializedCapacity: min(65_536, maximum - bytes.count)) { space, count in
            count = max(0, recv(fileDescriptor, space.baseAddress, space.count, 0))
        }
        if chunk.isEmpty { return bytes.isEmpty && errno != EAGAIN ? nil : bytes }
        bytes += chunk
    }
    return bytes
}
