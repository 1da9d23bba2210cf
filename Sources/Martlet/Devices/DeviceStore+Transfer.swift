import Common
import Devices
import TLS

/// `martlet device export` and `martlet device import`: what the one writes the other reads.
extension DeviceStore {
    private static let bytesMax = 256 << 20

    /// As `describe`, with all that is needed to make the device again.
    static func exported(_ device: Device) -> Report.Block {
        var block = Self.describe(device)
        // JSON is UTF-8, and names may be other bytes.
        if !Self.isText(device.name) { block.add("name_hex", bytes: Hex.encode(device.name)) }
        block.add("secret", bytes: device.secret)
        block.add("salt", bytes: device.salt)
        return block
    }

    /// Adds devices, or replaces those of the same name, by all that the file says of them; all or none.
    /// - Returns: how many there were.
    func importExported(_ file: String) throws(CommandFailure) -> Int {
        let bytes = try Self.read(file, bytesMax: Self.bytesMax)
        guard case .list(let elements)? = JSONValue(Array(bytes)) else {
            throw CommandFailure(
                "\(file) is no list in JSON, as martlet device export writes it; import-csv reads lines of name,password"
            )
        }
        var devices: [Device] = []
        var places: [[UInt8]: Int] = [:]
        for (index, element) in elements.enumerated() {
            do throws(CommandFailure) {
                let device = try Self.device(element)
                if let first = places.updateValue(index + 1, forKey: device.name) {
                    throw CommandFailure("is device \(first) again")
                }
                devices.append(device)
            } catch {
                throw CommandFailure("\(file): device \(index + 1) of \(elements.count): \(error)")
            }
        }
        try self.put(devices)
        return devices.count
    }

    private static func device(_ json: JSONValue) throws(CommandFailure) -> Device {
        guard case .object(let members) = json else { throw CommandFailure("is not an object") }
        let known = ["device", "name_hex", "state", "logs_in_by", "superuser", "note", "acl", "secret", "salt"]
        for member in members where !known.contains(where: { member.name == Array($0.utf8) }) {
            throw CommandFailure(
                "\(String(decoding: member.name, as: UTF8.self)) means nothing here; there are: "
                    + known.joined(separator: ", ")
            )
        }
        guard var name = try Self.texts("device", of: json).first else {
            throw CommandFailure("device: its name is missing")
        }
        if let digits = try Self.texts("name_hex", of: json).first {
            guard let decoded = Hex.decode(digits) else { throw CommandFailure("name_hex: not hexadecimal digits") }
            name = decoded
        }
        try Self.check(name)
        var device = Device(name: name)
        device.isDisabled = try Self.choice("state", ["enabled", "disabled"], of: json) == 1
        device.isSuperuser = try Self.choice("superuser", ["no", "yes"], of: json) == 1
        device.note = String(decoding: try Self.texts("note", of: json).first ?? [], as: UTF8.self)
        for row in try Self.texts("acl", of: json) {
            device.access.append(try Self.accessRow(String(decoding: row, as: UTF8.self)))
        }
        device.secret = try Self.texts("secret", of: json).first
        device.salt = try Self.texts("salt", of: json).first
        // A password that cannot be checked, or is silently none, keeps the device out, or lets it in.
        guard (device.secret == nil) == (device.salt == nil) else {
            throw CommandFailure("secret and salt belong together")
        }
        if let secret = device.secret, Hex.decode(secret)?.count != DevicePassword.keyBytes {
            throw CommandFailure("secret: not \(2 * DevicePassword.keyBytes) hexadecimal digits")
        }
        let way = try Self.choice("logs_in_by", ["certificate", "password"], of: json)
        guard way == nil || (way == 1) == (device.secret != nil) else {
            throw CommandFailure("logs_in_by: by password means secret and salt, by certificate none of them")
        }
        return device
    }

    /// A member that is a text or a list of texts; without it none.
    private static func texts(_ name: String, of json: JSONValue) throws(CommandFailure) -> [[UInt8]] {
        switch json[name] {
        case nil: return []
        case .text(let text): return [text]
        case .list(let elements):
            var texts: [[UInt8]] = []
            for case .text(let text) in elements { texts.append(text) }
            guard texts.count == elements.count, name == "acl" else { break }
            return texts
        default: break
        }
        throw CommandFailure("\(name): not a text" + (name == "acl" ? ", and not a list of texts" : ""))
    }

    /// The place of the member's text among the words; nil: it is not there.
    private static func choice(_ name: String, _ words: [String], of json: JSONValue) throws(CommandFailure) -> Int? {
        guard let text = try Self.texts(name, of: json).first else { return nil }
        guard let place = words.firstIndex(where: { Array($0.utf8) == text }) else {
            throw CommandFailure("\(name): neither \(words[0]) nor \(words[1])")
        }
        return place
    }

    static func isText(_ bytes: some Sequence<UInt8>) -> Bool { String(validating: bytes, as: UTF8.self) != nil }
}
