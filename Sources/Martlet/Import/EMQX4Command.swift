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
}
