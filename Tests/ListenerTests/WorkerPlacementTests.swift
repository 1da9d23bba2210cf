import Common
import Testing

@testable import Listener

@Suite struct WorkerPlacementTests {
    private func query(_ clientID: String, userName: String? = nil, fingerprint: UInt8? = nil) -> AuthQuery {
        var identity: CertificateIdentity?
        if let fingerprint {
            identity = CertificateIdentity(
                commonName: Array("fleet".utf8),
                subject: Array("CN=fleet".utf8),
                issuer: Array("CN=Fleet CA".utf8),
                serialNumber: Array("01".utf8),
                fingerprint: [UInt8](repeating: fingerprint, count: 32),
                notAfter: 4_000_000_000
            )
        }
        return AuthQuery(
            listenerName: Array("devices".utf8),
            rulesName: Array("default".utf8),
            peerAddress: Array("192.0.2.1:40000".utf8),
            version: .v5_0,
            identity: identity,
            clientIdentifier: Array(clientID.utf8),
            userName: userName.map { Array($0.utf8) },
            password: Array("secret".utf8)
        )
    }

    /// How many of a fleet each worker has.
    private func shares(of fleet: [AuthQuery], workers: Int) -> [Int] {
        fleet.reduce(into: [Int](repeating: 0, count: workers)) { shares, query in
            shares[WorkerPlacement.worker(for: query, of: workers)] += 1
        }
    }

    /// All of them were one worker's, and more workers were of no help.
    @Test("clients spread over the auth workers whatever they have in common", arguments: 2...5)
    func spread(_ workers: Int) {
        let fleets = [
            (0..<1000).map { self.query("device-\($0)", userName: "fleet") },
            (0..<1000).map { self.query("device-\($0)", fingerprint: 7) },
            (0..<1000).map { self.query("device-\($0)") },
            (0..<1000).map { self.query("client", userName: "device-\($0)") },
            (0..<1000).map { self.query("device-\($0)", userName: "device-\($0)") },
        ]
        for fleet in fleets {
            let shares = self.shares(of: fleet, workers: workers)
            #expect(shares.allSatisfy { $0 > 1000 / workers / 2 }, "\(shares)")
        }
    }

    /// A CONNECT and all later questions about its session carry the same names.
    @Test("a client that comes again, or is asked about again, has the same auth worker")
    func comesAgain() {
        for number in 0..<100 {
            let first = self.query("device-\(number)", userName: "fleet", fingerprint: UInt8(number))
            var again = first
            again.peerAddress = Array("198.51.100.7:1".utf8)
            again.password = nil
            again.revalidatedTag = [1, 2, 3]
            #expect(WorkerPlacement.worker(for: first, of: 7) == WorkerPlacement.worker(for: again, of: 7))
        }
    }

    @Test("one auth worker has everybody")
    func one() {
        #expect(self.shares(of: [self.query(""), self.query("a", userName: "")], workers: 1) == [2])
    }
}
