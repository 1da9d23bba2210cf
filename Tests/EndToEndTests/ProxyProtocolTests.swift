import Common
import Glibc
import TestSupport
import Testing

/// Devices behind a load balancer that speaks the PROXY protocol.
@Suite struct ProxyProtocolTests {
    /// Sends a header in two parts, then TLS with the device's certificate, then CONNECT; prints CONNACK's return code.
    private static let script = """
        import socket, ssl, sys
        port, ca, cert, key, header = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], bytes.fromhex(sys.argv[5])
        s = socket.create_connection(("127.0.0.1", port), 20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            s.sendall(header[:9])
            s.sendall(header[9:])
            c = ssl.create_default_context(cafile=ca)
            c.check_hostname = False
            c.load_cert_chain(cert, key)
            t = c.wrap_socket(s)
            body = b"\\x00\\x04MQTT\\x04\\xc2\\x00\\x3c\\x00\\x01c\\x00\\x01u\\x00\\x06secret"
            t.sendall(bytes([0x10, len(body)]) + body)
            print("CONNACK", t.recv(4)[3])
        except Exception as e:
            print("refused", e)
        """

    private func connect(_ broker: TestBroker, _ header: [UInt8]) throws -> String {
        let device = try broker.pki.device("proxied")
        let hex = header.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return try runProcess(
            "python3",
            arguments: [
                "-c", Self.script, "\(broker.tlsPort)", broker.pki.caFile, device.certificateFile, device.keyFile, hex,
            ]
        ).output
    }

    private static let version1 = Array("PROXY TCP4 203.0.113.9 10.0.0.1 4711 8883\r\n".utf8)

    @Test func `the device's own address is what the log and why tell of`() throws {
        let broker = try TestBroker(deviceListener: "proxy_protocol: {trusted: [127.0.0.0/8, \"::1\"]}")
        try broker.provision("proxied", password: "secret")
        #expect(try self.connect(broker, Self.version1).contains("CONNACK 0"))
        let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
        let version2 = signature + [0x21, 0x11, 0, 12, 203, 0, 113, 10, 10, 0, 0, 1, 0x12, 0x67, 0x22, 0xB3]
        #expect(try self.connect(broker, version2).contains("CONNACK 0"))
        let file = broker.directory.file("martlet.yaml")
        let why = try runProcess(TestBroker.executable("martlet"), arguments: ["why", "proxied", "--config", file])
            .output
        #expect(why.contains("203.0.113.9:4711") && why.contains("203.0.113.10:4711"), "\(why)")
    }

    @Test func `a connection without a header is refused where one is expected`() throws {
        let broker = try TestBroker(deviceListener: "proxy_protocol: {trusted: [127.0.0.0/8, \"::1\"]}")
        try broker.provision("proxied", password: "secret")
        #expect(try self.connect(broker, []).contains("refused"))
        try broker.listeners[0].waitForLog("reason=proxy-header")
        #expect(try self.connect(broker, Self.version1).contains("CONNACK 0"))
    }

    @Test func `a header from elsewhere is refused, and without the setting it is no TLS`() throws {
        let strict = try TestBroker(deviceListener: "proxy_protocol: {trusted: [192.0.2.0/24]}")
        #expect(try self.connect(strict, Self.version1).contains("refused"))
        try strict.listeners[0].waitForLog("not an address that may send PROXY headers")
        let plain = try TestBroker()
        #expect(try self.connect(plain, Self.version1).contains("refused"))
        try plain.listeners[0].waitForLog("reason=tls-")
    }
}
