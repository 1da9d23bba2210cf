extension Configuration.Authentication.PasswordHash {
    /// Whether it fits the command: a salt that is asked for and not used, or the other way round, would let nobody in.
    package func check(asksForSalt: Bool) throws(ConfigurationMistake) {
        let key = "authentication.password_hash"
        switch self {
        case .saltedSHA256, .sha256Salted:
            guard asksForSalt else {
                throw ConfigurationMistake(
                    subject: key,
                    reason: "is \"\(self.rawValue)\", but authentication.command asks for no salt: "
                        + "add the field that holds it, such as HMGET key password_hash salt"
                )
            }
        case .plain, .sha256:
            guard !asksForSalt else {
                throw ConfigurationMistake(
                    subject: key,
                    reason: "is \"\(self.rawValue)\", which uses no salt, but authentication.command asks for one: "
                        + "write \"salt,sha256\" (salt in front of the password) or \"sha256,salt\" (behind it)"
                )
            }
        }
    }
}
