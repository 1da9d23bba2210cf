import Common
import Logging

/// The file of bans of one listener process: noticed within a second when it changes, and then in force for who comes and for who is
/// there. A file with a mistake, or that is gone, leaves what it said before in force.
final class BanWatch {
    private static let pollNanoseconds = Nanoseconds.perSecond

    private(set) var list = BanList()
    /// Why the file as it is now does not count; nil: it does.
    private(set) var problem: String?
    private unowned let service: ListenerService
    private let path: String
    private var stamp: FileStamp?
    private var isReading = false

    init(service: ListenerService, path: String) {
        self.service = service
        self.path = path
    }

    var now: Int64 { Int64(Clock.wall() / Nanoseconds.perSecond) }

    /// - Throws: what is wrong with the file: nobody is let in on the strength of half a list.
    func start() throws(BanList.Problem) {
        self.stamp = FileStamp(self.path)
        self.list = try BanList.load(self.path)
        self.schedule()
    }

    private func schedule() {
        self.service.loop.schedule(afterNanoseconds: Self.pollNanoseconds) { [unowned self] in
            guard !self.service.isStopping else { return }
            self.look()
            self.schedule()
        }
    }

    /// A list of a million takes a second: it is read by a thread.
    func look() {
        let stamp = FileStamp(self.path)
        guard stamp != self.stamp, !self.isReading else { return }
        self.isReading = true
        let path = self.path
        // Somebody who moves it away, or a disk that is not mounted, must not let everybody in.
        let mayBeMissing = self.list.isEmpty
        do throws(SystemError) {
            try BackgroundJob.run(on: self.service.loop) { () -> Result<BanList, BanList.Problem> in
                Result { () throws(BanList.Problem) in try BanList.load(path, mayBeMissing: mayBeMissing) }
            } then: { [unowned self] result in
                self.isReading = false
                guard !self.service.isStopping else { return }
                self.stamp = stamp
                self.take(result)
            }
        } catch {
            self.isReading = false
            self.service.logger.error("bans cannot be read", metadata: ["reason": "\(error.reason)"])
        }
    }

    private func take(_ result: Result<BanList, BanList.Problem>) {
        switch result {
        case .success(let list):
            self.list = list
            self.problem = nil
            self.service.logger.notice("bans in force", metadata: ["count": "\(list.count)"])
            self.service.checkLiveConnections()
        case .failure(let problem):
            self.problem = problem.description
            self.service.logger.error(
                "bans not usable, what was known before stays in force",
                metadata: ["reason": "\(problem)"]
            )
        }
    }
}
