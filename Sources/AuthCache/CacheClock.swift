import Common

/// The time that rows of the cache are stamped with: the wall clock's when the first auth worker since the host's start began, and from
/// then on that of the host's own clock. Somebody who sets the wall clock, or a time server that corrects it by years, makes no row older
/// or newer by that.
///
/// What the two clocks differ by is in a file of the cache's folder, with the host's boot: after another start of the host there is only
/// the wall clock to go by.
package struct CacheClock: Equatable, Sendable {
    /// The cache's time less CLOCK_BOOTTIME.
    package let offsetMilliseconds: Int64

    /// - Parameters:
    ///   - boot: see `CacheDirectory.bootNumber`.
    ///   - wall: milliseconds since 1970.
    ///   - bootTime: milliseconds since the host's start.
    package init(
        _ directory: CacheDirectory,
        boot: UInt64 = CacheDirectory.bootNumber,
        wall: Int64 = CacheClock.wallMilliseconds,
        bootTime: Int64 = CacheClock.bootMilliseconds
    ) {
        if let offset = Self.offset(in: directory, boot: boot) {
            self.offsetMilliseconds = offset
            return
        }
        self.offsetMilliseconds = wall - bootTime
        self.keep(in: directory, boot: boot)
    }

    /// Nil: none was kept since the host's start.
    private static func offset(in directory: CacheDirectory, boot: UInt64) -> Int64? {
        let parts = String(decoding: directory.clock() ?? [], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        if parts.count == 2, boot != 0, UInt64(parts[0]) == boot, let offset = Int64(parts[1]) { return offset }
        return nil
    }

    /// For workers that start later, unless another one has; where nothing can be written they make one of their own.
    package func keep(in directory: CacheDirectory, boot: UInt64 = CacheDirectory.bootNumber) {
        guard Self.offset(in: directory, boot: boot) == nil else { return }
        try? directory.setClock(Array("\(boot) \(self.offsetMilliseconds)\n".utf8))
    }

    /// That of the wall alone.
    package init() {
        self.offsetMilliseconds = Self.wallMilliseconds - Self.bootMilliseconds
    }

    package var milliseconds: Int64 { Self.bootMilliseconds + self.offsetMilliseconds }

    /// By how much the wall clock is ahead.
    package var wallAheadMilliseconds: Int64 { Self.wallMilliseconds - self.milliseconds }

    package static var wallMilliseconds: Int64 { Int64(clamping: Clock.wall() / Nanoseconds.perMillisecond) }
    package static var bootMilliseconds: Int64 { Int64(clamping: Clock.bootTime() / Nanoseconds.perMillisecond) }
}
