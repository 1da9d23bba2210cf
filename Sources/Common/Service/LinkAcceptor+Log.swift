import Logging

extension LinkAcceptor.Change {
    /// The line for the operator.
    public func log(to logger: Logger) {
        switch self {
        case .madeAgain(let path):
            logger.notice("the socket had been removed, and is there again", metadata: ["socket": "\(path)"])
        case .unreachable(let reason): logger.error("nobody can connect: \(reason)")
        }
    }
}
