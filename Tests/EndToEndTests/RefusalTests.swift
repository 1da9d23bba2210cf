import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Who must not get in does not, is told why in its protocol's words, shows in the log, and disturbs nobody.
@Suite struct RefusalTests {
    private static let device = "device-1"

    private static func handshake(_ broker: TestBroker, _ credentials: TestPKI.Credentials?) throws -> String {
        var arguments = ["s_client", "-connect", "localhost:\(broker.tlsPort)", "-CAfile", broker.pki.caFile, "-quiet"]
        if let credentials { arguments += ["-cert", credentials.certificateFile, "-key", credentials.keyFile] }
        return try runProcess("openssl", arguments: arguments).output
    }

    @Test func `a client without a certificate gets the TLS alert and its own log reason`() throws {
        let broker = try TestBroker()
        let output = try Self.handshake(broker, nil)
        #expect(output.contains("alert certificate required"), "\(output)")
        try broker.listeners[0].waitForLog("reason=tls-no-client-certificate")
    }

    @Test func `a certificate of another CA gets the TLS alert and its own log reason`() throws {
        let broker = try TestBroker()
        let output = try Self.handshake(broker, try broker.pki.device("stranger", authority: "other"))
        #expect(output.contains("alert unknown ca"), "\(output)")
        try broker.listeners[0].waitForLog("reason=tls-unknown-certificate-authority")
        #expect(broker.listeners[0].log.contains("stranger"), "the log names the certificate")
    }

    @Test func `an expired certificate gets the TLS alert and its own log reason`() throws {
        let broker = try TestBroker()
        let output = try Self.handshake(broker, try broker.pki.device("old", days: -1))
        #expect(output.contains("alert certificate expired"), "\(output)")
        try broker.listeners[0].waitForLog("reason=tls-certificate-expired")
    }

    @Test func `plain text on the TLS port is refused`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0)
        client.send(.connect(ConnectPacket(version: .v5_0)))
        try client.wait("the end") { client.hasEnded }
        try broker.listeners[0].waitForLog("reason=tls-not-tls")
    }

    @Test(arguments: [ProtocolVersion.v3_1_1, .v5_0])
    func `a wrong password is refused with its code and log reason, and the right one still works`(
        version: ProtocolVersion
    ) throws {
        let broker = try TestBroker()
        try broker.provision(Self.device, password: "right")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device(Self.device))
        let bystander = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        #expect(try bystander.connect(clientIdentifier: "bystander", userName: "u", password: "right").returnCode == 0)
        for _ in 0..<3 {
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: version, tls: tls)
            let connack = try client.connect(clientIdentifier: "c", userName: "u", password: "wrong")
            #expect(connack.returnCode == (version == .v5_0 ? 0x86 : 4))
            try client.wait("the end") { client.hasEnded }
        }
        try broker.listeners[0].waitForLog("reason=wrong-password", count: 3)
        bystander.send(.pingreq)
        #expect(try bystander.next() == .pingresp)
        let again = try TestClient(loop: loop, port: broker.tlsPort, version: version, tls: tls)
        #expect(try again.connect(clientIdentifier: "c", userName: "u", password: "right").returnCode == 0)
    }

    @Test(arguments: [ProtocolVersion.v3_1_1, .v5_0])
    func `a device that Redis does not know is refused with its code and log reason`(version: ProtocolVersion) throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("nobody"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: version, tls: tls)
        let connack = try client.connect(clientIdentifier: "c", userName: "u", password: "p")
        #expect(connack.returnCode == (version == .v5_0 ? 0x87 : 5))
        try broker.listeners[0].waitForLog("reason=no-such-device")
        #expect(broker.listeners[0].log.contains("device=nobody"))
    }

    @Test func `a missing password is refused with its own log reason`() throws {
        let broker = try TestBroker()
        try broker.provision(Self.device, password: "right")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device(Self.device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        #expect(try client.connect(clientIdentifier: "c").returnCode == 0x86)
        try broker.listeners[0].waitForLog("reason=password-missing")
    }

    @Test func `without the certificate that the template needs an application is refused with that reason`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let client = try TestClient(
            loop: loop,
            port: broker.optionalPort,
            version: .v5_0,
            tls: try broker.tlsContext(nil)
        )
        #expect(try client.connect(clientIdentifier: "app", userName: "u", password: "p").returnCode == 0x87)
        try broker.listeners[0].waitForLog("reason=field-missing")
    }

    @Test func `what is no MQTT is refused at once`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        client.send(bytes: Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
        try client.wait("the end") { client.hasEnded }
        try broker.listeners[0].waitForLog("reason=not-mqtt")
    }

    @Test func `enhanced authentication is refused as not configured`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        var properties = Properties()
        properties.authenticationMethod = Array("SCRAM-SHA-256".utf8)
        #expect(try client.connect(clientIdentifier: "c", properties: properties).returnCode == 0x8C)
    }
}
