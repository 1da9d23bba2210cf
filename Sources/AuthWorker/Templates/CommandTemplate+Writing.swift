import Common

extension CommandTemplate {
    /// The Redis command that would make what this one asks about be there, for a person to type; nil among its arguments stands for a value
    /// that the person has to find. Nil: this command can be satisfied in several ways, or by no single command.
    ///
    /// - Parameter arguments: as rendered for the client, with the command's name in front.
    package func writing(_ arguments: [[UInt8]]) -> [[UInt8]?]? {
        guard arguments.count > 1 else { return nil }
        let key = arguments[1]
        let rest = arguments.dropFirst(2)
        func words(_ name: String) -> [[UInt8]?] { [Array(name.utf8), key] }
        switch self.name {
        case "GET":
            return words("SET") + [nil]
        case "HGET", "HMGET":
            var wanted = zip(self.fields, rest).filter { field, _ in field == .secret || field == .salt }.map(\.1)
            if self.purpose == .existence {
                wanted = Array(zip(self.fields, rest).filter { field, _ in field == .ignored }.map(\.1).prefix(1))
            }
            return wanted.isEmpty ? nil : words("HSET") + wanted.flatMap { [$0, nil] }
        case "HEXISTS" where rest.count == 1:
            return words("HSET") + rest.map { $0 } + [nil]
        case "SISMEMBER" where rest.count == 1, "SMISMEMBER" where !rest.isEmpty:
            return words("SADD") + rest.map { $0 }
        default:
            return nil
        }
    }
}
