import Glibc

/// A failed system call, in words.
package struct SystemError: Error, CustomStringConvertible, Sendable {
    package var code: Int32
    /// What was attempted, with the object: `bind [::]:8883`.
    package var action: String

    package init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    package var reason: String { String(cString: strerror(self.code)) }
    package var description: String { "\(self.action): \(self.reason)" }
}
