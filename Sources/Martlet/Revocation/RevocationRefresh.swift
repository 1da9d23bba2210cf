import Common
import Glibc
import TLS

/// Fetches revocation lists into the folders that listeners read them from. A list that cannot be fetched, or is not good, leaves the
/// last good one in its place.
enum RevocationRefresh {
    struct Result {
        var url: String
        var text: String
        /// What the command's exit status is about.
        var isGood: Bool
        /// This address has the list.
        var isFetched: Bool

        init(url: String, text: String, isGood: Bool) {
            self.url = url
            self.text = text
            self.isGood = isGood
            self.isFetched = isGood
        }
    }

    /// What there is instead of a list that could not be had.
    private static let lastStays = "; the last good one stays"
    private static let noneYet = "; there is none yet"
    static let timeoutNanoseconds = 60 * Nanoseconds.perSecond

    /// One result for each address that was asked.
    static func run(_ configuration: Configuration) throws -> [Result] {
        var results: [Result] = []
        for listener in configuration.listeners {
            guard let tls = listener.tls, let directory = tls.crlDirectory, let authorities = tls.clientCAFile else {
                continue
            }
            try Folder.make(directory)
            let points = tls.crlURLs.map { [$0] } + (try DistributionPoints.urls(file: authorities))
            results += Self.refresh(points) { Self.refresh($0, into: directory, authorities: authorities) }
        }
        return results
    }

    /// - Parameter points: the addresses of each list: the next one is asked where one does not have it. No address is asked twice.
    private static func refresh(_ points: [[String]], _ fetch: (String) -> Result) -> [Result] {
        var results: [Result] = []
        for point in points {
            var failed: [Int] = []
            var isServed = results.contains { $0.isFetched && point.contains($0.url) }
            for url in point where !isServed && !results.contains(where: { $0.url == url }) {
                let result = fetch(url)
                isServed = result.isFetched
                if !isServed { failed.append(results.count) }
                results.append(result)
            }
            guard isServed else { continue }
            for index in failed {
                results[index].isGood = true
                let text = results[index].text
                let ending = [Self.lastStays, Self.noneYet].first { text.hasSuffix($0) } ?? ""
                let reason = text.dropLast(ending.count)
                results[index].text = "\(reason); another address of the same distribution point has the list"
            }
        }
        return results
    }

    private static func refresh(_ url: String, into directory: String, authorities: String) -> Result {
        let path = "\(directory)/\(Self.fileName(url))"
        do {
            let bytes = try HTTPClient.get(
                url,
                timeoutNanoseconds: Self.timeoutNanoseconds,
                bytesMax: RevocationList.fileBytesMax
            )
            let parts = try RevocationList.Part.read(bytes, file: url, authorities: authorities)
            let list = RevocationList(parts)
            if let present = try? RevocationList.Part.read(file: path, authorities: authorities),
                present.contains(where: { former in parts.contains { $0.replaces(former) && former.isNewer(than: $0) } }
                )
            {
                return Result(url: url, text: "is older than the one that is there; kept that", isGood: false)
            }
            AtomicFile.removeLeftovers(of: path)
            try AtomicFile.write(bytes, to: path, permissions: 0o644)
            let overdue = list.overdue(now: Int64(Clock.wall() / Nanoseconds.perSecond))
            guard overdue.isEmpty else {
                return Result(url: url, text: "fetched, but a newer one should be there already", isGood: false)
            }
            return Result(url: url, text: "\(list.count) certificates, in \(path)", isGood: true)
        } catch {
            // What is wrong with a list is told with its name in front.
            var text = "\(error)"
            if text.hasPrefix(url) { text = String(text.dropFirst(url.count).drop { $0 == ":" || $0 == " " }) }
            return Result(url: url, text: text + (Folder.isAbsent(path) ? Self.noneYet : Self.lastStays), isGood: false)
        }
    }

    /// Readable, and another one for each address.
    static func fileName(_ url: String) -> String {
        let readable = url.utf8.map { byte -> Character in
            let isPlain =
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            return isPlain ? Character(UnicodeScalar(byte)) : "-"
        }
        let digest = Hex.encode(Array(Digest.sha256(Array(url.utf8)).prefix(6)))
        return "\(String(readable.suffix(80)))-\(String(decoding: digest, as: UTF8.self)).crl"
    }
}
