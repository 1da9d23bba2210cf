import Common
import Glibc
import TestSupport
import Testing

/// Each cipher and key exchange with clients that leave them to OpenSSL's providers: the broker's come from before providers.
@Suite struct CipherTests {
    private static let device = "device-1"

    @Test(arguments: [
        "Ciphersuites = TLS_AES_128_GCM_SHA256", "Ciphersuites = TLS_AES_256_GCM_SHA384",
        "Ciphersuites = TLS_CHACHA20_POLY1305_SHA256", "Groups = X25519", "Groups = P-256", "Groups = P-384",
        "MaxProtocol = TLSv1.2\nGroups = X25519:P-256", "MaxProtocol = TLSv1.2\nGroups = P-256",
        "MaxProtocol = TLSv1.2\nCipherString = ECDHE-ECDSA-AES128-GCM-SHA256",
        "MaxProtocol = TLSv1.2\nCipherString = ECDHE-ECDSA-AES256-GCM-SHA384",
        "MaxProtocol = TLSv1.2\nCipherString = ECDHE-ECDSA-CHACHA20-POLY1305",
        "MaxProtocol = TLSv1.2\nCipherString = ECDHE-ECDSA-AES128-SHA256",
    ])
    func `clients with one cipher or key exchange alone send and receive`(offer: String) throws {
        let clients = try MosquittoClients(device: Self.device, openSSL: offer)
        let payload = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let file = clients.broker.directory.file("payload")
        let received = clients.broker.directory.file("received")
        try writeFile(file, payload)
        let topic = "devices/\(Self.device)/data"
        let subscriber = try clients.subscribe(["-t", topic, "-q", "1", "-C", "2", "-F", "%p"], output: received)
        for arguments in [["-m", "short"], ["-f", file]] {
            let (status, output) = try clients.publish(["-t", topic, "-q", "1"] + arguments)
            #expect(status == 0, "\(output)")
        }
        #expect(try subscriber.waitForExit() == 0)
        #expect(try readFile(received) == Array("short\n".utf8) + payload + Array("\n".utf8))
    }

    /// Without it the test above says nothing: clients could go by OpenSSL's defaults.
    @Test func `a client that offers only what the broker has not does not come in`() throws {
        let clients = try MosquittoClients(device: Self.device, openSSL: "Groups = X448")
        let (status, _) = try clients.publish(["-t", "devices/\(Self.device)/data", "-m", "hello"])
        #expect(status != 0)
        try clients.broker.listeners[0].waitForLog("reason=tls-")
    }

    /// They were taken, and no client came in any more.
    @Test func `regression: a reload keeps ciphers that work where the new ones would let nobody in`() throws {
        let clients = try MosquittoClients(device: Self.device)
        let listener = clients.broker.listeners[0]
        let file = clients.broker.directory.file("martlet.yaml")
        let text = String(decoding: try readFile(file), as: UTF8.self)
        let useless = "      max_version: \"1.2\"\n      ciphers: ECDHE-RSA-AES128-GCM-SHA256\n"
        try writeFile(file, Array(text.replacing("  - name: plain\n", with: useless + "  - name: plain\n").utf8))
        listener.signal(SIGHUP)
        try listener.waitForLog("certificates not usable, those read before stay in use")
        #expect(listener.log.contains("has none that works at TLS 1.2 with an EC key"), "\(listener.log)")
        let (status, output) = try clients.publish(["-t", "devices/\(Self.device)/data", "-m", "hello"])
        #expect(status == 0, "\(output)")
    }
}
