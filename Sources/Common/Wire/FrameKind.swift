/// What a frame is. Numbers are never reused, and disjoint over the directions, so that a misrouted frame is noticed.
///
/// Unknown kinds are skipped by their length: a release may send a newer one to an older one.
public enum FrameKind: UInt8, Sendable, CaseIterable {
    // Either way, first frame.
    case linkHello = 0x01

    // Listener to router.
    case sessionOpen = 0x10
    case sessionPackets = 0x11
    case sessionClosed = 0x12
    case sessionRules = 0x13
    case deliveryCredit = 0x15
    case sessionAttach = 0x16
    case linkDrained = 0x17

    // Router to listener.
    case sessionAccepted = 0x30
    case sessionRefused = 0x31
    case sessionDeliver = 0x32
    case sessionMulticast = 0x33
    case sessionClose = 0x34
    case publishCredit = 0x35
    case sessionGone = 0x36
    case linkClosing = 0x37
    case sessionResumed = 0x38
    case sessionUnstored = 0x39
    case exchangesSettled = 0x3A

    // Listener to auth worker.
    case authQuery = 0x50
    /// Has no body; is answered with `authPong` at once.
    case authPing = 0x51
    case authAdmitted = 0x52

    // Auth worker to listener.
    case authVerdict = 0x70
    case authChanged = 0x71
    case authConsulted = 0x72
    case authPong = 0x73

    // The tool to any role, and back.
    case statusRequest = 0x90
    case controlCommand = 0x91
    case statusReport = 0xB0
    case controlReply = 0xB1
}
