import COpenSSL

/// X.509 names as text, in the form that EMQX's esockd gives `%d`: the strings that fleets have in their Redis keys.
///
/// It is RFC 4514 with these choices. RDNs are reversed (most specific first) and joined with ","; the attributes of one RDN
/// keep the order of the certificate and are joined with "+". Attribute types have the short names below, all others the
/// dotted OID. Escaped with a backslash are `" + , ; < > \`, a "#" or space at the beginning and a space at the end; bytes of
/// the UTF-8 form below 32 or from 126 on are written `\HH`. OpenSSL's RFC2253 format differs in that it reverses the attributes of
/// one RDN too, leaves "~" as it is, writes values of unknown types as "#hex" and some type names in other letters.
struct DistinguishedName {
    struct Attribute {
        /// OpenSSL's number of the type.
        var nid: Int32
        /// "CN", or "1.2.3.4".
        var type: [UInt8]
        /// In UTF-8; nil when the bytes are not of the character set they claim.
        var value: [UInt8]?
        /// Attributes with the same number form one RDN.
        var set: Int32
    }

    /// In the order of the certificate.
    let attributes: [Attribute]

    /// There is none for 2.5.4.9, the street address. esockd has `STREET` for the macro 'street-address', which OTP's header, up to 27,
    /// takes from X.400 addresses, where it is the number 17 and no type of names (for OTP 28 esockd keeps that value itself): EMQX
    /// never writes it.
    private static let typeNames: [(nid: Int32, name: StaticString)] = [
        (NID_commonName, "CN"), (NID_surname, "SN"), (NID_givenName, "GIVENNAME"), (NID_localityName, "L"),
        (NID_stateOrProvinceName, "ST"), (NID_organizationName, "O"), (NID_organizationalUnitName, "OU"),
        (NID_title, "TITLE"), (NID_countryName, "C"), (NID_serialNumber, "SERIALNUMBER"),
        (NID_domainComponent, "DC"), (NID_pkcs9_emailAddress, "EMAILADDRESS"), (NID_userId, "UID"),
        (NID_initials, "INITIALS"), (NID_generationQualifier, "GENERATIONQUALIFIER"), (NID_pseudonym, "PSEUDONYM"),
    ]

    /// `name` is an X509_NAME; nil counts as empty.
    init(_ name: OpaquePointer?) {
        var attributes: [Attribute] = []
        for index in 0..<max(0, X509_NAME_entry_count(name)) {
            guard let entry = X509_NAME_get_entry(name, index), let object = X509_NAME_ENTRY_get_object(entry) else {
                continue
            }
            attributes.append(
                Attribute(
                    nid: OBJ_obj2nid(object),
                    type: Self.typeName(object),
                    value: Self.utf8(X509_NAME_ENTRY_get_data(entry)),
                    set: X509_NAME_ENTRY_set(entry)
                )
            )
        }
        self.attributes = attributes
        OpenSSLLibrary.clearErrors()
    }

    /// The whole name. A value that could not be converted is left empty: `check` finds it.
    var text: [UInt8] {
        var result: [UInt8] = []
        var end = self.attributes.endIndex
        while end > 0 {
            var start = end - 1
            while start > 0, self.attributes[start - 1].set == self.attributes[end - 1].set { start -= 1 }
            if !result.isEmpty { result.append(UInt8(ascii: ",")) }
            for index in start..<end {
                if index > start { result.append(UInt8(ascii: "+")) }
                result += self.attributes[index].type
                result.append(UInt8(ascii: "="))
                Self.appendEscaped(self.attributes[index].value ?? [], to: &result)
            }
            end = start
        }
        return result
    }

    /// All common names, joined with commas, as they are; nil when there is none or nothing in it.
    var commonName: [UInt8]? {
        let names = self.attributes.filter { $0.nid == NID_commonName }.map { $0.value ?? [] }
        let joined = [UInt8](names.joined(separator: [UInt8(ascii: ",")]))
        return joined.isEmpty ? nil : joined
    }

    /// Throws when a value is malformed or holds a control character. `field` names the whole.
    func check(_ field: PeerIdentityError.Field) throws(PeerIdentityError) {
        for attribute in self.attributes {
            let isCommonName = field == .subject && attribute.nid == NID_commonName
            let name: PeerIdentityError.Field = isCommonName ? .commonName : field
            guard let value = attribute.value else { throw PeerIdentityError(field: name, reason: .malformed) }
            guard !Self.holdsControlCharacter(value) else {
                throw PeerIdentityError(field: name, reason: .controlCharacter)
            }
        }
    }

    /// A name for logs: printable ASCII, at most some 200 characters. `name` is an X509_NAME.
    static func logText(_ name: OpaquePointer?) -> String {
        let text = DistinguishedName(name).text
        let shown = String(decoding: text.prefix(200), as: UTF8.self)
        return text.count > 200 ? shown + "…" : shown
    }

    /// C0, DEL and C1 (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F).
    static func holdsControlCharacter(_ utf8: [UInt8]) -> Bool {
        var previous: UInt8 = 0
        for byte in utf8 {
            if byte < 0x20 || byte == 0x7f { return true }
            if previous == 0xc2, byte <= 0x9f { return true }
            previous = byte
        }
        return false
    }

    /// An ASN.1 string in UTF-8; nil when its bytes are not of its character set. What is no character string at all
    /// becomes "#" and the hexadecimal DER encoding (RFC 4514 section 2.4).
    static func utf8(_ string: UnsafePointer<ASN1_STRING>?) -> [UInt8]? {
        guard let string else { return nil }
        switch ASN1_STRING_type(string) {
        case V_ASN1_UTF8STRING, V_ASN1_PRINTABLESTRING, V_ASN1_T61STRING, V_ASN1_IA5STRING, V_ASN1_BMPSTRING,
            V_ASN1_UNIVERSALSTRING, V_ASN1_NUMERICSTRING, V_ASN1_VISIBLESTRING:
            var output: UnsafeMutablePointer<UInt8>?
            let count = ASN1_STRING_to_UTF8(&output, string)
            guard count >= 0 else { return nil }
            defer { CRYPTO_free(output, #file, #line) }
            return [UInt8](UnsafeBufferPointer(start: output, count: Int(count)))
        default:
            var output: UnsafeMutablePointer<UInt8>?
            let count = martlet_asn1_string_to_der(string, &output)
            guard count >= 0 else { return nil }
            defer { CRYPTO_free(output, #file, #line) }
            return [UInt8(ascii: "#")] + Hex.encode(UnsafeRawBufferPointer(start: output, count: Int(count)))
        }
    }

    private static func typeName(_ object: OpaquePointer) -> [UInt8] {
        let nid = OBJ_obj2nid(object)
        if let known = Self.typeNames.first(where: { $0.nid == nid }) {
            return [UInt8](UnsafeBufferPointer(start: known.name.utf8Start, count: known.name.utf8CodeUnitCount))
        }
        let count = OBJ_obj2txt(nil, 0, object, 1)
        var buffer = [CChar](repeating: 0, count: Int(max(0, count)) + 1)
        OBJ_obj2txt(&buffer, Int32(clamping: buffer.count), object, 1)
        return buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    }

    private static func appendEscaped(_ value: [UInt8], to result: inout [UInt8]) {
        let backslash = UInt8(ascii: "\\")
        for (index, byte) in value.enumerated() {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "<"),
                UInt8(ascii: ">"), backslash:
                result.append(backslash)
                result.append(byte)
            case UInt8(ascii: "#") where index == 0,
                UInt8(ascii: " ") where index == 0 || index == value.count - 1:
                result.append(backslash)
                result.append(byte)
            case ..<32, 126...:
                result.append(backslash)
                result += Hex.encode([byte], uppercase: true)
            default:
                result.append(byte)
            }
        }
    }
}
