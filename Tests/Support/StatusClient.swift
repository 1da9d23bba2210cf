import Common
import Glibc

/// Asks a role's control socket; returns its lines of `name value`.
package func askStatus(_ path: String) throws -> String {
    let loop = try EventLoop()
    let asker = StatusAsker()
    let link = try Link(
        loop: loop,
        fileDescriptor: try UnixSocket.connect(path: path),
        peerDescription: path,
        hello: LinkHello(role: .tool, bootID: [UInt8](repeating: 0, count: 16), name: Array("test".utf8)),
        expectedRoles: [.router, .listener, .authWorker],
        delegate: asker
    )
    defer { link.close() }
    try loop.wait("a status report from \(path)") { asker.report != nil || asker.failure != nil }
    guard let report = asker.report else { throw ProcessError(description: "\(path): \(asker.failure ?? "")") }
    return report.lines.map { "\($0.name) \($0.value)\n" }.joined()
}

private final class StatusAsker: LinkDelegate {
    var report: StatusReport?
    var failure: String?

    func linkUp(_ link: Link, peer: LinkHello) {
        link.output.writeFrameHeader(.statusRequest, handle: 0, bodyBytes: 0)
    }

    func link(_ link: Link, received frame: Frame) {
        if frame.kind == .statusReport { self.report = StatusReport.decode(frame.body) }
    }

    func linkFinishedReading(_ link: Link) {
        link.flush()
    }

    func linkDown(_ link: Link, reason: String) {
        self.failure = reason
    }
}
