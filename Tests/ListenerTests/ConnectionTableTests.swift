import Common
import Glibc
import TestSupport
import Testing

@testable import Listener

@Suite struct ConnectionTableTests {
    private func makeConnection(
        _ harness: ServiceHarness,
        _ policy: ListenerPolicy,
        handle: UInt64
    ) throws
        -> ClientConnection
    {
        let (near, far) = try makeSocketPair()
        close(far)
        return ClientConnection(
            service: harness.service,
            handle: handle,
            fileDescriptor: near,
            address: SocketAddress(sockaddr_storage()),
            policy: policy,
            tls: nil
        )
    }

    @Test("Random insertions and removals: a handle finds its own connection or none, and is never used again")
    func model() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let harness = try ServiceHarness(startsRouter: false)
        let configuration = harness.configuration
        let policy = try ListenerPolicy(configuration.listeners[0], configuration: configuration)
        var table = ConnectionTable()
        var model: [UInt64: ClientConnection] = [:]
        var used: Set<UInt64> = []
        for _ in 0..<600 {
            if random.oneIn(2), let handle = model.keys.randomElement(using: &random) {
                model.removeValue(forKey: handle)?.abandon()
                table.remove(handle)
                table.remove(handle)
            } else if model.count < 40 {
                let handle = table.makeHandle()
                #expect(handle >> 32 != 0, "seed \(seed)")
                #expect(used.insert(handle).inserted, "seed \(seed)")
                let connection = try self.makeConnection(harness, policy, handle: handle)
                table.insert(connection, handle: handle)
                model[handle] = connection
            }
            #expect(table.count == model.count, "seed \(seed)")
            if let handle = used.randomElement(using: &random) {
                #expect(table[handle] === model[handle], "seed \(seed)")
            }
        }
        #expect(Set(table.all.map(\.handle)) == Set(model.keys), "seed \(seed)")
        for handle: UInt64 in [0, .max, 0xFFFF_FFFF, 0x1_0000_2000] { #expect(table[handle] == nil) }
        for connection in model.values { connection.abandon() }
    }
}
