import Common

/// Calls a closure for each event.
final class ClosureHandler: EventHandler {
    private let action: (IOEvents) -> Void

    init(_ action: @escaping (IOEvents) -> Void) {
        self.action = action
    }

    func handle(_ events: IOEvents) { self.action(events) }
}

/// Writes down what a link tells.
final class RecordingDelegate: LinkDelegate {
    private(set) var peers: [LinkHello] = []
    private(set) var frames: [PlainFrame] = []
    private(set) var downReasons: [String] = []
    private(set) var links: [Link] = []
    private(set) var finishedReading = 0

    func linkUp(_ link: Link, peer: LinkHello) {
        self.links.append(link)
        self.peers.append(peer)
    }

    func link(_ link: Link, received frame: Frame) { self.frames.append(PlainFrame(frame)) }

    func linkFinishedReading(_ link: Link) { self.finishedReading += 1 }

    func linkDown(_ link: Link, reason: String) { self.downReasons.append(reason) }
}

func makeHello(_ role: LinkHello.Role, versions: ClosedRange<UInt8> = 1...1) -> LinkHello {
    LinkHello(
        role: role,
        bootID: [UInt8](repeating: role.rawValue, count: 16),
        name: Array("\(role)".utf8),
        wireVersionMin: versions.lowerBound,
        wireVersionMax: versions.upperBound
    )
}
