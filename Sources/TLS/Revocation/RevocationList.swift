import COpenSSL
import Common

/// What the certificate revocation lists of some issuers say together. Never changes; 16 bytes for each revoked certificate.
package struct RevocationList: Sendable {
    /// One list (RFC 5280, section 5) whose signature was checked.
    package struct Part: Sendable {
        /// DER of the issuer's name.
        let issuer: [UInt8]
        /// For people.
        package let issuerName: String
        /// SHA-256 of the key that signed it: an authority that was made anew has the same name, and lists of its own.
        let signer: [UInt8]
        /// The key identifier of the signer's certificate; empty: it has none.
        let signerKeyIdentifier: [UInt8]
        /// Which certificates of its issuer it speaks of: the extension IssuingDistributionPoint as it is; empty: all. Lists of one issuer
        /// for different distribution points stand beside each other; of two for the same, the later counts.
        let distributionPoint: [UInt8]
        /// Seconds since 1970.
        package let madeAt: Int64
        /// CRL number (RFC 5280, section 5.2.3), big-endian without zeros in front; empty: there is none.
        let number: [UInt8]
        /// When a newer one should be there; nil: it does not say.
        package let nextUpdate: Int64?
        /// Sorted.
        let revoked: [CertificateKey]

        /// Both are of one issuer, for one distribution point: one takes the place of the other.
        package func replaces(_ other: Part) -> Bool {
            self.issuer == other.issuer && self.signer == other.signer
                && self.distributionPoint == other.distributionPoint
        }

        /// Whether it says of this certificate of its issuer that it is good, where it does not name it: a list for authorities, for
        /// devices, or of another distribution point says nothing (RFC 5280, section 6.3.3).
        func covers(_ certificate: OpaquePointer) -> Bool {
            guard !self.distributionPoint.isEmpty else { return true }
            defer { OpenSSLLibrary.clearErrors() }
            let scope = self.distributionPoint
            return martlet_crl_scope_has_certificate(scope, scope.count, certificate) == 1
        }

        /// Its time is over.
        func isOverdue(now: Int64) -> Bool { self.nextUpdate.map { $0 < now } ?? false }

        /// By the time it was made, and by its number where that is the same second.
        package func isNewer(than other: Part) -> Bool {
            if self.madeAt != other.madeAt { return self.madeAt > other.madeAt }
            if self.number.count != other.number.count { return self.number.count > other.number.count }
            return other.number.lexicographicallyPrecedes(self.number)
        }
    }

    package let parts: [Part]

    /// Of several lists of one issuer and distribution point the latest is kept.
    package init(_ parts: [Part]) {
        var kept: [Part] = []
        for part in parts.sorted(by: { $0.isNewer(than: $1) }) where !kept.contains(where: { $0.replaces(part) }) {
            kept.append(part)
        }
        self.parts = kept
    }

    package var count: Int { self.parts.reduce(0) { $0 + $1.revoked.count } }

    /// Whether a list that counts for the certificate names it. Takes as many steps as the number of entries has bits.
    ///
    /// Serial numbers are an authority's own, and authorities may share a name: what another one of the name says counts only where the
    /// certificate's signer is not known, or has no list of its own that is in time, as one that was made anew and signs for both.
    func revokes(_ key: CertificateKey, now: Int64, signer: () -> SignerKey) -> Bool {
        let naming = self.parts.filter { Self.contains(key, in: $0.revoked) }
        guard !naming.isEmpty else { return false }
        let signer = signer()
        guard signer != .unknown else { return true }
        return naming.contains { part in
            SignerKey(digest: part.signer) == signer
                || !self.parts.contains { own in
                    own.issuer == part.issuer && SignerKey(digest: own.signer) == signer
                        && own.distributionPoint == part.distributionPoint && !own.isOverdue(now: now)
                }
        }
    }

    private static func contains(_ key: CertificateKey, in sorted: [CertificateKey]) -> Bool {
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] == key { return true }
            if sorted[middle] < key { low = middle + 1 } else { high = middle }
        }
        return false
    }

    /// The lists of an issuer.
    /// - Parameter keyIdentifier: what the certificate says of the key that signed it; empty: nothing.
    func parts(of issuer: [UInt8], keyIdentifier: [UInt8]) -> [Part] {
        self.parts.filter { part in
            part.issuer == issuer
                && (keyIdentifier.isEmpty || part.signerKeyIdentifier.isEmpty
                    || part.signerKeyIdentifier == keyIdentifier)
        }
    }

    /// Those whose time is over.
    package func overdue(now: Int64) -> [Part] {
        self.parts.filter { $0.isOverdue(now: now) }
    }
}

extension RevocationList.Part {
    /// Reads a file with one list in DER, or any number in PEM.
    ///
    /// - Parameters:
    ///   - authorities: a PEM file; a list must be signed by one of its certificates.
    ///   - now: seconds since 1970; a list that was made later is none yet.
    /// - Throws: a sentence that names the file.
    package static func read(
        file: String,
        authorities: String,
        now: Int64 = RevocationList.now
    ) throws(TLSError) -> [Self] {
        let bytes = try TLSFiles.read(file, setting: "revocation list", bytesMax: RevocationList.fileBytesMax)
        return try Self.read(bytes, file: file, authorities: authorities, now: now)
    }

    package static func read(
        _ bytes: [UInt8],
        file: String,
        authorities: String,
        now: Int64 = RevocationList.now
    ) throws(TLSError) -> [Self] {
        let issuers = try TLSFiles.certificates(authorities, setting: "client_ca_file")
        defer { OpenSSLLibrary.clearErrors() }
        var lists: [RevocationListObject] = []
        if let single = martlet_crl_from_der(bytes, bytes.count) {
            lists.append(RevocationListObject(owning: single))
        } else {
            OpenSSLLibrary.clearErrors()
            let bio = MemoryBIO(copying: bytes)
            while let pointer = PEM_read_bio_X509_CRL(bio.pointer, nil, nil, nil) {
                lists.append(RevocationListObject(owning: pointer))
            }
            let error = ERR_peek_last_error()
            let isAtEnd =
                martlet_ssl_error_library(error) == ERR_LIB_PEM
                && martlet_ssl_error_reason(error) == PEM_R_NO_START_LINE
            guard !lists.isEmpty, isAtEnd else {
                throw TLSError("\(file) is no revocation list in PEM or DER: \(OpenSSLLibrary.takeErrorText())")
            }
        }
        var parts: [Self] = []
        for list in lists { parts.append(try Self.take(list, file: file, issuers: issuers, now: now)) }
        return parts
    }

    private static func take(
        _ list: RevocationListObject,
        file: String,
        issuers: [X509Certificate],
        now: Int64
    ) throws(TLSError) -> Self {
        let name = X509_CRL_get_issuer(list.pointer)
        let shown = DistinguishedName.logText(name)
        let named = issuers.filter { X509_NAME_cmp(X509_get_subject_name($0.pointer), name) == 0 }
        guard !named.isEmpty else {
            throw TLSError(
                "\(file): its issuer \"\(shown)\" is not among the certificates of client_ca_file",
                isOfStranger: true
            )
        }
        let signer = named.first { issuer in
            guard let key = X509_get0_pubkey(issuer.pointer) else { return false }
            return X509_CRL_verify(list.pointer, key) == 1
        }
        guard let signer else { throw TLSError("\(file): the signature of \"\(shown)\" is wrong") }
        guard !martlet_crl_has_extension(list.pointer, NID_delta_crl).isTrue else {
            throw TLSError("\(file) is a delta list; give whole ones")
        }
        guard !martlet_crl_is_indirect_or_partial(list.pointer).isTrue,
            !martlet_crl_has_unknown_critical_extension(list.pointer).isTrue
        else { throw TLSError("\(file) is an indirect list, or one for some reasons only; give whole ones") }
        let madeAt = try Self.madeAt(list, file: file, issuer: shown, now: now)
        let issuer = DER.encode(name)
        var revoked: [CertificateKey] = []
        let count = martlet_crl_entry_count(list.pointer)
        revoked.reserveCapacity(Int(count))
        for index in 0..<count {
            guard let serial = martlet_crl_entry_serial(list.pointer, index) else { continue }
            revoked.append(CertificateKey(digest: Digest.sha256(issuer + DER.encode(serial))))
        }
        revoked.sort()
        return Self(
            issuer: issuer,
            issuerName: shown,
            signer: signer.keyDigest,
            signerKeyIdentifier: signer.subjectKeyIdentifier,
            distributionPoint: list.distributionPoint,
            madeAt: madeAt,
            number: list.number,
            nextUpdate: X509Dates.seconds(X509_CRL_get0_nextUpdate(list.pointer)),
            revoked: revoked
        )
    }

    private static func madeAt(
        _ list: RevocationListObject,
        file: String,
        issuer: String,
        now: Int64
    ) throws(TLSError) -> Int64 {
        guard let madeAt = X509Dates.seconds(X509_CRL_get0_lastUpdate(list.pointer)) else {
            throw TLSError("\(file) does not say when it was made")
        }
        // It would count as newer than the real ones that come after it.
        let usableFrom = madeAt.subtractingReportingOverflow(RevocationList.clockSkewSecondsMax).partialValue
        guard usableFrom <= now else {
            throw TLSError(
                "\(file) says that it was made at \(DateText.utc(madeAt)), which is to come, and does not count before; are the clocks "
                    + "of this host and of \"\(issuer)\" right?",
                usableFrom: usableFrom
            )
        }
        return madeAt
    }
}

extension RevocationList {
    /// Two million entries are some 80 MB.
    package static let fileBytesMax = 256 << 20

    /// By so much the clock of an authority may be ahead of ours.
    static let clockSkewSecondsMax: Int64 = 300

    /// Seconds since 1970.
    package static var now: Int64 { Int64(Clock.wall() / Nanoseconds.perSecond) }
}

extension Int32 {
    fileprivate var isTrue: Bool { self != 0 }
}

/// Owner of an X509_CRL.
private final class RevocationListObject {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_CRL_free(self.pointer)
    }

    /// The extension's value as it is; empty when there is none.
    var distributionPoint: [UInt8] {
        let place = X509_CRL_get_ext_by_NID(self.pointer, NID_issuing_distribution_point, -1)
        guard place >= 0 else { return [] }
        return X509Certificate.bytes(of: UnsafePointer(X509_EXTENSION_get_data(X509_CRL_get_ext(self.pointer, place))))
    }

    /// See `RevocationList.Part.number`.
    var number: [UInt8] {
        guard let value = X509_CRL_get_ext_d2i(self.pointer, NID_crl_number, nil, nil) else { return [] }
        let number = value.assumingMemoryBound(to: ASN1_INTEGER.self)
        defer { ASN1_INTEGER_free(number) }
        return Array(X509Certificate.bytes(of: number).drop { $0 == 0 })
    }
}
