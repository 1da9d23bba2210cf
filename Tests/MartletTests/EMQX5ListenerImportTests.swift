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
}
