import Testing

@Suite struct SourceRulesTests {
    struct Ban: Sendable, CustomTestStringConvertible {
        var text: String
        var instead: String
        /// Parts of paths where it is right.
        var except: [String] = []
        /// Where it is looked for.
        var within = ["Sources/"]

        var testDescription: String { self.text }
    }

    private static let bans = [
        Ban(text: "try!", instead: "handle the error, or say with preconditionFailure why there cannot be one"),
        Ban(text: " as! ", instead: "as? in a guard"),
        Ban(text: "fatalError(", instead: "preconditionFailure with a sentence for a mistake of ours; never for input"),
        Ban(
            text: "print(",
            instead: "the logger: roles write nothing else",
            except: ["Sources/Martlet/", "Sources/RoleCommand/", "/Main/"]
        ),
        Ban(text: "DispatchQueue", instead: "the event loop; a helper thread and a Waker for what blocks"),
        Ban(text: "Task {", instead: "the event loop: one thread for everything hot"),
        Ban(text: "Task.detached", instead: "the event loop: one thread for everything hot"),
        Ban(text: "await ", instead: "the event loop and a delegate"),
        Ban(text: "actor ", instead: "a class of the loop's thread"),
        Ban(text: "NSLock", instead: "queues, by which helper threads take and give"),
        Ban(
            text: "Mutex<",
            instead: "nothing: there is one thread",
            within: ["Sources/Common/", "Sources/Router/", "Sources/Listener/"]
        ),
        Ban(text: "nonisolated(unsafe)", instead: "a value that is passed, or signalfd for a flag"),
        Ban(
            text: "usleep(",
            instead: "a timer of the loop",
            except: ["Sources/AuthWorker/Cache/", "Sources/Common/IO/FileLock.swift"]
        ),
        Ban(text: "sleep(", instead: "a timer of the loop"),
        Ban(text: "gettimeofday(", instead: "Clock; state machines get `now` as an argument"),
        Ban(text: "clock_gettime(", instead: "Clock", except: ["Sources/Common/IO/Instant.swift"]),
        Ban(text: "epoll_wait(", instead: "EventLoop", except: ["Sources/Common/IO/EventLoop.swift"]),
        Ban(
            text: "public ",
            instead: "package: nothing leaves this repository, and only Common is inlined elsewhere",
            except: ["Sources/Common/"]
        ),
        Ban(
            text: "-Ounchecked",
            instead: "-O: unchecked arithmetic on input is a hole",
            within: ["Package.swift", "Makefile", "scripts/"]
        ),
    ]

    @Test("Calls that have no place here, each with what to use instead", arguments: Self.bans)
    func bannedCalls(ban: Ban) {
        for file in SourceTree.files where ban.within.contains(where: { file.path.hasPrefix($0) }) {
            guard !ban.except.contains(where: { file.path.contains($0) }) else { continue }
            let isSwift = file.path.hasSuffix(".swift") && file.path != "Package.swift"
            guard isSwift || !ban.within.contains("Sources/") else { continue }
            for line in SwiftText.lines(of: ban.text, in: isSwift ? file.code : Array(file.text.utf8)) {
                Issue.record("\(file.path):\(line): \(ban.text): use \(ban.instead)")
            }
        }
    }

    /// Longer than 70 lines, each with the reason. A function here may get shorter, not longer.
    private static let longFunctions: [String: (lines: Int, reason: String)] = [
        "Sources/Listener/SessionUplink.swift forward": (
            83, "one loop over the bytes of a read: cut up, its parts would hand the same six values to each other"
        )
    ]

    @Test("Functions have at most 70 lines")
    func functionLength() {
        for file in SourceTree.swiftFiles {
            for function in file.functions {
                let limit = Self.longFunctions["\(file.path) \(function.name)"]?.lines ?? 70
                guard function.lineCount > limit else { continue }
                Issue.record(
                    "\(file.path):\(function.line): \(function.name) has \(function.lineCount) lines, not \(limit)"
                )
            }
        }
    }

    @Test("Files have at most 800 lines, end with a line end, and hold no tabs or carriage returns")
    func files() {
        for file in SourceTree.swiftFiles {
            let bytes = Array(file.text.utf8)
            let lines = bytes.count { $0 == UInt8(ascii: "\n") }
            if lines > 800 { Issue.record("\(file.path) has \(lines) lines: cut it by topic") }
            if bytes.last != UInt8(ascii: "\n") { Issue.record("\(file.path) does not end with a line end") }
            if bytes.contains(UInt8(ascii: "\t")) { Issue.record("\(file.path) holds a tab") }
            if bytes.contains(UInt8(ascii: "\r")) { Issue.record("\(file.path) holds a carriage return") }
        }
    }

    @Test("Nothing is left to do, and no file knows the machine it was written on")
    func leftovers() {
        // Put together here, so that this file holds none.
        let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:", "/wo" + "rk/"]
        for file in SourceTree.files {
            for mark in marks {
                for line in SwiftText.lines(of: mark, in: Array(file.text.utf8)) {
                    Issue.record("\(file.path):\(line): \(mark)")
                }
            }
        }
    }
}
