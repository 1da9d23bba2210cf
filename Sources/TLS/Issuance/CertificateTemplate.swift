import Glibc

/// From when to when a certificate is good: seconds since 1970.
package struct CertificateValidity: Equatable, Sendable {
    package var notBefore: Int64
    package var notAfter: Int64

    package init(notBefore: Int64, notAfter: Int64) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// From an hour ago, for devices whose clocks are late, to so many days from now.
    package static func days(_ days: Int) -> CertificateValidity {
        let now = Int64(time(nil))
        // A hundred years are enough, and do not overflow.
        let seconds = Int64(min(max(days, 0), 36_500)) * 86400
        return CertificateValidity(notBefore: now - 3600, notAfter: now + seconds)
    }
}

/// A name in the subjectAltName extension.
package enum SubjectAlternativeName: Equatable, Sendable {
    case dns(String)
    /// "192.0.2.1" or "2001:db8::1".
    case ipAddress(String)
    case email(String)
    case uri(String)

    /// A DNS name or an IP address, whichever `text` is.
    package init(host text: String) {
        self = IPAddress(text) == nil ? .dns(text) : .ipAddress(text)
    }
}

/// What is to be put into a certificate.
package struct CertificateTemplate: Equatable, Sendable {
    package enum Purpose: Equatable, Sendable {
        case server
        case client
        case serverAndClient
    }

    package var subject: CertificateSubject
    package var alternativeNames: [SubjectAlternativeName]
    package var purpose: Purpose
    package var validity: CertificateValidity

    package init(
        subject: CertificateSubject,
        alternativeNames: [SubjectAlternativeName] = [],
        purpose: Purpose,
        validity: CertificateValidity
    ) {
        self.subject = subject
        self.alternativeNames = alternativeNames
        self.purpose = purpose
        self.validity = validity
    }
}
