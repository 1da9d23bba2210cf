import Common
import Glibc
import TestSupport

/// A Redis in a network name space of its own, which a pair of virtual cards connects with this one, so that its packets can really be
/// lost: nothing is refused, nothing is reset, nobody answers.
final class SeparateNetwork {
    /// Making one takes rights that not every user has.
    static let isAllowed: Bool = {
        let name = "martlet-probe-\(getpid())"
        guard (try? runProcess("ip", arguments: ["netns", "add", name]).status) == 0 else { return false }
        _ = try? runProcess("ip", arguments: ["netns", "del", name])
        return true
    }()

    let name: String
    private let card: String
    private let own: String
    let redisAddress: String
    private var redis: ChildProcess?

    init(_ directory: TemporaryDirectory) throws {
        let number = UInt32.random(in: 0..<(1 << 14))
        self.name = "martlet-\(getpid())-\(number)"
        self.card = "mt\(number)"
        // Four addresses for each network, in a range for devices that talk to each other on one wire.
        let (third, fourth) = (1 + number / 64 % 254, number % 64 * 4)
        self.own = "169.254.\(third).\(fourth + 1)"
        self.redisAddress = "169.254.\(third).\(fourth + 2)"
        try Self.ip("netns", "add", self.name)
        try Self.ip("link", "add", self.card, "type", "veth", "peer", "name", "peer", "netns", self.name)
        try Self.ip("addr", "add", "\(self.own)/30", "dev", self.card)
        try Self.ip("link", "set", self.card, "up")
        try Self.ip("-n", self.name, "addr", "add", "\(self.redisAddress)/30", "dev", "peer")
        try Self.ip("-n", self.name, "link", "set", "peer", "up")
        try Self.ip("-n", self.name, "link", "set", "lo", "up")
        self.redis = try ChildProcess(
            "/usr/bin/env",
            arguments: [
                "ip", "netns", "exec", self.name, "redis-server", "--bind", self.redisAddress, "127.0.0.1", "--port",
                "6379",
                "--protected-mode", "no", "--save", "", "--dir", directory.path,
            ],
            name: "redis",
            logFile: directory.file("separate-redis.log")
        )
        try self.redis?.waitForLog("Ready to accept connections")
    }

    deinit {
        self.redis?.killNow()
        for arguments in [["link", "del", self.card], ["netns", "del", self.name]] {
            _ = try? runProcess("ip", arguments: arguments)
        }
    }

    var redisURL: String { "redis://\(self.redisAddress):6379" }

    /// From inside, also while the network is cut.
    func redisCommand(_ arguments: String...) throws -> String {
        let all = ["netns", "exec", self.name, "redis-cli", "-h", "127.0.0.1"] + arguments
        let result = try runProcess("ip", arguments: all)
        guard result.status == 0 else { throw ProcessError(description: "redis-cli: \(result.output)") }
        return result.output
    }

    /// Packets in both directions disappear without a trace: the far side drops what comes from an address that it has no way to.
    func cut() throws {
        try Self.ip("-n", self.name, "route", "add", "blackhole", "\(self.own)/32")
    }

    func mend() throws {
        try Self.ip("-n", self.name, "route", "del", "blackhole", "\(self.own)/32")
    }

    private static func ip(_ arguments: String...) throws {
        let result = try runProcess("ip", arguments: arguments)
        guard result.status == 0 else {
            throw ProcessError(description: "ip \(arguments.joined(separator: " ")): \(result.output)")
        }
    }
}
