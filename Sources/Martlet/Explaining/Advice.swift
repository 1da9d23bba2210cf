import Common

/// What to do about a refusal.
enum Advice {
    static func lines(for block: Report.Block) -> Report.Block {
        guard let reason = block.value("reason"), let text = Self.text(reason, block) else { return [] }
        return [Report.Line(name: "what_to_do", value: text)]
    }

    private static func text(_ reason: String, _ block: Report.Block) -> String? {
        guard block.value("verdict") == nil else { return Self.textOfWorker(reason, block) }
        return Self.text(ofHandshake: reason, detail: block.value("detail") ?? "") ?? Self.textOfListener(reason)
    }

    private static func textOfWorker(_ reason: String, _ block: Report.Block) -> String? {
        let key = block.value("key") ?? "the key"
        if block.value("file") != nil, let text = Self.textOfEmbedded(reason, key, block) { return text }
        switch reason {
        case "no-such-device":
            // Nobody was asked, or a source that has no rows.
            guard let command = block.value("command") else { return "no source knows the device: see detail" }
            let making = block.value("row_made_by").map { "; make one with: \($0)" } ?? ""
            return "Redis has no such row; look with redis-cli: \(command)\(making)\(Self.alternatives(block))"
        case "wrong-password": return "the password that the device sends is not the one in \(key)"
        case "row-unusable":
            return
                "no password fits what \(key) has for one, see detail: put the row right, or password_hash if all rows are like that"
        case "password-missing":
            let source = block.value("source").map { ", which the source \($0) asks for" } ?? ""
            return "the device sends no password\(source); give it one, or set password_hash: none"
        case "field-missing": return "the look-up needs something that the client does not have: see detail"
        case "field-not-allowed":
            return "a name is too long for a look-up, or holds characters that may not go into one: see detail"
        case "redis-unavailable", "redis-error":
            return "the auth worker cannot ask Redis: see martlet status, and its log"
        case "row-too-long":
            return
                "Redis answers, and what it has for \(key) is longer than a row may be, see detail: put the row right"
        default: return Self.textOfListener(reason)
        }
    }

    /// The same for other sources that do not know the device either: which one it belongs to, nobody can tell.
    private static func alternatives(_ block: Report.Block) -> String {
        AskedSources.blocks(of: block).map { asked in
            guard let source = asked.value("source"), source != block.value("source"),
                asked.value("reason") == "no-such-device"
            else { return "" }
            let device = asked.value("file") == nil ? nil : asked.value("key").map { "martlet device add \($0)" }
            guard let making = device ?? asked.value("row_made_by") else { return "" }
            return "; or, if it belongs to \(source): \(making)"
        }.joined()
    }

    /// Devices are in a file of this host.
    private static func textOfEmbedded(_ reason: String, _ key: String, _ block: Report.Block) -> String? {
        switch reason {
        case "no-such-device":
            return "the file has no such device; make one with: martlet device add \(key)\(Self.alternatives(block))"
        case "wrong-password":
            return "the password that the device sends is not that of \(key); see martlet device set-password"
        case "password-missing":
            return
                "the device sends no password; give it one, or have none asked for: martlet device set-password --none \(key)"
        case "certificate-missing":
            return
                "connect with the device's certificate, the one whose common name is its name; or, if it is to log in by a password "
                + "instead, give it one: martlet device set-password \(key)"
        case "device-disabled": return "it was disabled; let it in again with: martlet device enable \(key)"
        default: return nil
        }
    }

    private static func textOfListener(_ reason: String) -> String? {
        switch reason {
        case "device-file-unavailable":
            return
                "the auth worker cannot read the file of devices: see detail; martlet device list tells whether it is good"
        case "rules-missing": return "listeners and auth workers run with different configurations: restart them"
        case "auth-overloaded": return "more clients come than can be answered: add auth workers"
        default: return nil
        }
    }

    /// - Parameter detail: OpenSSL's words about the certificate.
    static func text(ofHandshake reason: String, detail: String) -> String? {
        switch reason {
        case "tls-no-client-certificate": return "give the device its certificate and key"
        case "tls-unknown-certificate-authority":
            return "the device's certificate is signed by an authority that is not in client_ca_file"
        case "tls-certificate-expired": return "the device needs a new certificate"
        case "tls-certificate-not-yet-valid": return "is the clock of this host right?"
        case "tls-certificate-revoked": return "the certificate is revoked; the device needs a new one"
        case "tls-revocation-unknown":
            return "there is no current revocation list of its issuer: run martlet crl refresh"
        case "tls-bad-certificate": return Self.text(ofBadCertificate: detail)
        case "tls-certificate-chain-too-long":
            return
                "there are more intermediate authorities than verify_depth of the listener allows: raise it, or put one of them into client_ca_file"
        case "tls-not-tls": return "the client speaks no TLS here"
        default: return nil
        }
    }

    private static func text(ofBadCertificate detail: String) -> String? {
        let old = "; for certificates that cannot be replaced see docs/certificates.md, \"Old certificates\""
        if detail.hasPrefix("EE certificate key too weak") {
            return "the device's key is too short: make it a new one of at least RSA 2048 bits or P-256\(old)"
        }
        if detail.hasPrefix("CA certificate key too weak") {
            return "an authority's key is too short: it has to be at least RSA 2048 bits or P-256\(old)"
        }
        if detail.hasPrefix("CA signature digest algorithm too weak") {
            return "the certificate, or one above it, is signed with SHA-1 or MD5: have it signed with SHA-256\(old)"
        }
        if detail.contains("certificate purpose") {
            return
                "it is not for TLS clients: its extendedKeyUsage needs clientAuth, its keyUsage digitalSignature; or leave both out"
        }
        return
            "the certificate does not verify: see detail, and docs/certificates.md for what a device's certificate needs"
    }
}
