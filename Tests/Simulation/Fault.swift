import TestSupport

/// What goes wrong.
enum Fault {
    case killOne
    case killRouter
    case killSome
    /// All of them at once; where the disk counts, by losing power.
    case killAll
    case stopOne
    case stopRouter
    case breakLink
    /// A listener takes nothing that the router sends, while its clients go away without a word and come back elsewhere; then the router
    /// is killed, and the listener still knows of the connections that are none any more.
    case jamLink
    case redisChanges
    case diskChanges
    case wallClockJumps
    case stallOne
    case slowTransfers

    /// Those of a seed: most are about one part, so that the others are under way when something happens to it.
    static func mixture(_ random: inout SeededRandom, fillsDisk: Bool, wallClockJumps: Bool) -> [Fault] {
        var faults: [Fault]
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1: faults = [.killRouter, .killRouter, .killRouter, .stopRouter, .stallOne, .slowTransfers]
        case 2: faults = [.killRouter, .breakLink, .breakLink, .jamLink, .jamLink, .stallOne, .slowTransfers]
        default:
            faults = [
                .killOne, .killOne, .killRouter, .killRouter, .killSome, .killAll, .stopOne, .stopRouter, .breakLink,
                .breakLink, .jamLink,
                .redisChanges, .redisChanges, .stallOne, .slowTransfers,
            ]
        }
        if fillsDisk { faults += [.diskChanges, .diskChanges] }
        if wallClockJumps { faults.append(.wallClockJumps) }
        return faults
    }
}
