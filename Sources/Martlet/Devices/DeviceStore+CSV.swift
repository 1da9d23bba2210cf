import Common
import Devices
import SQLite

/// `martlet device import-csv`: lines of name,password.
extension DeviceStore {
    private static let csvBytesMax = 256 << 20

    private struct Line {
        var name: [UInt8]
        var password: [UInt8]
    }

    /// What a line does not say stays as it is: whether a device is disabled, what it may do, its note.
    ///
    /// - Parameter progress: called about once a second with how many passwords are hashed, and of how many.
    /// - Returns: how many there were.
    func importCSV(_ file: String, progress: (_ done: Int, _ of: Int) -> Void) throws(CommandFailure) -> Int {
        let lines = try Self.lines(ofCSV: file)
        let known = try self.attempt(makes: true) { database throws(SQLiteError) in try database.all() }
        let former = Dictionary(known.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let passwords = lines.map(\.password).filter { !$0.isEmpty }
        guard let hashed = PasswordHashing.hash(passwords, progress: progress) else {
            throw CommandFailure("OpenSSL cannot hash the passwords")
        }
        var next = hashed.makeIterator()
        var devices: [Device] = []
        devices.reserveCapacity(lines.count)
        for line in lines {
            var device = former[line.name] ?? Device(name: line.name)
            (device.secret, device.salt) = (nil, nil)
            if !line.password.isEmpty, let made = next.next() {
                (device.secret, device.salt) = (made.secret, made.salt)
            }
            devices.append(device)
        }
        try self.put(devices)
        return devices.count
    }

    private static func lines(ofCSV file: String) throws(CommandFailure) -> [Line] {
        let bytes = try Self.read(file, bytesMax: Self.csvBytesMax)
        var lines: [Line] = []
        var numbers: [[UInt8]: Int] = [:]
        for (index, text) in ImportedText.lines(bytes).enumerated() where !text.isEmpty {
            let number = index + 1
            // Nobody could come by such a name, and hardly with such a password.
            guard Self.isText(text) else {
                throw CommandFailure(mistakes: ["\(file):\(number): is not UTF-8; spreadsheets call it CSV UTF-8"])
            }
            guard let (name, password) = CSVLine.pair(text) else {
                throw CommandFailure(
                    mistakes: [
                        "\(file):\(number): more than a name and a password, or a quote without an end; a field with commas is put in "
                            + "quotes, and a quote in it stands twice"
                    ]
                )
            }
            do throws(CommandFailure) {
                if number == 1, try Self.isHeader(name, password) { continue }
                try Self.check(name)
                if let first = numbers[name] { throw CommandFailure("the device is in line \(first) already") }
                if !text.contains(UInt8(ascii: ",")), text.contains(UInt8(ascii: ";")),
                    !text.contains(UInt8(ascii: "\""))
                {
                    throw CommandFailure("fields are separated by commas; a name with a semicolon is put in quotes")
                }
            } catch {
                throw CommandFailure(mistakes: ["\(file):\(number): \(error)"])
            }
            numbers[name] = number
            lines.append(Line(name: name, password: password))
        }
        return lines
    }

    /// What spreadsheets put on top is no device with a password that everybody knows.
    private static func isHeader(_ name: [UInt8], _ password: [UInt8]) throws(CommandFailure) -> Bool {
        func word(_ field: [UInt8]) -> String {
            let letters = field.drop { $0 == UInt8(ascii: " ") }.reversed().drop { $0 == UInt8(ascii: " ") }.reversed()
            return String(decoding: Array(letters), as: UTF8.self).lowercased()
        }
        let words = (word(name), word(password))
        if words.0 == "name", ["", "password"].contains(words.1) { return true }
        guard ["password", "password_hash"].contains(words.1) else { return false }
        throw CommandFailure(
            "this looks like a header, and the one that is understood is name,password; a device with the password \(words.1) "
                + "goes into a later line"
        )
    }
}
