import Glibc

/// What a name in the folder stands for at the moment: a file that was removed, and another that took its place, are told from the one
/// that is open.
package struct CacheFileState: Equatable, Sendable {
    package let device: UInt64
    package let inode: UInt64
    package let bytes: Int64

    /// Nil: there is no such file.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(fileDescriptor: Int32) {
        var status = stat()
        guard fstat(fileDescriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        self.device = UInt64(status.st_dev)
        self.inode = UInt64(status.st_ino)
        self.bytes = Int64(status.st_size)
    }

    package func isSameFile(as other: CacheFileState) -> Bool {
        self.device == other.device && self.inode == other.inode
    }
}
