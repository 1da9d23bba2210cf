import Common

/// A command of EMQX 4, which fills in the placeholders in the text, and cuts it at spaces afterwards.
struct EMQX4Command {
    let text: String

    init(_ text: String) { self.text = text }

    /// What Martlet does in another way, in words for a warning.
    var differences: [String] {
        var differences: [String] = []
        let usesSubject = self.text.contains("%d")
        if usesSubject || self.text.contains("%C") {
            differences.append(
                "EMQX 4 fills in %C and %d first and splits the command at spaces afterwards: for a name with a space it asked "
                    + "for a shorter key; here the whole name is the key, so check the rows of such devices"
            )
        }
        if usesSubject {
            differences.append(
                "%d is the whole subject, such as CN=name,O=company; martlet auth test --cert shows the key"
            )
            differences.append(
                #"EMQX 4 loses the backslashes of what it fills in, and numbers behind them: for O=A\,B it asked for O=A,B, for O=M\C3\BC "#
                    + #"for O=MC3BC; here the key is the subject as it is, so copy the rows of such devices to it"#
            )
        }
        if self.text.contains(where: { "'\"".contains($0) }) {
            differences.append(
                "EMQX 4 knows no quotes, they were part of the keys that it asked for; here they only keep words together: look which keys "
                    + "Redis has, and put one with quotes into quotes of the other kind"
            )
        }
        for placeholder in ["%C", "%d", "%c", "%u"] where self.text.ranges(of: placeholder).count > 1 {
            differences.append(
                "EMQX 4 fills in \(placeholder) once, and leaves further ones of the command as they are; here each is filled in, so that the "
                    + "key is another"
            )
        }
        return differences
    }

    /// In Martlet's form, which sends the same bytes: EMQX 4 knows `%u`, `%c`, `%C` and `%d`, and takes any other percent sign, `%%` and
    /// `${…}` as they stand.
    var written: String {
        var bytes: [UInt8] = []
        let text = Array(self.text.utf8)
        for (index, byte) in text.enumerated() {
            let next = index + 1 < text.count ? text[index + 1] : 0
            switch (byte, next) {
            case (UInt8(ascii: "%"), _) where !Self.letters.contains(next): bytes += "%%".utf8
            case (UInt8(ascii: "$"), UInt8(ascii: "{")): bytes += "${$}".utf8
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let letters = Array("ucCd".utf8)

    /// `auth_cmd` as it is written.
    struct Row: Equatable {
        var command: String
        var warnings: [String] = []
    }

    /// EMQX 4 takes the first value for the hash and the second for the salt, whatever their fields are called, and ignores the others.
    /// Here names such as `is_superuser` mean what they say: a field that EMQX 4 ignores is left out, and a command whose names say
    /// something else than their places is none.
    ///
    /// - Parameter hash: nil if it is not understood.
    func row(hash: PasswordHash?) -> Row {
        var row = Row(command: self.written)
        guard let arguments = Self.arguments(row.command), arguments.count > 2, arguments[0].uppercased() == "HMGET"
        else { return row }
        var kept = Array(arguments.prefix(Self.firstField + 2))
        if kept.count > Self.firstField + 1, kept[Self.firstField + 1] == Self.superuser,
            hash?.salt == PasswordHash.Salt.none
        {
            kept.removeLast()
            row.warnings.append(
                "is_superuser is left out: it stands second, where EMQX 4 takes its value for the salt, and no password of \(hash.map { "\($0)" } ?? "")"
                    + " fitted then; nobody becomes a superuser by it"
            )
        } else if arguments.count > kept.count {
            let ignored = arguments.dropFirst(kept.count)
            let hasSuperuser = ignored.contains(Self.superuser)
            row.warnings.append(
                "\(ignored.joined(separator: ", ")) \(ignored.count == 1 ? "is" : "are") left out: EMQX 4 ignores fields after the second"
                    + (hasSuperuser
                        ? "; here is_superuser would make superusers, there only super_cmd does" : "")
            )
        }
        if kept.count < arguments.count { row.command = kept.map(Self.quoted).joined(separator: " ") }
        guard !Self.goesByPosition(row.command) else { return row }
        row.warnings.append(
            "no command is written: EMQX 4 takes the first value (\(kept[Self.firstField])) for the hash"
                + (kept.count > Self.firstField + 1
                    ? " and the second (\(kept[Self.firstField + 1])) for the salt" : "")
                + ", here these names say something else; name the fields in Redis otherwise, such as hash and salt, and write authentication.command"
        )
        row.command = ""
        return row
    }

    private static let firstField = 2
    private static let superuser = "is_superuser"

    private static func arguments(_ command: String) -> [String]? {
        do throws(TemplateError) {
            return try CommandLineSplitter.split(Array(command.utf8)).map { String(decoding: $0.bytes, as: UTF8.self) }
        } catch {
            return nil
        }
    }

    /// The names of the fields say the same as their places. What the check of the configuration refuses anyway counts as well.
    private static func goesByPosition(_ command: String) -> Bool {
        do throws(ConfigurationMistake) {
            let fields = try CommandTemplate(command).fields
            return fields.isEmpty || fields == [.secret] || fields == [.secret, .salt]
        } catch {
            return true
        }
    }

    private static func quoted(_ argument: String) -> String {
        let isWord =
            !argument.isEmpty && !argument.utf8.contains { $0 <= 0x20 || $0 == 0x22 || $0 == 0x27 || $0 == 0x7F }
        return isWord ? argument : ImportedConfiguration.quoted(argument)
    }
}
