import Common
import TLS

/// Why a connection was refused, as logs and counters name it.
enum RefusalReason: Hashable, CustomStringConvertible {
    case tls(TLSFailure.Kind)
    case tooManyConnections
    case noPlace
    case proxyHeader
    case banned
    case handshakeTimeout
    case connectTimeout
    case certificateField
    case notMQTT
    case malformedConnect
    case connectTooLarge
    case willTooLarge
    case tooManyConnectBytes
    case protocolVersion
    case enhancedAuthentication
    case clientIdentifierPolicy
    case noAuthenticationConfigured
    case auth(AuthVerdict.Reason)
    case authWorkerUnavailable
    case routerUnavailable
    case router(ReasonCode)

    var description: String {
        switch self {
        case .tls(let kind): kind.reason
        case .tooManyConnections: "too-many-connections"
        case .noPlace: "no-place-to-wait"
        case .proxyHeader: "proxy-header"
        case .banned: "banned"
        case .handshakeTimeout: "handshake-timeout"
        case .connectTimeout: "connect-timeout"
        case .certificateField: "certificate-field"
        case .notMQTT: "not-mqtt"
        case .malformedConnect: "malformed-connect"
        case .connectTooLarge: "connect-too-large"
        case .willTooLarge: "will-too-large"
        case .tooManyConnectBytes: "too-many-connect-bytes"
        case .protocolVersion: "protocol-version"
        case .clientIdentifierPolicy: "client-id-not-common-name"
        case .enhancedAuthentication: "enhanced-authentication"
        case .noAuthenticationConfigured: "no-authentication-configured"
        case .auth(let reason): reason.description
        case .authWorkerUnavailable: "auth-worker-unavailable"
        case .routerUnavailable: "router-unavailable"
        case .router(let code): "router-0x\(String(code.rawValue, radix: 16))"
        }
    }

    /// Whether the next one from the same address is likely to be refused too: it was for what the client is or does, not for our load,
    /// our configuration or a network that broke.
    var speaksAgainstSource: Bool {
        switch self {
        case .tls(let kind): kind != .connectionReset && kind != .revocationUnknown && kind != .other
        case .banned, .handshakeTimeout, .connectTimeout, .certificateField, .notMQTT, .malformedConnect,
            .connectTooLarge, .willTooLarge,
            .protocolVersion, .enhancedAuthentication, .clientIdentifierPolicy:
            true
        case .auth(let reason):
            ![.redisUnavailable, .redisError, .rowTooLong, .deviceFileUnavailable, .rulesMissing, .overloaded]
                .contains(reason)
        case .tooManyConnections, .noPlace, .proxyHeader, .tooManyConnectBytes, .noAuthenticationConfigured,
            .authWorkerUnavailable, .routerUnavailable, .router:
            false
        }
    }

    /// What CONNACK says of a verdict that is not `allow`.
    static func reasonCode(for verdict: AuthVerdict) -> ReasonCode {
        switch (verdict.outcome, verdict.reason) {
        case (.unknown, .overloaded): .serverBusy
        case (.unknown, _): .serverUnavailable
        case (_, .wrongPassword), (_, .rowUnusable), (_, .passwordMissing), (_, .certificateMissing):
            .badUserNameOrPassword
        default: .notAuthorized
        }
    }
}
