import Common
import TLS
import TestSupport
import Testing

@testable import Listener

/// docs/refusals.md is what people have beside a reason in the log.
@Suite struct RefusalReasonTests {
    /// The next one after each: a reason that is added has to be entered here, or this does not compile.
    private func next(_ reason: RefusalReason) -> RefusalReason? {
        switch reason {
        case .tls, .auth, .router: .tooManyConnections
        case .tooManyConnections: .noPlace
        case .noPlace: .proxyHeader
        case .proxyHeader: .banned
        case .banned: .handshakeTimeout
        case .handshakeTimeout: .connectTimeout
        case .connectTimeout: .certificateField
        case .certificateField: .notMQTT
        case .notMQTT: .malformedConnect
        case .malformedConnect: .connectTooLarge
        case .connectTooLarge: .willTooLarge
        case .willTooLarge: .tooManyConnectBytes
        case .tooManyConnectBytes: .protocolVersion
        case .protocolVersion: .enhancedAuthentication
        case .enhancedAuthentication: .clientIdentifierPolicy
        case .clientIdentifierPolicy: .noAuthenticationConfigured
        case .noAuthenticationConfigured: .authWorkerUnavailable
        case .authWorkerUnavailable: .routerUnavailable
        case .routerUnavailable: nil
        }
    }

    private var all: [RefusalReason] {
        var reasons = TLSFailure.Kind.allCases.map(RefusalReason.tls)
        reasons += AuthVerdict.Reason.allCases.map(RefusalReason.auth)
        let codes: [ReasonCode] = [
            .malformedPacket, .protocolError, .unsupportedProtocolVersion, .clientIdentifierNotValid, .serverBusy,
            .badAuthenticationMethod, .topicNameInvalid, .packetTooLarge, .quotaExceeded, .retainNotSupported,
            .qosNotSupported,
        ]
        reasons += codes.map(RefusalReason.router)
        var reason: RefusalReason? = .tooManyConnections
        while let known = reason {
            reasons.append(known)
            reason = self.next(known)
        }
        return reasons
    }

    @Test func theDocumentHasEachReasonAndNoOther() throws {
        let rows = try repositoryFile("docs/refusals.md").split(separator: "\n").filter { $0.hasPrefix("| `") }
        let named = rows.flatMap { row in
            row.split(separator: "|")[0].split(separator: "`").filter { $0.contains { $0.isLetter } }.map(String.init)
        }
        #expect(Set(named).count == named.count)
        #expect(Set(named) == Set(self.all.map(\.description)))
    }
}
