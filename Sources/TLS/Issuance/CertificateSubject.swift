import COpenSSL

/// The name that a certificate is issued to: a sequence of RDNs, most general first, each a set of attributes (mostly one).
package struct CertificateSubject: Equatable, Sendable {
    /// How a value is written into the certificate.
    package enum Encoding: Sendable {
        /// As RFC 5280 wants it: UTF8String, or what the type asks for (PrintableString for C, IA5String for DC). Lengths are
        /// checked.
        case automatic
        /// The value's bytes as they are, unchecked, as a string of this type. For tests with odd certificates.
        case utf8String, printableString, teletexString, bmpString, universalString, ia5String, bitString

        fileprivate var type: Int32 {
            switch self {
            case .automatic: MBSTRING_UTF8
            case .utf8String: V_ASN1_UTF8STRING
            case .printableString: V_ASN1_PRINTABLESTRING
            case .teletexString: V_ASN1_T61STRING
            case .bmpString: V_ASN1_BMPSTRING
            case .universalString: V_ASN1_UNIVERSALSTRING
            case .ia5String: V_ASN1_IA5STRING
            case .bitString: V_ASN1_BIT_STRING
            }
        }
    }

    package struct Attribute: Equatable, Sendable {
        /// "CN", "O", "emailAddress" or another of OpenSSL's names, or a dotted OID.
        package var type: String
        package var value: [UInt8]
        package var encoding: Encoding

        package init(_ type: String, _ value: [UInt8], encoding: Encoding = .automatic) {
            self.type = type
            self.value = value
            self.encoding = encoding
        }

        package init(_ type: String, _ value: String) {
            self.init(type, Array(value.utf8))
        }
    }

    package var rdns: [[Attribute]]

    package init(rdns: [[Attribute]]) {
        self.rdns = rdns
    }

    /// A name of nothing but a common name.
    package init(commonName: String) {
        self.init(rdns: [[Attribute("CN", commonName)]])
    }

    /// Writes the name into an X509_NAME.
    func write(to name: OpaquePointer?) throws(TLSError) {
        for rdn in self.rdns {
            for (index, attribute) in rdn.enumerated() {
                OpenSSLLibrary.clearErrors()
                guard let object = OBJ_txt2obj(attribute.type, 0) else {
                    throw TLSError(
                        "\(attribute.type) is no name of a subject attribute; use CN, O, OU, C, … or a dotted OID"
                    )
                }
                defer { ASN1_OBJECT_free(object) }
                let added = X509_NAME_add_entry_by_OBJ(
                    name,
                    object,
                    attribute.encoding.type,
                    attribute.value,
                    Int32(clamping: attribute.value.count),
                    -1,
                    index == 0 ? 0 : -1
                )
                guard added == 1 else {
                    let value = String(decoding: attribute.value, as: UTF8.self)
                    throw TLSError(
                        "the subject cannot hold \(attribute.type)=\(value): \(OpenSSLLibrary.takeErrorText())"
                    )
                }
            }
        }
    }
}
