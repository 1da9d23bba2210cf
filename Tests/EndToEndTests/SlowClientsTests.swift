import Common
import TestSupport
import Testing

/// Clients that stay, say that they live, and read nothing of what is sent to them.
@Suite struct SlowClientsTests {
    private static let settings = "flow_control: {session_credit: 64KiB, link_credit: 1MiB}\n"

    private let loop: EventLoop
    private let broker: TestBroker
    private let publisher: TestClient
    private let reader: TestClient
    private var silent: [TestClient] = []

    init() throws {
        self.loop = try EventLoop()
        self.broker = try TestBroker(settings: Self.settings)
        let (loop, broker) = (self.loop, self.broker)
        func connect(_ name: String) throws -> TestClient {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
            #expect(try client.connect(clientIdentifier: name).returnCode == 0)
            return client
        }
        self.publisher = try connect("publisher")
        self.reader = try connect("reader")
        #expect(try self.reader.subscribe("mine", qos: .atLeastOnce) == [1])
        for index in 0..<40 {
            let client = try connect("silent-\(index)")
            #expect(try client.subscribe("all", qos: .atMostOnce) == [0])
            client.isReadingPaused = true
            self.silent.append(client)
        }
    }

    private func publish(_ topic: String, _ number: Int, bytes: Int) throws {
        let payload = Array("\(number):".utf8) + [UInt8](repeating: 7, count: bytes)
        self.publisher.publish(topic, payload, qos: .atLeastOnce, packetIdentifier: 1)
        guard case .puback = try self.publisher.next("PUBACK") else { throw ProcessError(description: "no PUBACK") }
    }

    private static func number(_ message: PublishPacket) -> Int? {
        Int(String(decoding: message.payload.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self))
    }

    private func readerGets(_ numbers: Range<Int>) throws {
        for number in numbers {
            try self.publish("mine", number, bytes: 2000)
            let message = try self.reader.nextMessage("message \(number)")
            #expect(Self.number(message) == number)
            self.reader.send(.puback(AcknowledgementPacket(packetIdentifier: message.packetIdentifier)))
        }
    }

    private func undelivered() throws -> Int {
        try #require(try self.broker.figure("undelivered_bytes", of: "listener"))
    }

    /// 40 times 64 KiB are more than all of them together may keep.
    @Test func `hold nobody up, and get it all when they read again`() throws {
        // Of this the session is not told yet.
        try self.readerGets(0..<12)
        for number in 0..<150 { try self.publish("all", number, bytes: 8000) }
        #expect(try self.undelivered() > 512 << 10, "or the kernel has taken it all, and this shows nothing")
        try self.readerGets(12..<50)
        let late = try TestClient(loop: self.loop, port: self.broker.plainPort, version: .v3_1_1)
        #expect(try late.connect(clientIdentifier: "late").returnCode == 0)
        #expect(try late.subscribe("mine", qos: .atMostOnce) == [0])
        try self.publish("mine", 50, bytes: 100)
        #expect(Self.number(try late.nextMessage("a message for who came late")) == 50)
        #expect(try self.broker.figure("slow_clients_closed_total", of: "listener") == 0)
        for client in self.silent { client.isReadingPaused = false }
        for client in self.silent {
            for number in 0..<150 { #expect(Self.number(try client.nextMessage("message \(number)")) == number) }
        }
        try self.loop.wait("everything to be delivered") { (try? self.undelivered()) == 0 }
    }

    @Test func `go when what waits for them leaves no room for others`() throws {
        var number = 0
        // At times the kernel takes some megabytes for each of them.
        while try number < 20 || (number < 120 && self.undelivered() <= 768 << 10) {
            try self.publish("all", number, bytes: 60_000)
            number += 1
        }
        try self.broker.listeners[0].waitForLog("clients ended that do not read")
        try self.readerGets(0..<50)
        #expect(try #require(try self.broker.figure("slow_clients_closed_total", of: "listener")) > 0)
        // What waited in the router for the others takes their place, and more of them have to go.
        try self.loop.wait("the alarm to end") {
            (try? self.broker.status(of: "listener"))?.contains("alarm") == false
        }
        try self.loop.wait("half to be free", seconds: 90) {
            (try? self.undelivered()).map { $0 <= 512 << 10 } ?? false
        }
        try self.readerGets(50..<60)
    }
}
