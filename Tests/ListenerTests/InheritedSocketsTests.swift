import Common
import Glibc
import TestSupport
import Testing

@testable import Listener

@Suite(.serialized) struct InheritedSocketsTests {
    /// Listening sockets on free ports, at descriptors that follow each other.
    private func makeSockets(at first: Int32, count: Int32) throws -> [ListenAddress] {
        try (0..<count).map { index in
            let socket = try ListeningSocket.open(.loopback(port: 0))
            defer { close(socket) }
            // Blocking and inherited, as systemd passes them.
            #expect(dup2(socket, first + index) == first + index)
            _ = fcntl(first + index, F_SETFL, 0)
            return try #require(SocketAddress.local(of: first + index)?.listenAddress)
        }
    }

    private func environment(count: Int, names: String? = nil) -> [String: String] {
        var environment = ["LISTEN_PID": "\(getpid())", "LISTEN_FDS": "\(count)"]
        environment["LISTEN_FDNAMES"] = names
        return environment
    }

    @Test("Sockets are found by name and address, by name, by address; each goes once")
    func take() throws {
        let first = reservedDescriptors
        let addresses = try self.makeSockets(at: first, count: 4)
        var inherited = InheritedSockets(
            environment: self.environment(count: 4, names: "devices:devices:unknown:other"),
            firstDescriptor: first
        )
        #expect(inherited.sockets.map(\.fileDescriptor) == Array(first..<first + 4))
        #expect(inherited.take(name: "devices", address: addresses[1]) == first + 1)
        #expect(inherited.take(name: "devices", address: .loopback(port: 1)) == first)
        #expect(inherited.take(name: "devices", address: addresses[2]) == first + 2)
        #expect(inherited.take(name: "devices", address: addresses[0]) == nil)
        #expect(inherited.sockets == [InheritedSockets.Socket(fileDescriptor: first + 3, name: "other")])
        for descriptor in first..<first + 4 {
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0, "a child must not inherit it")
            #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
            close(descriptor)
        }
    }

    @Test("Regression: a unit's second socket with the name of a listener is served")
    func further() throws {
        let first = reservedDescriptors + 60
        let addresses = try self.makeSockets(at: first, count: 4)
        var inherited = InheritedSockets(
            environment: self.environment(count: 4, names: "devices:devices:devices:other"),
            firstDescriptor: first
        )
        #expect(inherited.take(name: "devices", address: addresses[1]) == first + 1)
        #expect(inherited.takeFurther(name: "devices") == first)
        #expect(inherited.takeFurther(name: "devices") == first + 2)
        #expect(inherited.takeFurther(name: "devices") == nil)
        #expect(inherited.sockets == [InheritedSockets.Socket(fileDescriptor: first + 3, name: "other")])
        for descriptor in first..<first + 4 { close(descriptor) }
    }

    @Test("Without names the address decides")
    func withoutNames() throws {
        let first = reservedDescriptors + 20
        let addresses = try self.makeSockets(at: first, count: 2)
        var inherited = InheritedSockets(environment: self.environment(count: 2), firstDescriptor: first)
        #expect(inherited.take(name: "devices", address: addresses[1]) == first + 1)
        #expect(inherited.take(name: "devices", address: addresses[0]) == first)
        #expect(inherited.sockets.isEmpty)
        close(first)
        close(first + 1)
    }

    @Test("Variables that are meant for another process, or make no sense, give no sockets")
    func ignored() {
        let own = "\(getpid())"
        for environment in [
            [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "1", "LISTEN_FDS": "1"], ["LISTEN_PID": own],
            ["LISTEN_PID": own, "LISTEN_FDS": "0"], ["LISTEN_PID": own, "LISTEN_FDS": "-1"],
            ["LISTEN_PID": own, "LISTEN_FDS": "x"], ["LISTEN_PID": own, "LISTEN_FDS": "99999999999999"],
            ["LISTEN_PID": own, "LISTEN_FDS": "257"],
        ] {
            #expect(
                InheritedSockets(environment: environment, firstDescriptor: reservedDescriptors + 40).sockets.isEmpty
            )
        }
        // Announced, and not there.
        let environment = self.environment(count: 2)
        #expect(InheritedSockets(environment: environment, firstDescriptor: reservedDescriptors + 40).sockets.isEmpty)
    }
}
