import Logging
import TestSupport
import Testing

@testable import Common

@Suite struct StandardErrorLogHandlerTests {
    private func line(
        _ message: Logger.Message,
        level: Logger.Level = .notice,
        metadata: Logger.Metadata? = nil,
        error: (any Error)? = nil,
        ownMetadata: Logger.Metadata = [:]
    ) -> String {
        var handler = StandardErrorLogHandler(process: "listener-1", level: .info)
        handler.metadata = ownMetadata
        let event = LogEvent(
            level: level,
            message: message,
            error: error,
            metadata: metadata,
            source: nil,
            file: "",
            function: "",
            line: 0
        )
        return handler.line(for: event, wallNanoseconds: 1_795_457_016_123_456_789)
    }

    @Test("A line: time, level, process, message, fields in the order of their names")
    func format() {
        let metadata: Logger.Metadata = ["reason": "certificate-expired", "address": "192.0.2.7:40112"]
        #expect(
            self.line("connection refused", metadata: metadata)
                == "2026-11-23T18:03:36.123Z notice  listener-1 connection refused address=192.0.2.7:40112 "
                + "reason=certificate-expired\n"
        )
        #expect(self.line("ready", level: .info) == "2026-11-23T18:03:36.123Z info    listener-1 ready\n")
        #expect(self.line("x", level: .critical) == "2026-11-23T18:03:36.123Z critical listener-1 x\n")
        #expect(self.line("x", metadata: ["a": "1"], ownMetadata: ["a": "0", "b": "2"]).hasSuffix("x a=1 b=2\n"))
        let error = SystemError("bind", code: 98)
        #expect(self.line("x", error: error).hasSuffix("x error=\"bind: Address already in use\"\n"))
    }

    @Test("Values that could be mistaken for something else are quoted")
    func quoting() {
        let table: [(String, String)] = [
            ("plain-1.2:3/x[y]", "plain-1.2:3/x[y]"), ("", "\"\""), ("two words", "\"two words\""),
            ("a=b", "\"a=b\""), ("say \"hi\"", "\"say \\\"hi\\\"\""), ("back\\slash", "\"back\\\\slash\""),
            ("Grün", "\"Grün\""), ("tab\there", "\"tab\\u{9}here\""),
        ]
        for (value, written) in table {
            #expect(self.line("m", metadata: ["k": "\(value)"]).hasSuffix(" m k=\(written)\n"))
        }
    }

    @Test("A client id cannot forge a line or a field, whatever line ends it brings")
    func injection() {
        for lineEnd in [
            "\n", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{2029}", "\u{0B}", "\u{0C}", "\0", "\u{1B}[2J", "\u{9B}",
        ] {
            let forged = "x\(lineEnd)2026-11-23T18:03:36.123Z notice listener-1 ready k=\"v\""
            for line in [
                self.line("m", metadata: ["client_id": "\(forged)"]), self.line("m \(forged)"),
                self.line("m", error: SystemError(forged, code: 1)),
            ] {
                let controls = line.unicodeScalars.dropLast().filter {
                    $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) || [0x2028, 0x2029].contains($0.value)
                }
                #expect(controls.isEmpty, "\(lineEnd.debugDescription)")
                #expect(line.unicodeScalars.last == "\n")
            }
        }
    }

    @Test("What shows as nothing, or turns the direction of what stands beside it, is written out")
    func hiddenCharacters() {
        for (value, written) in [
            ("admin\u{202E}live", "admin\\u{202e}live"), ("a\u{200B}b", "a\\u{200b}b"), ("\u{2066}x", "\\u{2066}x"),
            ("x\u{2028}y", "x\\u{2028}y"), ("\u{FEFF}x", "\\u{feff}x"), ("x\u{E0041}", "x\\u{e0041}"),
            ("\u{3164}", "\\u{3164}"), ("soft\u{AD}", "soft\\u{ad}"), ("日本 é ✓", "日本 é ✓"),
        ] {
            #expect(self.line("m", metadata: ["device": "\(value)"]).hasSuffix(" m device=\"\(written)\"\n"))
        }
    }

    @Test("Random values give one line, and no field can be read twice out of it")
    func randomValues() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let bytes = random.bytes(Int.random(in: 0...40, using: &random)).map { random.oneIn(2) ? $0 & 0x7F : $0 }
            let text = String(decoding: bytes, as: UTF8.self)
            let line = self.line("m", metadata: ["k": "\(text)"])
            #expect(line.utf8.count { $0 == 0x0A } == 1, "seed \(seed)")
            // Outside of quotes there is one = only.
            var isQuoted = false
            var isEscaped = false
            var equals = 0
            for byte in line.utf8 {
                switch byte {
                case _ where isEscaped: isEscaped = false
                case UInt8(ascii: "\\"): isEscaped = true
                case UInt8(ascii: "\""): isQuoted.toggle()
                case UInt8(ascii: "=") where !isQuoted: equals += 1
                default: break
                }
            }
            #expect(equals == 1 && !isQuoted, "seed \(seed)")
        }
    }

    @Test("Timestamps are UTC with milliseconds")
    func timestamps() {
        let table: [(UInt64, String)] = [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_001_000_000, "2000-02-29T00:00:00.001Z"),
            (1_795_457_016_999_999_999, "2026-11-23T18:03:36.999Z"),
            (4_102_444_799_000_000_000, "2099-12-31T23:59:59.000Z"),
        ]
        for (nanoseconds, text) in table {
            #expect(StandardErrorLogHandler.timestamp(nanoseconds: nanoseconds) == text)
        }
    }
}
