import Glibc

/// Bytes that nobody should find in memory later: overwritten when the last owner lets go.
///
/// It has memory of its own, so that no copy on write leaves another copy behind. Sendable: nothing changes it.
package final class Secret: @unchecked Sendable {
    private let memory: UnsafeMutableRawBufferPointer
    private let count: Int

    package init(_ bytes: [UInt8]) {
        self.memory = .allocate(byteCount: max(1, bytes.count), alignment: 1)
        self.memory.copyBytes(from: bytes)
        self.count = bytes.count
    }

    deinit {
        if let start = self.memory.baseAddress { explicit_bzero(start, self.memory.count) }
        self.memory.deallocate()
    }

    package var isEmpty: Bool { self.count == 0 }

    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(UnsafeRawBufferPointer(rebasing: self.memory[..<self.count]))
    }
}
