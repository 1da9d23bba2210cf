internal import ArgumentParser
import Common

struct CRLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crl",
        abstract: "Works on certificate revocation lists.",
        subcommands: [CRLRefreshCommand.self]
    )
}

struct CRLRefreshCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refresh",
        abstract: "Fetches the revocation lists of device certificates.",
        discussion: """
            From the addresses in crl_urls and the distribution points in the certificates of client_ca_file, into \
            crl_directory, for each listener that has one. A list is taken when its signature is good; otherwise the last good \
            one stays. Listeners notice by themselves. A server has 5 seconds to take the connection, at each of its addresses, \
            and a minute for the whole answer. Exits with 1 if any list could not be had.
            """
    )

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let results = try RevocationRefresh.run(try self.file.load())
            for result in results { Terminal.say("\(result.url): \(result.text)") }
            if results.isEmpty { Terminal.say("nothing to fetch: no listener has a crl_directory with addresses") }
            if results.contains(where: { !$0.isGood }) { throw ExitCode(1) }
        }
    }
}
