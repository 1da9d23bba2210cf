import COpenSSL
import Common
import Glibc

extension CertificateIdentity {
    /// `certificate` is an X509. Throws when a field cannot serve as a name.
    init(certificate: OpaquePointer) throws(PeerIdentityError) {
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
            alternativeNames: try Self.alternativeNames(certificate),
            notAfter: notAfter
        )
    }

    /// The same of one that lives as long as the call: of a pointer that was taken out of an array that would not be sure.
    private init(of certificate: X509Certificate) throws(PeerIdentityError) {
        try self.init(certificate: certificate.pointer)
    }

    /// The identity in the first certificate of a PEM file: what a listener would see if its holder connected.
    package static func load(certificateFile path: String) throws(TLSError) -> CertificateIdentity {
        let certificates = try TLSFiles.certificates(path, setting: "certificate")
        do {
            return try CertificateIdentity(of: certificates[0])
        } catch {
            throw TLSError("certificate \(path) cannot be used: \(error)")
        }
    }

    /// As `openssl x509 -serial` writes it.
    private static func serialNumber(_ certificate: OpaquePointer) throws(PeerIdentityError) -> [UInt8] {
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

    private static func alternativeNames(_ certificate: OpaquePointer) throws(PeerIdentityError) -> [AlternativeName] {
        // -1: there is none; -2: there are several, which RFC 5280 section 4.2 forbids.
        var critical: Int32 = -1
        guard let pointer = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nil) else {
            if critical == -1 { return [] }
            throw PeerIdentityError(field: .alternativeName, reason: .malformed)
        }
        let names = OpaquePointer(pointer)
        defer { martlet_general_names_free(names) }
        let count = martlet_general_names_count(names)
        guard count <= IdentityLimits.alternativeNamesMax else {
            throw PeerIdentityError(field: .alternativeName, reason: .tooLong)
        }
        var result: [AlternativeName] = []
        var bytesTotal = 0
        for index in 0..<max(0, count) {
            guard let name = martlet_general_names_value(names, index), let parsed = try Self.alternativeName(name)
            else { continue }
            bytesTotal += parsed.value.count
            guard bytesTotal <= IdentityLimits.alternativeNamesBytesMax else {
                throw PeerIdentityError(field: .alternativeName, reason: .tooLong)
            }
            result.append(parsed)
        }
        return result
    }

    /// nil for kinds that are no use as an identity: directory names, registered ids and the like.
    private static func alternativeName(
        _ name: UnsafeMutablePointer<GENERAL_NAME>
    ) throws(PeerIdentityError) -> AlternativeName? {
        var type: Int32 = 0
        guard let value = GENERAL_NAME_get0_value(name, &type) else { return nil }
        let kind: AlternativeNameKind
        switch type {
        case GEN_DNS: kind = .dns
        case GEN_EMAIL: kind = .email
        case GEN_URI: kind = .uri
        case GEN_IPADD: kind = .ipAddress
        default: return nil
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
        return AlternativeName(kind: kind, value: try bounded(.alternativeName)(text))
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
