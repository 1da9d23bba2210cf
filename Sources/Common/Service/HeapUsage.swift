import CLinux

package enum HeapUsage {
    /// What this process has from malloc and has not given back; walks malloc's lists, so it is nothing to ask often.
    package static var bytes: UInt64 { martlet_heap_bytes() }
}
