import Common
import Testing

@testable import AuthWorker

/// How the row that a command did not find can be made.
@Suite struct CommandWritingTests {
    private static let client = ClientAttributes(
        clientIdentifier: Array("id".utf8),
        userName: Array("u".utf8),
        peerAddress: [],
        identity: nil
    )

    private static let cases: [(command: String, purpose: CommandTemplate.Purpose, writing: String?)] = [
        ("HMGET a:%u password", .credentials, "HSET a:u password …"),
        ("HMGET a:%u password_hash salt is_superuser", .credentials, "HSET a:u password_hash … salt …"),
        ("HMGET a:%u password password_hash salt", .credentials, "HSET a:u password_hash … salt …"),
        ("HMGET a:%u hash grain more", .credentials, "HSET a:u hash … grain …"),
        ("HGET devices %u", .credentials, "HSET devices u …"),
        ("GET a:%u", .credentials, "SET a:u …"),
        ("HMGET a:%u is_superuser name", .existence, "HSET a:u name …"),
        ("HEXISTS devices %u", .existence, "HSET devices u …"),
        ("SISMEMBER devices %u", .existence, "SADD devices u"),
        ("SMISMEMBER devices %u %c", .existence, "SADD devices u id"),
        ("EXISTS a:%u", .existence, nil),
        ("HMGET a:%u is_superuser", .existence, nil),
        ("ZSCORE devices %u", .existence, nil),
        ("LRANGE a:%u 0 1", .credentials, nil),
        ("EVAL_RO 'return 1' 1 a:%u", .credentials, nil),
    ]

    /// It was HSET KEY password for all of them.
    @Test(
        "Regression: the command that makes a row fits the one that looks for it, or there is none",
        arguments: 0..<15
    )
    func writing(_ index: Int) throws {
        let (command, purpose, writing) = Self.cases[index]
        let template = try CommandTemplate(command, purpose: purpose)
        let words = template.writing(try template.render(Self.client).arguments)
        let text = words?.map { $0.map { String(decoding: $0, as: UTF8.self) } ?? "…" }.joined(separator: " ")
        #expect(text == writing, "\(command)")
    }
}
