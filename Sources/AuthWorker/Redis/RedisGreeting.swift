import Common

/// The first commands on each connection to Redis, in their order: who we are, which database, and a name for `CLIENT LIST`.
enum RedisGreeting {
    enum Step {
        case authenticate
        case select
        case setName
    }

    static func commands(_ settings: RedisClient.Settings, name: String) -> [(step: Step, arguments: [[UInt8]])] {
        var commands: [(step: Step, arguments: [[UInt8]])] = []
        if let password = settings.password {
            let user = settings.user.map { [$0] } ?? []
            commands.append((.authenticate, [Array("AUTH".utf8)] + user + [password]))
        }
        if settings.database != 0 {
            commands.append((.select, [Array("SELECT".utf8), Array("\(settings.database)".utf8)]))
        }
        commands.append((.setName, ["CLIENT", "SETNAME", name].map { Array($0.utf8) }))
        return commands
    }

    /// - Throws: when the server must not be used after this answer. The name is for people only; a user may lack the right to it.
    static func check(_ reply: RedisReply, to step: Step) throws(RedisFailure) {
        switch step {
        case .authenticate, .select:
            if let text = reply.errorText { throw .refused(text) }
        case .setName:
            break
        }
    }
}
