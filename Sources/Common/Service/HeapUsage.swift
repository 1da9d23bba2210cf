import CLinux

public enum HeapUsage {
    /// What this process has from malloc and has not given back; walks malloc's lists, so it is nothing to ask often.
    public static var bytes: UInt64 { martlet_heap_bytes() }
}
