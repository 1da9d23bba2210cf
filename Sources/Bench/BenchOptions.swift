import Common

/// What a run of the load generator does, and against whom.
package struct BenchOptions: Sendable {
    package var host = "127.0.0.1"
    package var port: UInt16 = 1883
    package var version = ProtocolVersion.v5_0

    /// TLS is spoken when any of these is set.
    package var usesTLS = false
    package var caFile: String?
    package var certificateFile: String?
    package var keyFile: String?
    /// With `%d` for the client's number, which is counted modulo `certificateCount`; all of them have `keyFile` as their key.
    package var certificatePattern: String?
    package var certificateCount = 1
    /// False: any certificate of the server will do.
    package var verifiesServer = true

    /// With `%d` for the client's number.
    package var userNamePattern: String?
    package var password: String?
    package var clientIdentifierPattern = "martlet-bench-%d"

    package var clients = 100
    package var publishers = 1
    package var subscribers = 10
    package var qos = QoS.atMostOnce
    package var payloadBytes = 128
    /// Messages that each publisher may have under way.
    package var window = 16
    /// Messages per second of all publishers together; nil: as fast as the window allows.
    package var rate: Double?
    package var seconds = 10.0
    package var warmUpSeconds = 1.0
    /// Messages are waited for until none has come for so long: what has not come by then is called lost.
    package var quietSeconds = 10
    /// Connections that are being opened at a time.
    package var connectsAtATime = 32
    package var holdSeconds = 0.0
    /// Connections are closed and opened again for `seconds`.
    package var isChurning = false
    /// TLS sessions are taken up again.
    package var resumes = false
    /// Retained messages, or messages for each client that is away.
    package var count = 1000
    /// Sessions that outlive their connections.
    package var keepsSessions = false
    /// Processes of the broker, whose CPU time and memory are reported.
    package var processes: [Int32] = []

    package init() {}

    /// `pattern` with the number in place of `%d`.
    static func fill(_ pattern: String, _ number: Int) -> String {
        let parts = pattern.split(separator: "%", omittingEmptySubsequences: false)
        guard let first = parts.first else { return pattern }
        return parts.dropFirst().reduce(into: String(first)) { text, part in
            text += part.hasPrefix("d") ? "\(number)\(part.dropFirst())" : "%\(part)"
        }
    }
}
