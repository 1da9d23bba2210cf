import Common
import FuzzSupport

// Arbitrary commands with placeholders, filled in for clients with arbitrary names: values stay within the arguments that they
// belong to. Run it with `make fuzz`.

@main struct CommandTemplatesFuzzer {
    static func main() { runFuzzer(fuzzCommandTemplates) }
}

private func fuzzCommandTemplates(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(start, count)
    let identity = input.byte() & 1 == 0 ? nil : makeIdentity(&input)
    let client = ClientAttributes(
        clientIdentifier: input.text(),
        userName: input.byte() & 1 == 0 ? nil : input.text(),
        peerAddress: input.text(),
        identity: identity
    )
    for placeholder in Placeholder.allCases { _ = client.value(of: placeholder) }
    let rest = [UInt8](input.rest())
    checkCommand(rest, client)
    checkTopic(rest, client)
    return 0
}

private func makeIdentity(_ input: inout FuzzInput) -> CertificateIdentity {
    CertificateIdentity(
        commonName: input.text(),
        subject: input.text(),
        issuer: [],
        serialNumber: input.text(),
        fingerprint: [UInt8](repeating: 0xAB, count: 32),
        alternativeNames: [.init(kind: .dns, value: input.text()), .init(kind: .ipAddress, value: input.text())],
        notAfter: 0
    )
}

private func checkCommand(_ line: [UInt8], _ client: ClientAttributes) {
    let arguments = try? CommandLineSplitter.split(line)
    for argument in arguments ?? [] {
        precondition(argument.bytes.count == argument.positions.count, "a byte without a place")
        precondition(argument.positions.allSatisfy(line.indices.contains), "a place beyond the line")
    }
    do throws(ConfigurationMistake) {
        let template = try CommandTemplate(String(decoding: line, as: UTF8.self))
        guard let rendered = try? template.render(client) else { return }
        // Splitting is done once, before values are filled in: a value with spaces or quotes adds no argument.
        precondition(rendered.arguments.count >= 2, "a command without a key")
        if ["HGET", "HMGET"].contains(template.name) {
            precondition(rendered.arguments.count >= 3, "a command without a field")
        }
        precondition(rendered.arguments.contains(rendered.key.redisKey), "another key is cached than is asked for")
        for argument in rendered.arguments.dropFirst() {
            precondition(!argument.isEmpty || line.contains(UInt8(ascii: "\"")) || line.contains(UInt8(ascii: "'")))
        }
    } catch {
        precondition(!error.description.isEmpty, "a mistake without words")
    }
}

private func checkTopic(_ text: [UInt8], _ client: ClientAttributes) {
    do throws(TemplateError) {
        let template = try TemplateText(text)
        guard let topic = try? template.renderTopic(client) else { return }
        let constant = template.segments.allSatisfy { if case .literal = $0 { true } else { false } }
        if constant { precondition(topic == template.constant, "constant text changes") }
    } catch {
        precondition(!error.reason.isEmpty, "a mistake without words")
        precondition(error.position >= 1, "a place before the text")
    }
}
