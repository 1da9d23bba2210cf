/// What one of many may have of something that all have in common, so that those who take and give nothing back leave room for the others,
/// however many they are (ADR 0022).
enum FairShare {
    /// As long as half is free there is no bound beside the one that each has of its own; then that one, in proportion to what is free.
    ///
    /// - Parameters:
    ///   - limit: what one may have at most.
    ///   - free: of `whole`; below zero counts as nothing.
    static func of(_ limit: Int, free: Int, whole: Int) -> Int {
        guard free < whole / 2 else { return .max }
        return Int(2 * Double(limit) * Double(max(0, free)) / Double(max(1, whole)))
    }
}
