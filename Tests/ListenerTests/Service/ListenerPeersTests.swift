import Common
import Glibc
import TestSupport
import Testing

@testable import Listener

/// What a listener says of a router, or of auth workers, that are not there or hang.
@Suite struct ListenerPeersTests {
    private func alarms(_ harness: ServiceHarness) -> [String] {
        harness.service.status().lines.filter { $0.name == "alarm" }.map(\.value)
    }

    private func lines(_ harness: ServiceHarness, _ beginning: String) -> Int {
        harness.log.lines.count { $0.message.hasPrefix(beginning) }
    }

    /// A listener that never had one logged only whom it refused.
    @Test func `a listener without a router says so once, with an alarm, and when there is one`() throws {
        let harness = try ServiceHarness(startsRouter: false)
        try harness.wait("the alarm") { !self.alarms(harness).isEmpty }
        #expect(self.lines(harness, "no router: clients that connect are refused") == 1)
        #expect(self.alarms(harness).first?.contains(harness.configuration.routerSocketPath) == true)
        #expect(harness.service.status().lines.contains { $0.name == "router" && $0.value == "down" })
        try harness.router.open()
        try harness.wait("the alarm's end") { self.alarms(harness).isEmpty }
        #expect(self.lines(harness, "the router answers again") == 1)
        #expect(self.lines(harness, "no router: clients that connect are refused") == 1)
    }

    @Test func `a listener without any auth worker says so once, with an alarm, and when there is one`() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 2)
        harness.workers[0].close()
        harness.workers[1].close()
        try harness.wait("the alarm") { !self.alarms(harness).isEmpty }
        #expect(self.lines(harness, "no auth worker answers: clients that connect are refused") == 1)
        #expect(self.alarms(harness).first?.contains(harness.configuration.authWorkerSocketPath(1)) == true)
        try harness.workers[1].open()
        try harness.wait("the alarm's end") { self.alarms(harness).isEmpty }
        #expect(self.lines(harness, "an auth worker answers again") == 1)
    }

    /// It was `up`: its link was.
    @Test func `a router that reads nothing is told from one that has nothing to say`() throws {
        let harness = try ServiceHarness(startsRouter: false)
        let acceptor = try UnixSocket.listen(path: harness.configuration.routerSocketPath)
        var router: Int32 = -1
        defer {
            close(acceptor)
            close(router)
        }
        try harness.wait("the listener") {
            router = accept(acceptor, nil, nil)
            return router >= 0
        }
        #expect(fcntl(router, F_SETFL, O_NONBLOCK) == 0)
        var hello = ByteBuffer()
        LinkHello(
            role: .router,
            bootID: RoleProcess.makeBootID(),
            name: Array("router".utf8),
            sessionCreditBytes: 1 << 20,
            linkCreditBytes: 1 << 20
        ).encode(into: &hello)
        sendNow(router, hello.array)
        try harness.wait("the link") { harness.isRouterUp }
        // Nobody connects, and nothing is on its way.
        try harness.wait("the alarm") { !self.alarms(harness).isEmpty }
        #expect(self.lines(harness, "the router does not answer") == 1)
        #expect(harness.service.status().lines.contains { $0.name == "router" && $0.value == "silent" })
        // It goes on, and says nothing.
        try harness.wait("the alarm's end") {
            _ = receiveNow(router)
            return self.alarms(harness).isEmpty
        }
        #expect(self.lines(harness, "the router answers again") == 1)
        let looks = Clock.monotonic() &+ UInt64(PeerAbsence.looks + 2) * PeerAbsence.periodNanoseconds
        try harness.wait("some looks") {
            _ = receiveNow(router)
            return Clock.monotonic() > looks
        }
        #expect(self.alarms(harness).isEmpty)
    }
}
