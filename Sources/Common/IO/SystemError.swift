import Glibc

/// A failed system call, in words.
public struct SystemError: Error, CustomStringConvertible, Sendable {
    public var code: Int32
    /// What was attempted, with the object: `bind [::]:8883`.
    public var action: String

    public init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    public var reason: String { String(cString: strerror(self.code)) }
    public var description: String { "\(self.action): \(self.reason)" }
}
