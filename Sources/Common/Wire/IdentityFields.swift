extension ByteBuffer {
    public mutating func writeField(_ identity: CertificateIdentity?) {
        guard let identity else { return self.write(UInt8(0)) }
        self.write(UInt8(1))
        self.writeOptionalField(identity.commonName)
        self.writeField(identity.subject)
        self.writeField(identity.issuer)
        self.writeField(identity.serialNumber)
        self.writeField(identity.fingerprint)
        self.writeLittleEndian(
            UInt16(truncatingIfNeeded: min(identity.alternativeNames.count, Limits.alternativeNamesMax))
        )
        for name in identity.alternativeNames.prefix(Limits.alternativeNamesMax) {
            self.write(name.kind.rawValue)
            self.writeField(name.value)
        }
        self.writeLittleEndian(identity.notAfter)
    }

    public mutating func writeField(_ rules: AccessRules) {
        self.write(UInt8(rules.isSuperuser ? 1 : 0))
        let count = Self.rulesThatFit(rules.rules)
        // What is cut off must not become allowed.
        let noMatch = rules.rules.count > count ? AccessRule.Permission.deny : rules.noMatch
        self.write(noMatch.rawValue)
        self.writeLittleEndian(UInt16(truncatingIfNeeded: count))
        for rule in rules.rules.prefix(count) {
            self.write(rule.permission.rawValue)
            self.write(rule.actions.rawValue)
            self.write(UInt8(rule.isLiteral ? 1 : 0))
            self.write(rule.qosMask)
            self.write(rule.retain.rawValue)
            self.writeField(rule.filter)
        }
    }
}

extension ByteBuffer {
    /// How many rules, from the first one on, a frame takes.
    private static func rulesThatFit(_ rules: [AccessRule]) -> Int {
        var bytes = 0
        for (index, rule) in rules.prefix(Limits.accessRulesMax).enumerated() {
            bytes += rule.filter.count
            if bytes > Limits.accessRuleBytesMax { return index }
        }
        return min(rules.count, Limits.accessRulesMax)
    }
}

extension ByteReader {
    /// The outer nil says that the frame is broken, the inner one that there was no certificate.
    public mutating func readIdentity() -> CertificateIdentity?? {
        guard let present = self.readUInt8(), present <= 1 else { return nil }
        if present == 0 { return .some(nil) }
        guard let commonName = self.readOptionalField(),
            let subject = self.readField(),
            let issuer = self.readField(),
            let serialNumber = self.readField(),
            let fingerprint = self.readField(),
            let nameCount = self.readLittleEndian(UInt16.self),
            nameCount <= Limits.alternativeNamesMax
        else { return nil }
        var names: [CertificateIdentity.AlternativeName] = []
        for _ in 0..<nameCount {
            guard let kind = self.readUInt8().flatMap(CertificateIdentity.AlternativeNameKind.init(rawValue:)),
                let value = self.readField()
            else { return nil }
            names.append(CertificateIdentity.AlternativeName(kind: kind, value: value))
        }
        guard let notAfter = self.readLittleEndian(Int64.self) else { return nil }
        return .some(
            CertificateIdentity(
                commonName: commonName,
                subject: subject,
                issuer: issuer,
                serialNumber: serialNumber,
                fingerprint: fingerprint,
                alternativeNames: names,
                notAfter: notAfter
            )
        )
    }

    public mutating func readAccessRules() -> AccessRules? {
        guard let superuser = self.readUInt8(), superuser <= 1,
            let noMatch = self.readUInt8().flatMap(AccessRule.Permission.init(rawValue:)),
            let count = self.readLittleEndian(UInt16.self),
            count <= Limits.accessRulesMax
        else { return nil }
        var rules: [AccessRule] = []
        for _ in 0..<count {
            guard let permission = self.readUInt8().flatMap(AccessRule.Permission.init(rawValue:)),
                let actions = self.readUInt8(),
                let literal = self.readUInt8(), literal <= 1,
                let qosMask = self.readUInt8(),
                let retain = self.readUInt8().flatMap(AccessRule.RetainCondition.init(rawValue:)),
                let filter = self.readField()
            else { return nil }
            rules.append(
                AccessRule(
                    permission: permission,
                    actions: AccessRule.Actions(rawValue: actions),
                    filter: filter,
                    isLiteral: literal == 1,
                    qosMask: qosMask,
                    retain: retain
                )
            )
        }
        return AccessRules(isSuperuser: superuser == 1, rules: rules, noMatch: noMatch)
    }
}
