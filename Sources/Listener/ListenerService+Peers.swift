import Common
import Logging

// Router and auth workers that are not there, or hang: see `PeerAbsence`.
extension ListenerService {
    func watchPeers() {
        self.loop.schedule(afterNanoseconds: PeerAbsence.periodNanoseconds) { [unowned self] in
            guard !self.isStopping else { return }
            self.lookForRouter()
            if self.configuration.authentication.usesWorkers { self.lookForWorkers() }
            self.watchPeers()
        }
    }

    private func lookForRouter() {
        switch self.routerAbsence.look(isThere: self.router.takeSignOfLife()) {
        case .none: break
        case .began: self.logger.error("\(self.routerProblem)")
        case .ended: self.logger.notice("the router answers again")
        }
    }

    private func lookForWorkers() {
        switch self.workerAbsence.look(isThere: self.auth.workersUp > 0) {
        case .none: break
        case .began: self.logger.error("\(self.workerProblem)")
        case .ended: self.logger.notice("an auth worker answers again")
        }
    }

    private var routerProblem: String {
        if self.router.link != nil {
            return "the router does not answer: clients that connect are refused, and messages wait; if it does not go "
                + "on by itself, end martlet-router, so that another one is started"
        }
        let path = self.configuration.routerSocketPath
        return "no router: clients that connect are refused; see whether martlet-router runs, and what its log says "
            + "(\(self.router.lastFailure ?? "nobody answers at \(path)"))"
    }

    private var workerProblem: String {
        let reason = self.auth.lastFailure.map { " (\($0))" } ?? ""
        return "no auth worker answers: clients that connect are refused; see whether martlet-authworker runs, and "
            + "what its log says\(reason)"
    }

    func addPeerStatus(to report: inout StatusReport) {
        let isAway = self.routerAbsence.isAway
        report.add("router", self.router.link == nil ? "down" : isAway ? "silent" : "up")
        report.add("auth_workers_up", self.auth.workersUp)
        if isAway { report.add("alarm", self.routerProblem) }
        if self.workerAbsence.isAway { report.add("alarm", self.workerProblem) }
    }
}
