import Common

/// A SUBSCRIBE or UNSUBSCRIBE that takes more than a turn: the packet as it came, for its filters would take many times as much, and how
/// far it is dealt with.
final class UnfinishedFilters {
    struct Progress {
        var reader: TopicFilterReader
        /// All filters were looked at.
        var isChecked = false
        var count = 0
        /// Of those that are dealt with.
        var codes: [ReasonCode] = []
        /// The last group of changes in which there is something of it.
        var group: UInt64 = 0

        init(_ reader: TopicFilterReader) {
            self.reader = reader
        }

        var isSubscribe: Bool { self.reader.type == .subscribe }
        var isDone: Bool { self.isChecked && self.codes.count == self.count }
    }

    let packet: [UInt8]
    var progress: Progress

    init(_ packet: [UInt8], _ progress: Progress) {
        self.packet = packet
        self.progress = progress
    }

    /// Towards what its link may have of them (`flow_control.partial_packets`); smaller ones are bounded by their credit.
    var countedBytes: Int { self.packet.count > Limits.packetPartBytes ? self.packet.count : 0 }
}
