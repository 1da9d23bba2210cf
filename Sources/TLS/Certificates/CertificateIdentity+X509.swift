import COpenSSL
import Common
import Glibc

extension CertificateIdentity {
    /// `certificate` is an X509. Throws when a field cannot serve as a name.
    ///
    /// - Parameter takesAlternativeNames: false: without them, for telling who was refused.
    init(certificate: OpaquePointer, takesAlternativeNames: Bool = true) throws(PeerIdentityError) {
        let subject = DistinguishedName(X509_get_subject_name(certificate))
        let issuer = DistinguishedName(X509_get_issuer_name(certificate))
        try subject.check(.subject)
        try issuer.check(.issuer)
        guard let notAfter = X509Dates.seconds(X509_get0_notAfter(certificate)) else {
            throw PeerIdentityError(field: .notAfter, reason: .malformed)
        }
        self.init(
            commonName: try subject.commonName.map(bounded(.commonName)),
            subject: try bounded(.subject)(subject.text),
            issuer: try bounded(.issuer)(issuer.text),
            serialNumber: try Self.serialNumber(certificate),
            fingerprint: X509Fingerprint.sha256(certificate),
            alternativeNames: takesAlternativeNames ? try Self.alternativeNames(certificate) : [],
            notAfter: notAfter
        )
    }

    /// The same of one that lives as long as the call: of a pointer that was taken out of an array that would not be sure.
    private init(of certificate: X509Certificate, takesAlternativeNames: Bool) throws(PeerIdentityError) {
        try self.init(certificate: certificate.pointer, takesAlternativeNames: takesAlternativeNames)
    }

    /// The identity in the first certificate of a PEM file: what a listener would see if its holder connected.
    ///
    /// - Returns: as a listener has it of a client that it refuses for a field: `refusal` says why, and the identity is nil where
    ///   not even a name can be told.
    package static func load(
        certificateFile path: String
    ) throws(TLSError) -> (identity: CertificateIdentity?, refusal: PeerIdentityError?) {
        let certificate = try TLSFiles.certificates(path, setting: "certificate")[0]
        do throws(PeerIdentityError) {
            return (try CertificateIdentity(of: certificate, takesAlternativeNames: true), nil)
        } catch {
            return (try? CertificateIdentity(of: certificate, takesAlternativeNames: false), error)
        }
    }

    /// As `openssl x509 -serial` writes it.
    static func serialNumber(_ certificate: OpaquePointer) throws(PeerIdentityError) -> [UInt8] {
        guard let number = X509_get0_serialNumber(certificate) else {
            throw PeerIdentityError(field: .serialNumber, reason: .malformed)
        }
        let bytes = UnsafeRawBufferPointer(start: ASN1_STRING_get0_data(number), count: Int(ASN1_STRING_length(number)))
        guard bytes.count <= IdentityLimits.serialNumberBytesMax else {
            throw PeerIdentityError(field: .serialNumber, reason: .tooLong)
        }
        let digits = bytes.isEmpty ? Array("00".utf8) : Hex.encode(bytes, uppercase: true)
        let isNegative = ASN1_STRING_type(number) & V_ASN1_NEG != 0
        return isNegative ? [UInt8(ascii: "-")] + digits : digits
    }

    /// The first of each kind, which is what placeholders ask for, and others as far as there is room. Those that are left out are not
    /// looked at.
    private static func alternativeNames(_ certificate: OpaquePointer) throws(PeerIdentityError) -> [AlternativeName] {
        // -1: there is none; -2: there are several, which RFC 5280 section 4.2 forbids.
        var critical: Int32 = -1
        guard let pointer = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nil) else {
            if critical == -1 { return [] }
            throw PeerIdentityError(field: .alternativeName, reason: .malformed)
        }
        let names = OpaquePointer(pointer)
        defer { martlet_general_names_free(names) }
        var result: [AlternativeName] = []
        var kinds: Set<AlternativeNameKind> = []
        var room = (
            names: IdentityLimits.alternativeNamesMax - AlternativeNameKind.allCases.count,
            bytes: IdentityLimits.alternativeNamesBytesMax
        )
        for index in 0..<max(0, martlet_general_names_count(names)) {
            guard let name = martlet_general_names_value(names, index), let kind = Self.kind(name) else { continue }
            let isFirst = kinds.insert(kind).inserted
            guard isFirst || room.names > 0 else { continue }
            let parsed = AlternativeName(kind: kind, value: try Self.alternativeName(name, kind))
            if !isFirst {
                guard parsed.value.count <= room.bytes else {
                    room.names = 0
                    continue
                }
                room.names -= 1
                room.bytes -= parsed.value.count
            }
            result.append(parsed)
        }
        return result
    }

    /// nil for kinds that are no use as an identity: directory names, registered ids and the like.
    private static func kind(_ name: UnsafeMutablePointer<GENERAL_NAME>) -> AlternativeNameKind? {
        switch name.pointee.type {
        case GEN_DNS: .dns
        case GEN_EMAIL: .email
        case GEN_URI: .uri
        case GEN_IPADD: .ipAddress
        default: nil
        }
    }

    private static func alternativeName(
        _ name: UnsafeMutablePointer<GENERAL_NAME>,
        _ kind: AlternativeNameKind
    ) throws(PeerIdentityError) -> [UInt8] {
        guard let value = GENERAL_NAME_get0_value(name, nil) else {
            throw PeerIdentityError(field: .alternativeName, reason: .malformed)
        }
        let string = value.assumingMemoryBound(to: ASN1_STRING.self)
        let text: [UInt8]?
        if kind == .ipAddress {
            let data = UnsafeRawBufferPointer(
                start: ASN1_STRING_get0_data(string),
                count: Int(ASN1_STRING_length(string))
            )
            text = IPAddress(bytes: [UInt8](data))?.text
        } else {
            text = DistinguishedName.utf8(string)
        }
        guard let text else { throw PeerIdentityError(field: .alternativeName, reason: .malformed) }
        guard !DistinguishedName.holdsControlCharacter(text) else {
            throw PeerIdentityError(field: .alternativeName, reason: .controlCharacter)
        }
        return try bounded(.alternativeName)(text)
    }
}

private func bounded(
    _ field: PeerIdentityError.Field
) -> ([UInt8]) throws(PeerIdentityError) -> [UInt8] {
    { (bytes: [UInt8]) throws(PeerIdentityError) -> [UInt8] in
        guard bytes.count <= IdentityLimits.fieldBytesMax else {
            throw PeerIdentityError(field: field, reason: .tooLong)
        }
        return bytes
    }
}
