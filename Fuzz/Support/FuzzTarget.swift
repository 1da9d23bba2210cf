import Glibc

/// libFuzzer used as a library: the package manager links only executables that have a main of their own.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ input: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// Hands the process over to libFuzzer, which calls `test` with one input after another. What breaks a promise ends the process
/// by a trap.
package func runFuzzer(_ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt) -> Never {
    var argumentCount = CommandLine.argc
    var arguments = CommandLine.unsafeArgv
    exit(runDriver(&argumentCount, &arguments, test))
}

/// Takes an input apart: numbers from the front, and bytes whose count comes before them.
package struct FuzzInput {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    package init(_ start: UnsafePointer<UInt8>?, _ count: Int) {
        self.bytes = UnsafeRawBufferPointer(start: start, count: count)
    }

    package var isAtEnd: Bool { self.offset >= self.bytes.count }

    /// The next byte; 0 behind the end.
    package mutating func byte() -> UInt8 {
        guard self.offset < self.bytes.count else { return 0 }
        self.offset += 1
        return self.bytes[self.offset - 1]
    }

    package mutating func word() -> UInt32 {
        (0..<4).reduce(0) { word, _ in word << 8 | UInt32(self.byte()) }
    }

    /// Up to `count` bytes.
    package mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        let taken = min(count, self.bytes.count - self.offset)
        self.offset += taken
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset - taken..<self.offset])
    }

    /// As many bytes as the next one says.
    package mutating func text() -> [UInt8] {
        let count = Int(self.byte())
        return [UInt8](self.bytes(count))
    }

    package mutating func rest() -> UnsafeRawBufferPointer {
        self.bytes(self.bytes.count)
    }
}
