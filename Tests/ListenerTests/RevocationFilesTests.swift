import Common
import Glibc
import TLS
import TestSupport
import Testing

@testable import Listener

/// Revocation lists on disk.
@Suite struct RevocationFilesTests {
    private static func timestamp(_ seconds: Int64) -> String {
        Ban.timestamp(seconds).filter { $0.isNumber || $0 == "Z" }
    }

    /// It took the place of the one in force, and real ones after it counted as older.
    @Test("Regression: a list that was made in the future is refused with an alarm, and counts when its time has come")
    func futureLists() throws {
        let pki = TestPKI.shared
        let folder = try TemporaryDirectory("martlet-lists")
        let path = folder.file("list")
        var listener = Configuration.Listener(name: "devices")
        var tls = Configuration.Listener.TLS()
        tls.clientCAFile = pki.caFile
        tls.crlDirectory = folder.path
        listener.tls = tls
        let now = RevocationList.now
        let device = try pki.device("future-list")
        try pki.revocationList(path, revoked: [device], madeAt: Self.timestamp(now - 60))
        let start = try #require(RevocationFiles(listener)).load(now: now)
        #expect(start.list.count == 1 && start.problems.isEmpty)

        try pki.revocationList(path, revoked: [], madeAt: Self.timestamp(now + 7200))
        let held = start.files.load(now: now)
        #expect(held.list.count == 1)
        #expect(held.problems.count == 1 && held.problems[0].contains("which is to come"), "\(held.problems)")
        let later = held.files.load(now: now + 3600)
        #expect(later.list.count == 1 && later.problems == held.problems)
        let due = later.files.load(now: now + 7200)
        #expect(due.hasChanged && due.list.count == 0 && due.problems.isEmpty, "\(due.problems)")

        // A real one after it.
        try pki.revocationList(path, revoked: [device], madeAt: Self.timestamp(now - 30))
        let real = held.files.load(now: now)
        #expect(real.list.count == 1 && real.problems.isEmpty, "\(real.problems)")
        // An authority's clock may be a little ahead.
        try pki.revocationList(path, revoked: [], madeAt: Self.timestamp(now + 120))
        let ahead = real.files.load(now: now)
        #expect(ahead.list.count == 0 && ahead.problems.isEmpty, "\(ahead.problems)")
    }

    /// It was an error with an alarm, though a new installation is like that until lists are fetched.
    @Test("Regression: a crl_directory that is not there yet is no problem; one that vanishes with lists in it is")
    func missingDirectory() throws {
        let pki = TestPKI.shared
        let folder = try TemporaryDirectory("martlet-lists")
        let directory = folder.file("crl")
        var listener = Configuration.Listener(name: "devices")
        var tls = Configuration.Listener.TLS()
        tls.clientCAFile = pki.caFile
        tls.crlDirectory = directory
        listener.tls = tls
        let start = try #require(RevocationFiles(listener)).load()
        #expect(start.problems == [] && start.gaps == [] && start.unreadableDirectory == nil)
        mkdir(directory, 0o755)
        try pki.revocationList("\(directory)/list", revoked: [try pki.device("missing-directory")])
        let filled = start.files.load()
        #expect(filled.list.count == 1 && filled.problems == [])
        let moved = folder.file("moved")
        #expect(rename(directory, moved) == 0)
        let gone = filled.files.load()
        #expect(gone.list.count == 1)
        #expect(gone.problems.contains { $0.contains("crl_directory \(directory): No such file") }, "\(gone.problems)")
    }
}
