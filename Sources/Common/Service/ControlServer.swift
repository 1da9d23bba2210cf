import Glibc

/// A role's control socket: answers the tool's `statusRequest`.
public final class ControlServer: LinkDelegate {
    /// Each costs a descriptor; the tool needs one.
    private static let linksMax = 16

    private let loop: EventLoop
    private let hello: LinkHello
    private let report: () -> StatusReport
    private let command: (ControlCommand) -> ControlReply?
    private var acceptor: LinkAcceptor?
    private var links: [ObjectIdentifier: Link] = [:]

    /// - Parameters:
    ///   - folderMode: as of `LinkAcceptor`.
    ///   - changed: the socket was removed, or made again.
    ///   - command: does what the tool asks for; nil: the role knows no such command.
    public init(
        loop: EventLoop,
        path: String,
        folderMode: mode_t? = nil,
        hello: LinkHello,
        refused: @escaping (String) -> Void,
        changed: @escaping (LinkAcceptor.Change) -> Void = { _ in },
        report: @escaping () -> StatusReport,
        command: @escaping (ControlCommand) -> ControlReply? = { _ in nil }
    ) throws(SystemError) {
        self.loop = loop
        self.hello = hello
        self.report = report
        self.command = command
        self.acceptor = try LinkAcceptor(
            loop: loop,
            path: path,
            folderMode: folderMode,
            allowedUsers: [],
            refused: refused,
            changed: changed
        ) { [weak self] fileDescriptor, peer in
            self?.accept(fileDescriptor, peer)
        }
    }

    public func close() {
        self.acceptor?.close()
        self.acceptor = nil
        for link in self.links.values { link.close() }
        self.links.removeAll()
    }

    private func accept(_ fileDescriptor: Int32, _ peer: String) {
        let link = try? Link(
            loop: self.loop,
            fileDescriptor: fileDescriptor,
            peerDescription: peer,
            hello: self.hello,
            expectedRoles: [.tool],
            delegate: self
        )
        guard let link else { return }
        if self.links.count >= Self.linksMax { return link.close() }
        self.links[ObjectIdentifier(link)] = link
    }

    public func linkUp(_ link: Link, peer: LinkHello) {}

    public func link(_ link: Link, received frame: Frame) {
        switch frame.kind {
        case .statusRequest:
            self.report().encode(into: &link.output)
        case .controlCommand:
            let reply = ControlCommand.decode(frame.body).flatMap { self.command($0) }
            let unknown = ControlReply(isDone: false, text: "this process knows no such command")
            (reply ?? unknown).encode(into: &link.output)
        default:
            break
        }
    }

    public func linkFinishedReading(_ link: Link) {
        link.flush()
    }

    public func linkDown(_ link: Link, reason: String) {
        self.links[ObjectIdentifier(link)] = nil
    }
}
