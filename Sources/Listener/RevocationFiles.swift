import Common
import TLS

/// The revocation lists of one listener on disk. A file that cannot be used leaves what it held before in force.
struct RevocationFiles: Sendable {
    struct Outcome: Sendable {
        var files: RevocationFiles
        var list: RevocationList
        /// Something is different from the last time.
        var hasChanged: Bool
        /// Sentences, each naming a file.
        var problems: [String]
        /// Those of them that leave certificates without a list that is meant for them, and of which nothing was known before.
        var gaps: [String] = []
    }

    private struct Loaded: Sendable {
        var stamp: FileStamp
        var parts: [RevocationList.Part]
        /// Why the file as it is now was not taken.
        var problem: String?
        /// It may be a list that certificates of this listener depend on.
        var isGap = false
    }

    private let files: [String]
    private let directory: String?
    /// Who may have signed them.
    private let authorities: String
    private var authoritiesStamp: FileStamp?
    private var loaded: [String: Loaded] = [:]

    /// Nil where there are none.
    init?(_ listener: Configuration.Listener) {
        guard let tls = listener.tls, tls.usesCRLs, let authorities = tls.clientCAFile else { return nil }
        self.files = tls.crlFiles
        self.directory = tls.crlDirectory
        self.authorities = authorities
    }

    /// The same files under a configuration that was read again: what they hold need not be read again.
    mutating func keep(from before: RevocationFiles) {
        guard before.authorities == self.authorities else { return }
        self.authoritiesStamp = before.authoritiesStamp
        self.loaded = before.loaded
    }

    /// Reads what is new. May take seconds for lists with a million entries.
    func load() -> Outcome {
        var outcome = Outcome(files: self, list: RevocationList([]), hasChanged: false, problems: [])
        let stamp = FileStamp(self.authorities)
        if stamp != self.authoritiesStamp {
            // Other authorities may have signed other lists: all are judged again.
            outcome.files.authoritiesStamp = stamp
            for path in self.loaded.keys { outcome.files.loaded[path]?.stamp.bytes = -1 }
        }
        let paths = self.files + self.pathsInDirectory(&outcome.problems)
        var files = outcome.files
        for path in paths where files.read(path, &outcome.problems) { outcome.hasChanged = true }
        outcome.files = files
        outcome.gaps = paths.compactMap { path in
            guard let entry = files.loaded[path] else { return "\(path) is not there" }
            return entry.isGap ? entry.problem : nil
        }
        let present = paths.flatMap { outcome.files.loaded[$0]?.parts ?? [] }
        var kept: [RevocationList.Part] = []
        for path in outcome.files.loaded.keys.sorted() where !paths.contains(path) {
            let parts = outcome.files.loaded[path]?.parts ?? []
            // One that a file under another name has taken the place of may go.
            if parts.allSatisfy({ part in present.contains { $0.replaces(part) && !part.isNewer(than: $0) } }) {
                outcome.files.loaded[path] = nil
                outcome.hasChanged = true
            } else {
                kept += parts
                outcome.problems.append("\(path) is gone; what it held counts until this process is restarted")
            }
        }
        outcome.list = RevocationList(present + kept)
        return outcome
    }

    /// Whether the file is another than the last time.
    private mutating func read(_ path: String, _ problems: inout [String]) -> Bool {
        guard let stamp = FileStamp(path) else {
            // What it held stays in force: a list must not lose its effect by being removed for a moment.
            problems.append("\(path) is not there")
            return false
        }
        var entry = self.loaded[path] ?? Loaded(stamp: stamp, parts: [], problem: nil)
        if self.loaded[path] != nil, entry.stamp == stamp {
            if let problem = entry.problem { problems.append(problem) }
            return false
        }
        entry.stamp = stamp
        entry.isGap = false
        do throws(TLSError) {
            let found = try RevocationList.Part.read(file: path, authorities: self.authorities)
            // Whoever can only replay what was signed once must not bring a revoked device back.
            let newer = entry.parts.filter { former in
                found.contains { $0.replaces(former) && former.isNewer(than: $0) }
            }
            entry.parts = found + newer
            entry.problem = newer.first.map {
                "\(path) holds an older list of \($0.issuerName) than before; the newer one counts until this process is restarted"
            }
        } catch {
            entry.problem = error.description
            entry.isGap = entry.parts.isEmpty && !error.isOfStranger
        }
        if let problem = entry.problem { problems.append(problem) }
        self.loaded[path] = entry
        return true
    }

    private func pathsInDirectory(_ problems: inout [String]) -> [String] {
        guard let directory = self.directory else { return [] }
        do throws(SystemError) {
            return try RevocationDirectory.paths(in: directory)
        } catch {
            problems.append(error.description)
            return self.loaded.keys.filter { !self.files.contains($0) }.sorted()
        }
    }
}
