import Common
import Glibc
import TestSupport
import Testing

@testable import Martlet

@Suite struct QuickStartLayoutTests {
    @Test func socketsAreBelowTheFolder() {
        let layout = QuickStartLayout(directory: "/home/a/martlet/var", userRuntimeDirectory: "/run/user/1", userID: 1)
        #expect(layout.runtimeDirectory == "/home/a/martlet/var/run")
        #expect(!layout.usesRuntimeDirectoryElsewhere)
        #expect(layout.configurationText().contains("\nruntime_directory: run\n"))
    }

    @Test func aDeepFolderHasItsSocketsElsewhere() {
        let deep = "/" + String(repeating: "deep/", count: 40) + "var"
        let layout = QuickStartLayout(directory: deep, userRuntimeDirectory: "/run/user/7", userID: 7)
        #expect(layout.runtimeDirectory.hasPrefix("/run/user/7/martlet-"))
        #expect(layout.usesRuntimeDirectoryElsewhere)
        #expect(QuickStartLayout(directory: deep, userRuntimeDirectory: "/run/user/7", userID: 7) == layout)
        let other = QuickStartLayout(directory: deep + "2", userRuntimeDirectory: "/run/user/7", userID: 7)
        #expect(other.runtimeDirectory != layout.runtimeDirectory)

        let noneOfOwn = QuickStartLayout(directory: deep, userRuntimeDirectory: nil, userID: 7)
        #expect(noneOfOwn.runtimeDirectory.hasPrefix("/tmp/martlet-7-"))
        let deepToo = QuickStartLayout(directory: deep, userRuntimeDirectory: deep, userID: 7)
        #expect(deepToo.runtimeDirectory == noneOfOwn.runtimeDirectory)
    }

    @Test func theBoundIsExact() {
        let fits =
            "/"
            + String(repeating: "x", count: Configuration.runtimeDirectoryBytesMax - "/".utf8.count - "/run".utf8.count)
        #expect(!QuickStartLayout(directory: fits, userRuntimeDirectory: nil, userID: 1).usesRuntimeDirectoryElsewhere)
        #expect(
            QuickStartLayout(directory: fits + "x", userRuntimeDirectory: nil, userID: 1).usesRuntimeDirectoryElsewhere
        )
    }

    @Test(arguments: ["/srv/var", String(repeating: "/deep \"\\", count: 20)])
    func itsConfigurationHasNoMistakes(directory: String) throws {
        let layout = QuickStartLayout(directory: directory, userRuntimeDirectory: nil, userID: 1)
        let configuration = try Configuration.parse(
            Array(layout.configurationText().utf8),
            file: "martlet.yaml",
            baseDirectory: directory
        )
        #expect(configuration.runtimeDirectory == layout.runtimeDirectory)
        #expect(configuration.stateDirectory == "\(directory)/state")
        #expect(configuration.processes.listeners == 2)
        #expect(configuration.listeners.first?.tls?.clientCAFile == layout.caCertificate)
        #expect(configuration.listeners.first?.tls?.certificateFile == layout.serverCertificate)
        #expect(configuration.authentication.command == "HMGET tls_domain:%C password")
    }

    @Test func theLinesToPasteAreQuotedForTheShell() throws {
        let layout = QuickStartLayout(directory: "/tmp/it's here", userRuntimeDirectory: nil, userID: 1)
        let guide = QuickStartGuide(layout: layout, port: 1883, password: "pass word $x")
        for command in [guide.subscribeCommand, guide.publishCommand] {
            let words = try runProcess("/bin/sh", arguments: ["-c", "printf '%s\\n' \(command)"])
            let lines = words.output.split(separator: "\n").map(String.init)
            #expect(words.status == 0)
            #expect(lines.contains("/tmp/it's here/ca.crt"))
            #expect(lines.contains("/tmp/it's here/device.key"))
            #expect(lines.contains("pass word $x"))
            #expect(lines.contains("1883"))
        }
        #expect(guide.text.hasPrefix("martlet: ready, mqtts://localhost:1883\n"))
        #expect(guide.publishCommand.contains("-t devices/346a004d-1dab-4016-bb38-03cca7094415/hello"))
    }
}

@Suite struct FolderTests {
    @Test func onlyOneHoldsTheLock() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("lock")
        var first: FolderLock? = try FolderLock(file: path, what: "the folder X")
        let failure = #expect(throws: CommandFailure.self) { try FolderLock(file: path, what: "the folder X") }
        let expected = "another martlet run uses the folder X already (process \(getpid())); stop it first"
        #expect(failure?.description == expected)
        withExtendedLifetime(first) {}
        first = nil
        _ = try FolderLock(file: path, what: "the folder X")
    }

    @Test func aFolderThatOthersCanOpenIsNotPrivate() throws {
        let directory = try TemporaryDirectory()
        try Folder.makePrivate(directory.file("a/b"))
        try Folder.makePrivate(directory.file("a/b"))
        #expect(chmod(directory.file("a/b"), 0o755) == 0)
        #expect(throws: CommandFailure.self) { try Folder.makePrivate(directory.file("a/b")) }
        #expect(symlink("/tmp", directory.file("link")) == 0)
        #expect(throws: CommandFailure.self) { try Folder.makePrivate(directory.file("link")) }
    }

    @Test func aFileIsNoFolder() throws {
        let directory = try TemporaryDirectory()
        try Folder.writeFile(directory.file("f"), "x")
        let failure = #expect(throws: CommandFailure.self) { try Folder.make(directory.file("f/g")) }
        #expect(failure?.description == "\(directory.file("f")) is not a folder")
    }
}

@Suite struct ListeningSocketsTests {
    @Test func aBusyPortIsNamed() throws {
        var listener = Configuration.Listener(name: "devices")
        listener.addresses = [.loopback(port: 0)]
        let first = try ListeningSockets([listener])
        let address = try #require(first.sockets.first?.address)
        #expect(address.port != 0)
        listener.addresses = [address]
        let failure = #expect(throws: CommandFailure.self) { try ListeningSockets([listener]) }
        let expected =
            "cannot listen on \(address) (listener devices): port \(address.port) is in use by another program"
        #expect(failure?.description == expected)
        withExtendedLifetime(first) {}
    }

    @Test func anAddressOfAnotherHost() {
        var listener = Configuration.Listener(name: "a")
        listener.addresses = [ListenAddress(bytes: [192, 0, 2, 1], port: 0)]
        let failure = #expect(throws: CommandFailure.self) { try ListeningSockets([listener]) }
        #expect(
            failure?.description == "cannot listen on 192.0.2.1:0 (listener a): this host does not have that address"
        )
    }
}

@Suite struct RESPValueTests {
    @Test func commandsAreArraysOfBulkStrings() {
        let bytes = RESPValue.encode(command: [Array("GET".utf8), [], [0, 13, 10]])
        #expect(bytes == Array("*3\r\n$3\r\nGET\r\n$0\r\n\r\n$3\r\n\u{0}\r\n\r\n".utf8))
    }

    @Test(arguments: [
        ("+OK\r\n", RESPValue.status(Array("OK".utf8))), ("-ERR no\r\n", .error(Array("ERR no".utf8))),
        (":-12\r\n", .integer(-12)), ("$-1\r\n", .bulk(nil)), ("$0\r\n\r\n", .bulk([])),
        ("$4\r\na\r\nb\r\n", .bulk(Array("a\r\nb".utf8))),
    ])
    func repliesAtEverySplit(text: String, value: RESPValue) {
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count { #expect(RESPValue.decode(Array(bytes[..<count])) == .needMore) }
        #expect(RESPValue.decode(bytes + [65]) == .value(value, byteCount: bytes.count))
    }

    @Test(arguments: ["HTTP/1.1 400\r\n", "$9999999999\r\n", "$x\r\n", ":\r\n", "\r\n", "*1\r\n"])
    func otherThingsAreRefused(text: String) {
        #expect(RESPValue.decode(Array(text.utf8)) == .invalid)
    }

    @Test func randomBytesNeverCrash() {
        var random = SeededRandom(seed: testSeed())
        for _ in 0..<2000 {
            let first = Array("+-:$*".utf8).randomElement(using: &random) ?? 0
            let digits = (0..<4).map { _ in Array("0123456789-\r\n".utf8).randomElement(using: &random) ?? 0 }
            _ = RESPValue.decode([first] + digits + random.bytes(8))
        }
    }
}

@Suite struct SelfTestDialogueTests {
    private let topic = Array("t".utf8)
    private let payload = Array("p".utf8)

    private func dialogue(upTo steps: Int) -> SelfTestDialogue {
        var dialogue = SelfTestDialogue(topic: "t", payload: self.payload)
        let packets: [Packet] = [
            .connack(ConnackPacket(sessionPresent: false, returnCode: 0)),
            .suback(SubackPacket(packetIdentifier: 1, returnCodes: [1])),
        ]
        for packet in packets.prefix(steps) { _ = dialogue.receive(packet) }
        return dialogue
    }

    @Test func theMessageComesBackBeforeOrAfterItsAcknowledgement() {
        let publish = Packet.publish(
            PublishPacket(qos: .atLeastOnce, topic: self.topic, packetIdentifier: 9, payload: self.payload)
        )
        let puback = Packet.puback(AcknowledgementPacket(packetIdentifier: 2))
        for order in [[publish, puback], [puback, publish]] {
            var dialogue = self.dialogue(upTo: 2)
            let first = dialogue.receive(order[0])
            let second = dialogue.receive(order[1])
            let didEnd = { (step: SelfTestDialogue.Step) in
                if case .done = step { return true }
                return false
            }
            #expect(!didEnd(first))
            #expect(didEnd(second))
        }
    }

    @Test func anotherMessageIsNotOurs() {
        var dialogue = self.dialogue(upTo: 2)
        let other = PublishPacket(retain: true, topic: self.topic, payload: Array("old".utf8))
        #expect(dialogue.receive(.publish(other)) == .wait)
        #expect(dialogue.receive(.puback(AcknowledgementPacket(packetIdentifier: 2))) == .wait)
    }

    @Test func refusalsAreNamed() {
        var connecting = self.dialogue(upTo: 0)
        #expect(
            connecting.receive(.connack(ConnackPacket(sessionPresent: false, returnCode: 0x86)))
                == .failed("the connection was refused: bad user name or password (0x86)")
        )
        var subscribing = self.dialogue(upTo: 1)
        #expect(
            subscribing.receive(.suback(SubackPacket(packetIdentifier: 1, returnCodes: [0x87])))
                == .failed("the subscription was refused: not authorized (0x87)")
        )
        var publishing = self.dialogue(upTo: 2)
        #expect(
            publishing.receive(.disconnect(DisconnectPacket(reasonCode: .serverShuttingDown)))
                == .failed("the connection was ended: server shutting down (0x8B)")
        )
    }
}

@Suite struct StatusTableTests {
    @Test func upAndDown() {
        var report = StatusReport()
        report.add("process", "router")
        report.add("pid", 12)
        report.add("uptime_seconds", 3700)
        report.add("sessions", 3)
        report.add("dropped", 0)
        let processes = [
            StatusClient.Process(name: "router", answer: .report(report.lines)),
            StatusClient.Process(name: "listener-1", answer: .silent("not running")),
        ]
        let table = """
            PROCESS     STATE  PID  UPTIME
            router      up     12   1h1m
                sessions=3
            listener-1  down   -    -
                not running
            """
        #expect(StatusTable.render(processes) == table)
        #expect(StatusTable.render(processes, showsZeros: true).contains("    sessions=3 dropped=0\n"))
    }

    @Test(arguments: [(0, "0s"), (59, "59s"), (80, "1m20s"), (3600, "1h0m"), (90_000, "1d1h")] as [(UInt64, String)])
    func uptimes(seconds: UInt64, text: String) {
        #expect(StatusTable.uptime(seconds) == text)
    }
}
