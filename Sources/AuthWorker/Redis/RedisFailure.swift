/// Why Redis gave no answer. None of these says anything about a device.
package enum RedisFailure: Error, Equatable, CustomStringConvertible, Sendable {
    /// The connection could not be made.
    case connect(String)
    case connectTimedOut
    case closedByServer
    case connectionError(String)
    case queryTimedOut
    /// A connection that should be answering all the time did not.
    case silent
    /// The bytes are not Redis'.
    case protocolError(String)
    /// The server refused the first commands: a wrong password, no such database, still loading.
    case refused(String)
    /// There is no connection at the moment; the text says why the last attempt failed.
    case unavailable(String)
    /// Too many look-ups are waiting.
    case overloaded
    case stopped

    /// The connection is gone, which says nothing about whether the next one works.
    var isBrokenConnection: Bool {
        switch self {
        case .closedByServer, .connectionError: true
        case .connect, .connectTimedOut, .queryTimedOut, .silent, .protocolError, .refused, .unavailable, .overloaded,
            .stopped:
            false
        }
    }

    package var description: String {
        switch self {
        case .connect(let reason): reason
        case .connectTimedOut: "the connection was not made in time"
        case .closedByServer: "Redis closed the connection"
        case .connectionError(let reason): "the connection broke: \(reason)"
        case .queryTimedOut: "Redis did not answer within the query time-out"
        case .silent: "Redis gave no sign of life"
        case .protocolError(let reason): "what came back is not Redis' protocol: \(reason)"
        case .refused(let reason): "Redis refused: \(reason)"
        case .unavailable(let reason): "Redis is not reachable: \(reason)"
        case .overloaded: "too many look-ups are waiting for Redis"
        case .stopped: "the auth worker is being stopped"
        }
    }
}
