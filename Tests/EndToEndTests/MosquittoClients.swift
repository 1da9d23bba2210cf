import Common
import TestSupport

/// mosquitto's clients over mutual TLS, as a device whose password is `public`, and the broker they talk to.
struct MosquittoClients {
    let broker: TestBroker
    let options: [String]
    let environment: [String: String]

    /// - Parameter openSSL: what the clients' OpenSSL is to offer, as in the `system_default` section of openssl.cnf(5).
    init(device: String, openSSL: String? = nil) throws {
        self.broker = try TestBroker()
        try self.broker.provision(device, password: "public")
        self.options =
            self.broker.mosquittoOptions(try self.broker.pki.device(device)) + ["-u", "somebody", "-P", "public"]
        guard let openSSL else {
            self.environment = [:]
            return
        }
        let file = self.broker.directory.file("openssl.cnf")
        let text = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n\(openSSL)\n"
        try writeFile(file, Array(text.utf8))
        self.environment = ["OPENSSL_CONF": file]
    }

    /// Starts mosquitto_sub with its output in a file and waits until the router has its subscription.
    func subscribe(_ arguments: [String], output: String) throws -> ChildProcess {
        let subscriber = try ChildProcess(
            "/bin/sh",
            arguments: ["-c", "exec mosquitto_sub \"$@\" > \(output)", "sh", "-W", "60"] + self.options + arguments,
            environment: self.environment,
            name: "mosquitto_sub",
            logFile: self.broker.directory.file("mosquitto_sub.log")
        )
        try self.waitForSubscriptions(1)
        return subscriber
    }

    func publish(_ arguments: [String]) throws -> (status: Int32, output: String) {
        try runProcess("mosquitto_pub", arguments: self.options + arguments, environment: self.environment)
    }

    func waitForSubscriptions(_ count: Int) throws {
        try waitUntil("the router has \(count) subscriptions") {
            try self.broker.status(of: "router").contains("subscriptions \(count)\n")
        }
    }
}
