extension Configuration {
    /// A file of bans is not larger.
    public static let bansFileBytesMax = 256 * 1024 * 1024

    /// What `bans_file` says; nobody is banned where it is not there.
    /// - Throws: the file's first mistake, with its line, or why it cannot be read.
    public func loadBans() throws(BanList.Problem) -> BanList {
        try BanList.load(self.bansFile)
    }
}
