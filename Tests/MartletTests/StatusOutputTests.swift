import Common
import TestSupport
import Testing

@testable import Martlet

/// `martlet status --json` and `--prometheus`.
@Suite struct StatusOutputTests {
    private func processes() -> [StatusClient.Process] {
        var router = StatusReport()
        router.add("process", "router")
        router.add("pid", 12)
        router.add("uptime_seconds", 3700)
        router.add("sessions", 3)
        router.add("packets_received", 18_446_744_073_709_551_615 as UInt64)
        router.add("of_a_later_release", 7)
        var listener = StatusReport()
        listener.add("router", "up")
        listener.add("refused_total{reason=\"banned\"}", 2)
        listener.add("refused_total{reason=\"not-mqtt\"}", 0)
        listener.add("alarm", "bans not usable: \"x\\y\"")
        var worker = StatusReport()
        worker.add("links", 1)
        worker.add("a.redis", "unavailable: no\\\"where")
        worker.add("a.denied{reason=\"no-such-device\"}", 4)
        worker.add(StatusReport.name("a.b \"c\".redis"), "in use, 3 masters")
        worker.add(StatusReport.name("a.b \"c\".alarm"), "lost rows")
        return [
            .init(name: "router", answer: .report(router.lines)),
            .init(name: "authworker-1", answer: .report(worker.lines)),
            .init(name: "listener-1", answer: .report(listener.lines)),
            .init(name: "listener-2", answer: .silent("not running (\"there\")")),
        ]
    }

    private let sources = ["a", "a.b \"c\""]

    @Test func `JSON has numbers as numbers, and sources and labels by their names`() throws {
        let text = StatusJSON.render(self.processes(), sources: self.sources)
        let json = try #require(JSONValue(Array(text.utf8)), "\(text)")
        #expect(json["ok"] == .flag(false))
        guard case .list(let processes)? = json["processes"], processes.count == 4 else {
            throw ProcessError(description: text)
        }
        #expect(processes[0]["process"] == .text(Array("router".utf8)))
        #expect(processes[0]["pid"] == .integer(12) && processes[0]["uptime_seconds"] == .integer(3700))
        #expect(processes[0]["values"]?["sessions"] == .integer(3))
        // More than an Int holds, and a number all the same.
        #expect(processes[0]["values"]?["packets_received"] == .otherNumber)
        #expect(processes[0]["alarms"] == .list([]))
        #expect(processes[1]["values"]?["links"] == .integer(1))
        #expect(processes[1]["sources"]?["a"]?["values"]?["denied"]?["no-such-device"] == .integer(4))
        #expect(processes[1]["sources"]?["a.b \"c\""]?["alarms"] == .list([.text(Array("lost rows".utf8))]))
        #expect(processes[2]["role"] == .text(Array("listener".utf8)))
        #expect(processes[2]["values"]?["refused_total"]?["banned"] == .integer(2))
        #expect(processes[2]["values"]?["refused_total"]?["not-mqtt"] == .integer(0))
        #expect(processes[2]["values"]?["router"] == .text(Array("up".utf8)))
        #expect(processes[2]["alarms"] == .list([.text(Array("bans not usable: \"x\\y\"".utf8))]))
        #expect(processes[3]["up"] == .flag(false))
        #expect(processes[3]["reason"] == .text(Array("not running (\"there\")".utf8)))
    }

    @Test func `the text format of Prometheus has counters, gauges and escaped labels`() throws {
        let text = StatusMetrics.render(self.processes(), sources: self.sources)
        let families = try PrometheusText.parse(text)
        func sample(_ name: String, _ labels: [String: String]) -> String? {
            families.flatMap(\.samples).first { $0.name == name && $0.labels == labels }?.value
        }
        #expect(sample("martlet_up", ["process": "router"]) == "1")
        #expect(sample("martlet_up", ["process": "listener-2"]) == "0")
        #expect(sample("martlet_alarms", ["process": "authworker-1"]) == "1")
        #expect(sample("martlet_router_packets_received_total", ["process": "router"]) == "18446744073709551615")
        #expect(sample("martlet_router_of_a_later_release", ["process": "router"]) == "7")
        #expect(sample("martlet_listener_router_up", ["process": "listener-1"]) == "1")
        #expect(sample("martlet_listener_refused_total", ["process": "listener-1", "reason": "banned"]) == "2")
        let labels = ["process": "authworker-1", "source": "a", "reason": "no-such-device"]
        #expect(sample("martlet_authworker_denied_total", labels) == "4")
        #expect(sample("martlet_authworker_redis_up", ["process": "authworker-1", "source": "a"]) == "0")
        #expect(sample("martlet_authworker_redis_up", ["process": "authworker-1", "source": "a.b \"c\""]) == "1")
        #expect(families.first { $0.name == "martlet_router_packets_received_total" }?.type == "counter")
        #expect(families.first { $0.name == "martlet_router_sessions" }?.type == "gauge")
    }
}
