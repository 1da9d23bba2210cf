/// A value given outside the file: by `--set a.b=c` or by an environment variable.
struct ConfigurationOverride: Equatable {
    var path: [String]
    var text: String
    var origin: ConfigurationOrigin

    static let variablePrefix = "MARTLET_"

    /// `a.b=c`.
    static func parse(setting: String) throws(ConfigurationError.Problem) -> ConfigurationOverride {
        guard let equals = setting.utf8.firstIndex(of: UInt8(ascii: "=")) else {
            throw ConfigurationError.Problem(
                origin: .flag(ConfigurationText.shown(setting)),
                key: "",
                message: "has no value; write --set key.path=value"
            )
        }
        let path = String(setting[..<equals])
        let text = String(setting[setting.utf8.index(after: equals)...])
        let parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let origin = ConfigurationOrigin.flag(ConfigurationText.shown(path))
        guard parts.allSatisfy({ !$0.isEmpty }) else {
            throw ConfigurationError.Problem(
                origin: origin,
                key: "",
                message: "is not a key; write --set key.path=value, such as --set log.level=debug"
            )
        }
        return ConfigurationOverride(path: parts, text: text, origin: origin)
    }

    /// The overrides among the variables, in order of their names. A variable counts when it has double underscores, or names a key
    /// of the top level; one that nearly does is a mistake.
    static func parse(
        environment: [String: String],
        topLevelKeys: [String]
    ) -> (overrides: [ConfigurationOverride], problems: [ConfigurationError.Problem]) {
        var overrides: [ConfigurationOverride] = []
        var problems: [ConfigurationError.Problem] = []
        let variables = environment.filter { $0.key.hasPrefix(Self.variablePrefix) }.sorted { $0.key < $1.key }
        for (name, text) in variables {
            let parts = Self.components(String(name.dropFirst(Self.variablePrefix.count)))
            let origin = ConfigurationOrigin.environment(ConfigurationText.shown(name))
            if parts.count == 1, !topLevelKeys.contains(parts[0]) {
                if let nearest = ConfigurationText.nearest(to: parts[0], among: topLevelKeys) {
                    let variable = Self.variablePrefix + Self.upperCase(nearest)
                    problems.append(
                        ConfigurationError.Problem(
                            origin: origin,
                            key: parts[0],
                            message: "unknown key; did you mean \(variable)?"
                        )
                    )
                }
                continue
            }
            guard parts.allSatisfy({ !$0.isEmpty }) else {
                problems.append(
                    ConfigurationError.Problem(
                        origin: origin,
                        key: "",
                        message: "is not a key; write \(Self.variablePrefix)LOG__LEVEL for log.level"
                    )
                )
                continue
            }
            overrides.append(ConfigurationOverride(path: parts, text: text, origin: origin))
        }
        return (overrides, problems)
    }

    /// `LOG__REFUSED_PER_SECOND`: split at double underscores, in lower case.
    private static func components(_ name: String) -> [String] {
        var parts: [[UInt8]] = [[]]
        var bytes = Array(name.utf8)[...]
        while let byte = bytes.first {
            if bytes.starts(with: "__".utf8) {
                parts.append([])
                bytes = bytes.dropFirst(2)
            } else {
                parts[parts.count - 1].append(Self.lowerCase(byte))
                bytes = bytes.dropFirst()
            }
        }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func lowerCase(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    private static func upperCase(_ text: String) -> String {
        let bytes = text.utf8.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) ? $0 & ~0x20 : $0 }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: - Applying

    /// Puts the value into the tree; sections on the way are made. A list's element is named by its index (that of the end
    /// appends) or by the value of its `name`.
    func apply(to root: inout YAMLNode?, _ reading: ConfigurationReading) {
        self.set(&root, self.path[...], reading)
    }

    private func set(_ node: inout YAMLNode?, _ path: ArraySlice<String>, _ reading: ConfigurationReading) {
        guard let component = path.first else {
            node = self.value
            return
        }
        let isIndex = NumberText.parse(component) != nil
        var current: YAMLNode
        if let node, !node.isNull {
            current = reading.expanded(node)
        } else {
            current = YAMLNode(value: isIndex ? .sequence([]) : .mapping([]), origin: self.origin)
        }
        switch current.value {
        case .mapping(var entries):
            let index = entries.firstIndex { self.matches($0.key, component) }
            var value = index.map { entries[$0].value }
            self.set(&value, path.dropFirst(), reading)
            guard let value else { return }
            if let index {
                entries[index].value = value
            } else {
                entries.append(YAMLNode.Entry(key: component, keyOrigin: self.origin, value: value))
            }
            current.value = .mapping(entries)
        case .sequence(var elements):
            guard let index = self.index(of: component, in: elements.map { reading.expanded($0) }) else {
                self.reportMissing(component, count: elements.count, path, reading)
                return
            }
            var value = index < elements.count ? elements[index] : nil
            self.set(&value, path.dropFirst(), reading)
            guard let value else { return }
            if index < elements.count { elements[index] = value } else { elements.append(value) }
            current.value = .sequence(elements)
        case .scalar:
            let place = self.path.prefix(self.path.count - path.count).joined(separator: ".")
            reading.report(
                self.origin,
                self.path.joined(separator: "."),
                "\(place) is a single value without keys of its own"
            )
            return
        }
        node = current
    }

    /// The text as it is, or what is between quotation marks, as in the file.
    private var value: YAMLNode {
        let plain = YAMLNode(value: .scalar(self.text, isQuoted: false), origin: self.origin)
        guard let mark = self.text.utf8.first, [UInt8(ascii: "\""), UInt8(ascii: "'")].contains(mark) else {
            return plain
        }
        guard let read = try? YAMLReader.read(Array(self.text.utf8), origin: self.origin), let node = read.root,
            case .scalar(_, isQuoted: true) = node.value
        else { return plain }
        return node
    }

    private func reportMissing(
        _ component: String,
        count: Int,
        _ path: ArraySlice<String>,
        _ reading: ConfigurationReading
    ) {
        let list = self.path.prefix(self.path.count - path.count).joined(separator: ".")
        let shown = ConfigurationText.shown(component)
        reading.report(
            self.origin,
            self.path.joined(separator: "."),
            "\(list) has no element \(shown); it has \(count), counted from 0, and \(count) would append one"
        )
    }

    private func index(of component: String, in elements: [YAMLNode]) -> Int? {
        if let number = NumberText.parse(component) {
            return number <= UInt64(elements.count) ? Int(number) : nil
        }
        return elements.firstIndex { element in
            guard case .mapping(let entries) = element.value else { return false }
            return entries.contains { entry in
                guard entry.key == "name", case .scalar(let name, _) = entry.value.value else { return false }
                return self.matches(name, component)
            }
        }
    }

    /// Variables have capitals only, and no hyphens.
    private func matches(_ written: String, _ component: String) -> Bool {
        guard case .environment = self.origin else { return written.hasSameBytes(as: component) }
        let folded = written.utf8.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : Self.lowerCase($0) }
        return folded.elementsEqual(component.utf8)
    }
}
