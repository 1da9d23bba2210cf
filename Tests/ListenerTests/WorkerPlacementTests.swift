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
    private func shares(of fleet: [AuthQuery], workers: Int, command: String? = nil) -> [Int] {
        let placement = self.placement(command)
        return fleet.reduce(into: [Int](repeating: 0, count: workers)) { shares, query in
            shares[placement.worker(for: query, of: workers)] += 1
        }
    }

    /// Of a command, or of certificates alone.
    private func placement(_ command: String?) -> WorkerPlacement {
        var certificates = Configuration.Authentication.Source()
        certificates.kind = .certificate
        guard let command else { return WorkerPlacement([certificates]) }
        var rows = Configuration.Authentication.Source()
        rows.command = command
        return WorkerPlacement([certificates, rows])
    }

    @Test("clients with one key share an auth worker, and others spread", arguments: 2...5)
    func keys(_ workers: Int) {
        let commands: [(String, (Int) -> AuthQuery, (Int) -> AuthQuery)] = [
            (
                "HMGET u:%u password",
                { self.query("device-\($0)", userName: "fleet", fingerprint: UInt8($0 % 200)) },
                { self.query("client", userName: "device-\($0)", fingerprint: 7) }
            ),
            (
                "HMGET c:%c password",
                { self.query("client", userName: "device-\($0)") },
                { self.query("device-\($0)", userName: "fleet") }
            ),
            (
                "HMGET d:${cert_fingerprint}:%u password",
                { self.query("device-\($0)", userName: "fleet", fingerprint: 7) },
                { self.query("client", userName: "fleet", fingerprint: UInt8($0 % 200)) }
            ),
            // None of these has a certificate: the next source is asked.
            (
                "HMGET tls_domain:%C password",
                { _ in self.query("client", userName: "fleet") },
                { self.query("device-\($0)", userName: "fleet") }
            ),
        ]
        for (command, ofOneKey, ofOthers) in commands {
            let together = self.shares(of: (0..<1000).map(ofOneKey), workers: workers, command: command)
            #expect(together.sorted().last == 1000, "\(command): \(together)")
            let shares = self.shares(of: (0..<1000).map(ofOthers), workers: workers, command: command)
            #expect(shares.allSatisfy { $0 > 1000 / workers / 2 }, "\(command): \(shares)")
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
            for placement in [self.placement(nil), self.placement("HMGET c:%c password")] {
                #expect(placement.worker(for: first, of: 7) == placement.worker(for: again, of: 7))
            }
        }
    }

    @Test("one auth worker has everybody")
    func one() {
        #expect(self.shares(of: [self.query(""), self.query("a", userName: "")], workers: 1) == [2])
    }
}
