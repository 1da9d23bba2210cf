extension Configuration {
    /// What must have happened before a QoS 1 or 2 message, a subscription or a session is acknowledged.
    public enum Durability: String, CaseIterable, Sendable {
        /// Nothing is stored: a router that ends takes everything with it.
        case memory
        /// It is written to the operating system: it survives the end of every process. After a loss of power the store is sound,
        /// but may lack the last seconds.
        case process
        /// It is on the disk, and survives a loss of power.
        case disk
    }
}
