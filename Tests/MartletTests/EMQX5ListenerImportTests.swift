import Common
import Testing

@testable import Martlet

/// Which listeners `martlet import emqx5` takes over, and with which limits.
@Suite struct EMQX5ListenerImportTests {
    private static let own = #"listeners.ssl.own { bind = "0.0.0.0:8884", enable = true }"#

    @Test(arguments: [
        ("listeners.tcp.default = marked_for_deletion", "listener tcp:default was deleted"),
        ("listeners { ssl { default = \"marked_for_deletion\" } }", "listener ssl:default was deleted"),
        ("listeners.ws.default = marked_for_deletion", "listener ws:default was deleted"),
        ("listeners.ssl.default { bind = 1 }, listeners.ssl.default = null", "listener ssl:default is null"),
        ("listeners.ssl.default { bind = 8883, enable = false }", "listener ssl:default is off"),
        ("listeners.ssl.default = 8883", "listener ssl:default is not understood"),
        ("listeners.ssl.default = [{ bind = 8883 }]", "listener ssl:default is not understood"),
        ("listeners.tcp = null", "listeners.tcp is null"),
        ("listeners.tcp = marked_for_deletion", "listeners.tcp is marked_for_deletion"),
        ("listeners.tcp = [{ bind = 1883 }]", "listeners.tcp is not understood"),
    ])
    func `regression: listeners that are deleted or not understood are left out by name`(
        _ text: String,
        _ start: String
    ) throws {
        let imported = try EMQX5Reader.read("\(Self.own)\n\(text)")
        #expect(imported.listeners.map(\.name) == ["ssl-own"])
        let named = imported.warnings.filter { $0.line == 2 && $0.text.contains("left out") }
        #expect(named.count == 1 && named.allSatisfy { $0.text.hasPrefix(start) }, "\(imported.warnings)")
    }

    @Test(arguments: ["null", "marked_for_deletion", "1", "[]"])
    func withoutAnyListenerOneForTLSIsWritten(_ value: String) throws {
        let imported = try EMQX5Reader.read("listeners = \(value)")
        #expect(imported.listeners.map(\.name) == ["devices"])
        #expect(imported.warnings.contains { $0.line == 1 && $0.text.hasPrefix("listeners is ") })
    }

    @Test func aListenerThatIsMadeAgainIsThere() throws {
        let imported = try EMQX5Reader.read(
            "listeners.ssl.own = marked_for_deletion\nlisteners.ssl.own = null\n\(Self.own)"
        )
        #expect(imported.listeners.map(\.address) == ["0.0.0.0:8884"])
    }

    private static let rates: [(setting: String, written: String?, warning: String?)] = [
        ("messages_rate = \"60/h\"", nil, "is not taken over: the lowest limit here is 1 per second"),
        ("messages_rate = \"1/h\"", nil, "is not taken over"), ("bytes_rate = \"1KB/h\"", nil, "is not taken over"),
        ("max_conn_rate = \"1/60s\"", nil, "is not taken over"),
        ("messages_rate = \"99/100s\"", nil, "is not taken over"),
        ("messages_rate = \"60/m\"", "messages_per_second: 1", nil),
        ("messages_rate = \"1000/m\"", "messages_per_second: 16", nil),
        ("messages_rate = \"100/m\"", "messages_per_second: 1", "becomes 1 per second"),
        ("max_conn_rate = \"29/10s\"", "max_connection_rate: 2", "becomes 2 per second"),
        ("max_conn_rate = \"1000000/1h\"", "max_connection_rate: 277", nil),
        ("bytes_rate = \"500KB/500ms\"", "bytes_per_second: 1000KiB", nil),
        ("bytes_rate = \"1GB/d\"", "bytes_per_second: 12427B", nil),
        ("messages_rate = \"10/10\"", "messages_per_second: 1", nil),
        ("messages_rate = 100", "messages_per_second: 100", nil),
        ("max_conn_rate = \"1000 / s\"", "max_connection_rate: 1000", nil),
        ("messages_rate = \"0.5/s\"", nil, "not taken over: messages_rate"),
        ("messages_rate = \"1/0s\"", nil, "not taken over: messages_rate"),
        ("max_conn_rate = \"9223372036854775807/s\"", nil, "not taken over: max_conn_rate"),
        ("bytes_rate = \"9223372036854775807/1ms\"", nil, "not taken over: bytes_rate"),
    ]

    /// - Parameter warning: what is said of it; nil: nothing.
    @Test(arguments: Self.rates)
    func `regression: no limit of a rate is raised without a word`(
        _ setting: String,
        _ written: String?,
        _ warning: String?
    ) throws {
        let imported = try EMQX5Reader.read("listeners.ssl.own { bind = 8883\n  \(setting)\n}")
        let yaml = imported.yaml(passwordFiles: [])
        if let written { #expect(yaml.contains(written + "\n") || yaml.contains("{\(written)}\n"), "\(yaml)") }
        #expect(yaml.contains("per_second") == (written?.contains("per_second") ?? false))
        #expect(yaml.contains("connection_rate") == (written?.contains("connection_rate") ?? false))
        let named = imported.warnings.map(\.text).filter { $0.contains("rate") }
        #expect(named.count == (warning == nil ? 0 : 1), "\(named)")
        if let warning { #expect(named.allSatisfy { $0.contains(warning) && $0.contains("ssl-own") }, "\(named)") }
    }

    @Test func `regression: ciphers that OpenSSL does not know are named`() throws {
        let text = """
            listeners.ssl.own { bind = 8883
              ssl_options.ciphers = ["NOT-A-CIPHER", "TLS_AES_128_GCM_SHA256", "TLS_AES_1_SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE+AESGCM:!aNULL:!NOT-THERE:bogus"]
            }
            """
        let imported = try EMQX5Reader.read(text)
        #expect(
            imported.listeners[0].tlsSettings.map(\.value) == [
                "\"TLS_AES_128_GCM_SHA256\"", "\"ECDHE-RSA-AES128-GCM-SHA256:ECDHE+AESGCM:!aNULL:!NOT-THERE\"",
            ]
        )
        let named = imported.warnings.filter { $0.text.hasPrefix("cipher ") }
        #expect(named.allSatisfy { $0.line == 2 && $0.text.contains("of ssl-own is not taken over: OpenSSL has none") })
        #expect(named.map { $0.text.split(separator: " ")[1] } == ["NOT-A-CIPHER", "TLS_AES_1_SHA256", "bogus"])
    }

    /// They are refused, of which nothing was said.
    @Test(arguments: ["peer_cert_as_username", "peer_cert_as_clientid"])
    func `regression: clients without a certificate where names come from certificates are named`(_ use: String) throws
    {
        func warnings(_ options: String) throws -> (emqx5: [String], emqx4: [String]) {
            let settings = options.split(separator: " ").map { $0.split(separator: "=") }
            let emqx5 =
                "listeners.ssl.a { bind = 8883, ssl_options { \(options.replacing(" ", with: ", ")) } }\nmqtt.\(use) = cn"
            let emqx4 =
                "listener.ssl.a = 8883\nlistener.ssl.a.\(use) = cn\n"
                + settings.map { "listener.ssl.a.\($0[0]) = \($0[1])\n" }.joined()
            return (
                try EMQX5Reader.read(emqx5).warnings.map(\.description),
                EMQX4Reader.read(emqx4).warnings.map(\.description)
            )
        }
        let text = "2: \(use) = cn: clients without a certificate, which ssl-a lets in"
        let open = try warnings("verify=verify_peer fail_if_no_peer_cert=false")
        #expect(open.emqx5.contains { $0.hasPrefix(text) }, "\(open.emqx5)")
        #expect(open.emqx4.contains { $0.hasPrefix(text) }, "\(open.emqx4)")
        let closed = try warnings("verify=verify_peer fail_if_no_peer_cert=true")
        #expect(!(closed.emqx5 + closed.emqx4).contains { $0.contains("clients without a certificate") })
    }
}
