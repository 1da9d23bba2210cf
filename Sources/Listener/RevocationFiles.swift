import Common
import Glibc
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
        /// Why the folder could not be read, though it is there: lists may be in it.
        var unreadableDirectory: String?
        /// The folder where it is not there, and nothing was read from it before: `martlet crl refresh` makes it.
        var missingDirectory: String?
    }

    private struct Loaded: Sendable {
        var stamp: FileStamp
        var parts: [RevocationList.Part]
        /// Why the file as it is now was not taken.
        var problem: String?
        /// It may be a list that certificates of this listener depend on.
        var isGap = false
        /// When it is to be read again though it is the same; seconds since 1970.
        var usableFrom: Int64?
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

    /// The files under a configuration that was read again: what was read need not be read once more. What files held that it names
    /// no more goes with the first `load` that can read all that it does name.
    mutating func keep(from before: RevocationFiles) {
        if before.authorities == self.authorities { self.authoritiesStamp = before.authoritiesStamp }
        self.loaded = before.loaded
    }

    /// Reads what is new. May take seconds for lists with a million entries.
    /// - Parameter now: seconds since 1970.
    func load(now: Int64 = RevocationList.now) -> Outcome {
        var outcome = Outcome(files: self, list: RevocationList([]), hasChanged: false, problems: [])
        let stamp = FileStamp(self.authorities)
        if stamp != self.authoritiesStamp {
            // Other authorities may have signed other lists: all are judged again.
            outcome.files.authoritiesStamp = stamp
            for path in self.loaded.keys { outcome.files.loaded[path]?.stamp.bytes = -1 }
        }
        let (inDirectory, isDirectoryRead) = self.pathsInDirectory(&outcome)
        let paths = self.files + inDirectory
        var files = outcome.files
        for path in paths where files.read(path, now, &outcome.problems) { outcome.hasChanged = true }
        outcome.files = files
        outcome.gaps = paths.compactMap { path in
            guard let entry = files.loaded[path] else { return "\(path) is not there" }
            return entry.isGap ? entry.problem : nil
        }
        let present = paths.flatMap { outcome.files.loaded[$0]?.parts ?? [] }
        // A folder that is still empty is to be filled.
        let isComplete = isDirectoryRead && outcome.gaps.isEmpty && (self.directory == nil || !inDirectory.isEmpty)
        var kept: [RevocationList.Part] = []
        for path in outcome.files.loaded.keys.sorted() where !paths.contains(path) {
            let parts = outcome.files.loaded[path]?.parts ?? []
            let isReplaced = parts.allSatisfy { part in
                present.contains { $0.replaces(part) && !part.isNewer(than: $0) }
            }
            let isNamed = self.names(path)
            // One that a file under another name has taken the place of may go, and one that nobody wants any more.
            if isReplaced || (!isNamed && isComplete) {
                outcome.files.loaded[path] = nil
                outcome.hasChanged = true
            } else {
                kept += parts
                outcome.problems.append(
                    isNamed
                        ? "\(path) is gone; what it held counts until this process is restarted"
                        : "\(path) is not in the configuration any more; what it held counts until the lists that are can be read"
                )
            }
        }
        outcome.list = RevocationList(present + kept)
        return outcome
    }

    /// Whether the file is another than the last time.
    private mutating func read(_ path: String, _ now: Int64, _ problems: inout [String]) -> Bool {
        guard let stamp = FileStamp(path) else {
            // What it held stays in force: a list must not lose its effect by being removed for a moment.
            problems.append("\(path) is not there")
            return false
        }
        var entry = self.loaded[path] ?? Loaded(stamp: stamp, parts: [], problem: nil)
        let isDue = entry.usableFrom.map { $0 <= now } ?? false
        if self.loaded[path] != nil, entry.stamp == stamp, !isDue {
            if let problem = entry.problem { problems.append(problem) }
            return false
        }
        entry.stamp = stamp
        entry.isGap = false
        entry.usableFrom = nil
        do throws(TLSError) {
            let found = try RevocationList.Part.read(file: path, authorities: self.authorities, now: now)
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
            entry.usableFrom = error.usableFrom
        }
        if let problem = entry.problem { problems.append(problem) }
        self.loaded[path] = entry
        return true
    }

    /// The configuration asks for this file.
    private func names(_ path: String) -> Bool {
        if self.files.contains(path) { return true }
        guard let directory = self.directory, path.hasPrefix("\(directory)/") else { return false }
        return !path.utf8.dropFirst(directory.utf8.count + 1).contains(UInt8(ascii: "/"))
    }

    private func pathsInDirectory(_ outcome: inout Outcome) -> (paths: [String], isRead: Bool) {
        guard let directory = self.directory else { return ([], true) }
        do throws(SystemError) {
            return (try RevocationDirectory.paths(in: directory), true)
        } catch {
            let known = self.loaded.keys.filter { self.names($0) && !self.files.contains($0) }
            if error.code == ENOENT, known.isEmpty {
                outcome.missingDirectory = directory
                return ([], false)
            }
            let problem = "crl_directory \(directory): \(error.reason)"
            outcome.problems.append(problem)
            if error.code != ENOENT { outcome.unreadableDirectory = problem }
            return (known.sorted(), false)
        }
    }
}
