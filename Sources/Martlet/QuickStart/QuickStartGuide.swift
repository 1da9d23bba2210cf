/// What the quick start prints when everything is ready: lines to paste into another terminal.
package struct QuickStartGuide {
    private let layout: QuickStartLayout
    private let port: UInt16
    private let password: String

    package init(layout: QuickStartLayout, port: UInt16, password: String) {
        self.layout = layout
        self.port = port
        self.password = password
    }

    package var text: String {
        """
        martlet: ready, mqtts://localhost:\(self.port)

        Subscribe in a second terminal, publish in a third:

          \(self.subscribeCommand)

          \(self.publishCommand)

        Ctrl-C stops everything; what is in \(self.layout.directory) stays.
        """
    }

    package var subscribeCommand: String {
        self.command("mosquitto_sub", topic: "devices/\(QuickStartLayout.deviceName)/#", rest: "-v")
    }

    package var publishCommand: String {
        self.command(
            "mosquitto_pub",
            topic: "devices/\(QuickStartLayout.deviceName)/hello",
            rest: "-m 'Hello, Martlet'"
        )
    }

    private func command(_ program: String, topic: String, rest: String) -> String {
        let words = [
            program, "-h", "localhost", "-p", "\(self.port)", "--cafile", Self.quoted(self.layout.caCertificate),
            "--cert", Self.quoted(self.layout.deviceCertificate), "--key", Self.quoted(self.layout.deviceKey),
            "-u", QuickStartLayout.deviceName, "-P", Self.quoted(self.password), "-t", Self.quoted(topic), rest,
        ]
        return words.joined(separator: " ")
    }

    /// For a POSIX shell: as it is when that is safe, in single quotation marks otherwise.
    static func quoted(_ text: String) -> String {
        let isSafe = text.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || "-_./:@+,=".utf8.contains(byte)
        }
        if isSafe, !text.isEmpty { return text }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
