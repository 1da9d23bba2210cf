import CLinux
import Glibc

/// Flags of send(2), for files that see the C headers of other libraries too: the compiler may then not find the constant in Glibc.
public enum SendFlags {
    /// A peer that is gone is an error of the call, and no signal.
    public static let noSignal = Int32(MSG_NOSIGNAL)
}
