import TestSupport
import Testing

@testable import Common

/// What people get wrong, and the exact lines that they read.
@Suite struct ConfigurationMistakesTests {
    /// Text put in front of the smallest configuration, so that its mistakes are in the first lines.
    @Test(arguments: [
        (
            "log: {level: verbose}",
            "m.yaml:1:14: log.level: \"verbose\" is not trace, debug, info, notice, warning, error or critical"
        ),
        (
            "log: {level: wraning}",
            "m.yaml:1:14: log.level: \"wraning\" is not trace, debug, info, notice, warning, error or critical; did you mean warning?"
        ),
        ("log:\n  levle: info", "m.yaml:2:3: log.levle: unknown key; did you mean level?"),
        ("log:\n  colour: red", "m.yaml:2:3: log.colour: unknown key; known here: level, refused_per_second"),
        (
            "log: {refused_per_second: many}",
            "m.yaml:1:27: log.refused_per_second: \"many\" is not a whole number from 0 to 1000000"
        ),
        (
            "log: {refused_per_second: -1}",
            "m.yaml:1:27: log.refused_per_second: -1 is out of range; it must be from 0 to 1000000"
        ),
        (
            "log: {refused_per_second: \"5\"}",
            "m.yaml:1:27: log.refused_per_second: \"5\" is text because of its quotation marks; write 5"
        ),
        (
            "log: {refused_per_second: 99999999999999999999}",
            "m.yaml:1:27: log.refused_per_second: 99999999999999999999 is out of range; it must be from 0 to 1000000"
        ),
        ("log: {level: }", "m.yaml:1:14: log.level: is empty; give it a value, or remove the key for its default"),
        ("log: {level: [info]}", "m.yaml:1:14: log.level: is a list; a single value is needed here"),
        ("log: debug", "m.yaml:1:6: log: is a single value; a section of keys is needed here"),
        ("log: [debug]", "m.yaml:1:6: log: is a list; a section of keys is needed here"),
        ("log: {level: info, level: debug}", "m.yaml:1:20: log.level: is there twice, first in line 1; remove one"),
        ("procceses: {listeners: 2}", "m.yaml:1:1: procceses: unknown key; did you mean processes?"),
        ("processes: {listeners: 0}", "m.yaml:1:24: processes.listeners: 0 is out of range; it must be from 1 to 256"),
        ("link_users: martlet", "m.yaml:1:13: link_users: is a single value; a list is needed here, such as [a, b]"),
        ("link_users: [a b]", "m.yaml:1:14: link_users.0: \"a b\" is not a user name"),
        (
            "authentication: {source: radius}",
            "m.yaml:1:26: authentication.source: \"radius\" is not redis, certificate, embedded or none; did you mean redis?"
        ),
        (
            "authentication: {command: GET %u, sources: [{name: a}]}",
            "m.yaml:1:27: authentication.command: belongs into an element of sources, where there are sources"
        ),
        (
            "authentication: {sources: [{source: redis}]}",
            "m.yaml:1:28: authentication.sources.0.name: is missing; logs, the status and the cache tell sources apart by it"
        ),
        (
            "authentication: {sources: [{name: a}, {name: a}]}",
            "m.yaml:1:46: authentication.sources.1.name: another source is named \"a\" already; names must differ"
        ),
        (
            "authentication: {sources: []}",
            "m.yaml:1:27: authentication.sources: has 0 elements; there must be 1 to 16"
        ),
        (
            "authentication: {sources: [{name: a, listeners: []}]}",
            "m.yaml:1:49: authentication.sources.0.listeners: is empty; name listeners, or remove the key for all of them"
        ),
        (
            "authentication: {source: embedded, command: GET a:%C}",
            "m.yaml:1:45: authentication.command: is of source: redis, and means nothing to source: embedded; remove one of them"
        ),
        (
            "authentication: {sources: [{name: a, source: certificate, redis: {url: \"redis://h\"}}]}",
            "m.yaml:1:66: authentication.sources.0.redis: is of source: redis, and means nothing to source: certificate; remove one of them"
        ),
        (
            "authentication: {command: 'HMGET %C password salt', password_hash: {name: pbkdf2}}",
            "m.yaml:1:68: authentication.password_hash.iterations: is missing; write the number that the hashes were made with, there is no default"
        ),
        (
            "authentication: {command: 'HMGET %C password salt', password_hash: {name: pbkdf2, iterations: 0}}",
            "m.yaml:1:95: authentication.password_hash.iterations: 0 is out of range; it must be from 1 to 10000000"
        ),
        (
            "authentication: {sources: [{name: a, source: none}]}",
            "m.yaml:1:46: authentication.sources.0.source: is none, which has no place among sources"
        ),
        (
            "authentication: {sources: [{name: a, on_failure: deny}]}",
            "m.yaml:1:50: authentication.sources.0.on_failure: \"deny\" is not stop or next"
        ),
        (
            "authentication: {sources: [{name: a, listeners: [nowhere]}, {name: b}]}",
            "m.yaml:1:17: authentication: source \"a\" names listener \"nowhere\", which there is not"
        ),
        (
            "authentication: {redis: {sentinel: {servers: [a]}}}",
            "m.yaml:1:36: authentication.redis.sentinel.master: is missing; it is the name of the group in the Sentinels' configuration"
        ),
        (
            "authentication: {redis: {cluster: {servers: []}}}",
            "m.yaml:1:45: authentication.redis.cluster.servers: names none; write at least one, such as [10.0.0.7]"
        ),
        (
            "authentication: {redis: {cluster: {servers: [\"redis://a\"]}}}",
            "m.yaml:1:46: authentication.redis.cluster.servers.0: \"redis://a\" is no server; write host:port"
        ),
        (
            "authentication: {redis: {cluster: {servers: [a]}, database: 2}}",
            "m.yaml:1:61: authentication.redis.database: must be 0: a Redis Cluster has no other"
        ),
        (
            "authentication: {redis: {cluster: {servers: [a]}, sentinel: {servers: [a], master: m}}}",
            "m.yaml:1:35: authentication.redis.cluster: cannot stand beside sentinel; a Redis Cluster needs no Sentinel"
        ),
        (
            "authentication: {redis: {tls: {ca_file: a}}}",
            "m.yaml:1:31: authentication.redis.tls: has no effect with redis://; write rediss:// in url"
        ),
        (
            "authentication: {redis: {url: \"rediss://h\", tls: {certificate_file: a}}}",
            "m.yaml:1:50: authentication.redis.tls.key_file: and certificate_file belong together; name both or none"
        ),
        (
            "authentication: {redis: {user: a}}",
            "m.yaml:1:32: authentication.redis.user: is for sentinel and cluster; for one server it belongs into url"
        ),
        (
            "authentication: {source: embedded, key: '${x}'}",
            "m.yaml:1:41: authentication.key: there is no placeholder ${x}; there are \(Placeholder.listing), and ${$} is a dollar sign (at character 1)"
        ),
        (
            "authentication: {source: embedded, key: fixed}",
            "m.yaml:1:41: authentication.key: has no placeholder, so all devices would be one; such as \"%C\""
        ),
        (
            "authentication: {source: none}",
            "m.yaml:3:5: listeners.0.anonymous: authentication.source is none, so nobody could connect here; set source: redis, or anonymous: true"
        ),
        (
            "authentication: {password_hash: scrypt}",
            "m.yaml:1:33: authentication.password_hash: \"scrypt\" is no way to store passwords; there are "
                + PasswordHash.grammar
        ),
        (
            "authentication: {command: \"DEL tls_domain:%C\"}",
            "m.yaml:1:27: authentication.command: DEL is not among the commands that can be used: those that only read, "
                + "such as HGET, HMGET, GET"
        ),
        (
            "authentication: {command: \"HMGET tls_domain password\"}",
            "m.yaml:1:27: authentication.command: it has no placeholder, so all devices would share one password; "
                + "there are \(Placeholder.listing)"
        ),
        (
            "authentication: {command: 'HMGET \"a:%C password'}",
            "m.yaml:1:27: authentication.command: the quote has no end (at character 7)"
        ),
        (
            "authentication: {password_hash: \"salt,sha256\"}",
            "m.yaml:1:33: authentication.password_hash: is \"salt,sha256\", but "
                + "authentication.command asks for no salt: add the field that holds it, such as HMGET key password_hash salt"
        ),
        (
            "authentication: {command: HMGET}",
            "m.yaml:1:27: authentication.command: it names no key"
        ),
        (
            "authentication: {command: \"GET ${clientId}\"}",
            "m.yaml:1:27: authentication.command: there is no placeholder ${clientId}; there are \(Placeholder.listing), "
                + "and ${$} is a dollar sign (at character 5)"
        ),
        (
            "authentication: {redis: {url: localhost}}",
            "m.yaml:1:31: authentication.redis.url: \"localhost\" is not a Redis address; write redis://[user@]host:port[/database], rediss:// for TLS, or unix:///path[?db=n]"
        ),
        (
            "authentication: {redis: {url: \"redis://u@h\"}}",
            "m.yaml:1:31: authentication.redis.url: names a user, whose password is needed: put it into a file and name it in password_file"
        ),
        (
            "authentication: {redis: {query_timeout: 500}}",
            "m.yaml:1:41: authentication.redis.query_timeout: \"500\" has no unit; for seconds write 500s"
        ),
        (
            "authentication: {redis: {query_timeout: 5min}}",
            "m.yaml:1:41: authentication.redis.query_timeout: 5min is out of range; it must be from 1ms to 1min"
        ),
        (
            "authentication: {cache: {enabled: yes}}",
            "m.yaml:1:35: authentication.cache.enabled: \"yes\" is neither true nor false (without quotation marks)"
        ),
        (
            "authentication: {cache: {stale_max: 1min}}",
            "m.yaml:1:37: authentication.cache.stale_max: is shorter than positive_ttl; at least 5min is needed"
        ),
        (
            "mqtt: {max_packet_size: 1GiB}",
            "m.yaml:1:25: mqtt.max_packet_size: 1GiB is out of range; it must be from 256B to 268435460B"
        ),
        ("mqtt: {max_qos: 3}", "m.yaml:1:17: mqtt.max_qos: 3 is out of range; it must be from 0 to 2"),
        ("mqtt: {max_keep_alive: 1500ms}", "m.yaml:1:24: mqtt.max_keep_alive: 1500ms is not a whole number of seconds"),
        (
            "mqtt: {max_keep_alive: 20h}",
            "m.yaml:1:24: mqtt.max_keep_alive: 20h is out of range; it must be from 1s to 65535s"
        ),
        (
            "mqtt: {session: {max_expiry: 1d, version3_expiry: 2d}}",
            "m.yaml:1:51: mqtt.session.version3_expiry: is longer than max_expiry, 86400s"
        ),
        (
            "mqtt: {max_queued_bytes_total: 1MiB}",
            "m.yaml:1:32: mqtt.max_queued_bytes_total: is less than session.max_queued_bytes, what one session may queue; at least 16MiB is needed"
        ),
        (
            "flow_control: {link_credit: 1KiB}",
            "m.yaml:1:29: flow_control.link_credit: is less than session_credit; at least 256KiB is needed"
        ),
        ("a: &x 1", "m.yaml:1:4: anchors (&name) are not supported; write the value out where it is needed"),
        ("a: *x", "m.yaml:1:4: aliases (*name) are not supported; write the value out"),
        ("a: !!str 1", "m.yaml:1:4: tags (!name) are not supported; remove it"),
        ("a: 1\n---\nb: 2", "m.yaml:2:1: a second document begins here; write one only"),
        ("[a]: 1", "m.yaml:1:1: a list or section cannot be a key"),
        (
            "a: [1",
            "m.yaml:2:10: not valid YAML: while parsing a flow sequence (from line 1), did not find expected ',' or ']'"
        ),
        (
            "\tlog: {}",
            "m.yaml:1:1: not valid YAML: while scanning for the next token (from line 1), found character that cannot start any token"
        ),
    ])
    func oneMistake(text: String, line: String) {
        let mistakes = configurationMistakes(text + "\n" + smallestConfiguration)
        #expect(mistakes == [line])
    }

    @Test(
        "What is not closed at the end is named by the last line that says something",
        arguments: [
            ("log: {}\nlisteners: [\n\n", "2:12"), ("log: {}\nlisteners: [a,\n  b\n", "3:3"),
            ("listeners: [a]\nlog: {level: info\n", "2:14"), ("log: {", "1:6"),
        ]
    )
    func notClosed(text: String, place: String) {
        #expect(
            configurationMistakes(text) == ["m.yaml:\(place): not valid YAML: what begins or goes on here has no end"]
        )
    }

    /// Listeners in place of the smallest configuration's.
    @Test(arguments: [
        ("[]", "m.yaml:1:12: listeners: there is none; name at least one, with addresses and a tls section"),
        (
            "[{name: a, transport: tcp, anonymous: true, addresses: [\"127.0.0.1:1\"], proxy_protocol: {}}]",
            "m.yaml:1:100: listeners.0.proxy_protocol.trusted: is missing; name the load balancers, or remove proxy_protocol"
        ),
        ("[{tls: {}}]", "m.yaml:1:13: listeners.0.name: is missing; give the listener a name of your choice"),
        (
            "[{name: 1st, tls: {}}]",
            "m.yaml:1:20: listeners.0.name: \"1st\" is not a name; write up to 64 letters, digits, - and _, beginning with a letter"
        ),
        (
            "[{name: a}]",
            "m.yaml:1:13: listeners.0.tls: is missing; name certificate_file, key_file and client_ca_file in a tls section"
        ),
        (
            "[{name: a, tls: {}}, {name: a, addresses: [\"[::]:1\"], tls: {}}]",
            "m.yaml:1:40: listeners.1.name: another listener is named \"a\" already; names must differ"
        ),
        (
            "[{name: a, tls: {}}, {name: b, addresses: [\"1.2.3.4:8883\"], tls: {}}]",
            "m.yaml:1:54: listeners.1.addresses: 1.2.3.4:8883 (as [::]:8883) is taken by listener \"a\" already"
        ),
        (
            "[{name: a, addresses: [\"1.2.3.4:1\", \"1.2.3.4:1\"], tls: {}}]",
            "m.yaml:1:48: listeners.0.addresses.1: 1.2.3.4:1 is there twice; remove it"
        ),
        (
            "[{name: a, addresses: [], tls: {}}]",
            "m.yaml:1:34: listeners.0.addresses: from 1 to 64 addresses are needed, such as [\"[::]:8883\"]"
        ),
        (
            "[{name: a, addresses: [localhost:1], tls: {}}]",
            "m.yaml:1:35: listeners.0.addresses.0: \"localhost:1\" is a name; write 127.0.0.1:1, \"[::1]:1\" or both"
        ),
        (
            "[{name: a, transport: tcp, anonymous: true, addresses: [\"0.0.0.0:1883\"]}]",
            "m.yaml:1:67: listeners.0.addresses: 0.0.0.0:1883 would be open to the network without encryption; listen on 127.0.0.1 or [::1], use transport: tls, or set allow_insecure_network: true"
        ),
        (
            "[{name: a, transport: tcp, anonymous: true}]",
            "m.yaml:1:34: listeners.0.transport: [::]:8883 would be open to the network without encryption; listen on 127.0.0.1 or [::1], use transport: tls, or set allow_insecure_network: true"
        ),
        (
            "[{name: a, transport: tcp, anonymous: true, addresses: [\"127.0.0.1:1\"], tls: {}}]",
            "m.yaml:1:89: listeners.0.tls: has no use with transport: tcp; remove the section or write transport: tls"
        ),
        (
            "[{name: a, transport: tcp, anonymous: true, addresses: [\"127.0.0.1:1\"], client_certificate: optional}]",
            "m.yaml:1:104: listeners.0.client_certificate: a listener with transport: tcp sees no certificates; remove it"
        ),
        (
            "[{name: a, client_certificate: none, tls: {}}]",
            "m.yaml:1:43: listeners.0.client_certificate: is none, but authentication.command holds %C, so nobody could connect here; ask for a certificate, or use %u or %c in the command"
        ),
        (
            "[{name: a, client_certificate: none, anonymous: true, user_name_from: cn, tls: {}}]",
            "m.yaml:1:82: listeners.0.user_name_from: is cn, but no certificate is asked for here; write client"
        ),
        (
            "[{name: a, rules: office, tls: {}}]",
            "m.yaml:1:30: listeners.0.rules: authorization.rules has no set named \"office\"; there are: default"
        ),
        (
            "[{name: a, tls: {min_version: \"1.3\", max_version: \"1.2\"}}]",
            "m.yaml:1:42: listeners.0.tls.min_version: min_version 1.3 is above max_version 1.2"
        ),
        (
            "[{name: a, tls: {min_version: 1.1}}]",
            "m.yaml:1:42: listeners.0.tls.min_version: \"1.1\" is not 1.2 or 1.3; did you mean 1.2?"
        ),
        (
            "[{name: a, tls: {ciphers: \"A B\"}}]",
            "m.yaml:1:38: listeners.0.tls.ciphers: is not a list of OpenSSL's names, separated by colons"
        ),
        (
            "[{name: a, tls: {verify_depth: 101}}]",
            "m.yaml:1:43: listeners.0.tls.verify_depth: 101 is out of range; it must be from 0 to 100"
        ),
        (
            "[{name: a, handshake_timeout: 0s, tls: {}}]",
            "m.yaml:1:42: listeners.0.handshake_timeout: 0s is out of range; it must be from 10ms to 1h"
        ),
        (
            "[{name: a, handshake_timout: 5s, tls: {}}]",
            "m.yaml:1:23: listeners.0.handshake_timout: unknown key; did you mean handshake_timeout?"
        ),
    ])
    func listenerMistake(listeners: String, line: String) {
        let text = "listeners: \(listeners)\nauthorization: {rules: {default: []}}\n"
        #expect(configurationMistakes(text) == [line])
    }

    @Test(arguments: [
        ("http://", "names no host"), ("http:///a.crl", "names no host"), ("https://:80/", "names no host"),
        ("https://[::1/a", "names no host"),
        ("http://h:99999/a.crl", "has a port that is not a number from 1 to 65535"),
        ("http://h:0", "has a port that is not a number from 1 to 65535"),
        ("http://[::1]:x/", "has a port that is not a number from 1 to 65535"),
        ("https://user:secret@h/a.crl", "has a user or password before @, which are not sent; leave them out"),
        ("http://h/ä", "has blanks, control characters or letters beyond ASCII; write them as % and two digits"),
        ("ldap://h/a.crl", "is no http:// or https:// address"), ("http://[::1]:80/a.crl?b#c", nil), ("https://h", nil),
        ("http://h/a@b", nil),
    ])
    func `regression: addresses that no list can be fetched from are refused`(_ url: String, _ reason: String?) {
        let text = "listeners: [{name: a, tls: {crl_directory: d, crl_urls: [\"\(url)\"]}}]\n"
        let mistakes = configurationMistakes(text + "authorization: {rules: {default: []}}\n")
        #expect(mistakes == (reason.map { ["m.yaml:1:58: listeners.0.tls.crl_urls.0: \($0)"] } ?? []))
    }

    /// Rules in place of the smallest configuration's.
    @Test(arguments: [
        (
            "{}",
            "m.yaml:1:16: authorization.rules: is missing; there is no default: say what clients may do, see docs/configuration.md"
        ),
        (
            "{rules: {default: [{topics: [a]}]}}",
            "m.yaml:1:35: authorization.rules.default.0: has neither allow nor deny; one of them is needed, with publish, subscribe or all"
        ),
        (
            "{rules: {default: [{allow: all, deny: all, topics: [a]}]}}",
            "m.yaml:1:35: authorization.rules.default.0: has both allow and deny; one of them is needed, with publish, subscribe or all"
        ),
        (
            "{rules: {default: [{allow: read, topics: [a]}]}}",
            "m.yaml:1:43: authorization.rules.default.0.allow: \"read\" is not publish, subscribe or all"
        ),
        (
            "{rules: {default: [{allow: all}]}}",
            "m.yaml:1:35: authorization.rules.default.0.topics: is missing; write topic filters, such as [\"devices/%C/#\"]"
        ),
        (
            "{rules: {default: [{allow: all, topics: []}]}}",
            "m.yaml:1:56: authorization.rules.default.0.topics: names none; write topic filters, such as [\"devices/%C/#\"]"
        ),
        (
            "{rules: {default: [{allow: all, topics: [\"a/#/b\"]}]}}",
            "m.yaml:1:57: authorization.rules.default.0.topics.0: \"a/#/b\": # must be the last level, alone, as in a/b/#"
        ),
        (
            "{rules: {default: [{allow: all, topics: [\"a+/b\"]}]}}",
            "m.yaml:1:57: authorization.rules.default.0.topics.0: \"a+/b\": + must be a whole level, as in a/+/b"
        ),
        (
            "{rules: {default: [{allow: all, topics: [\"$share/g/a\"]}]}}",
            "m.yaml:1:57: authorization.rules.default.0.topics.0: \"$share/g/a\": write the filter without $share/GROUP/; rules apply to shared subscriptions too"
        ),
        (
            "{rules: {default: [{allow: all, topics: [\"${cn}/a\"]}]}}",
            "m.yaml:1:57: authorization.rules.default.0.topics.0: \"${cn}/a\": there is no placeholder ${cn}; there are \(Placeholder.listing), "
                + "and ${$} is a dollar sign"
        ),
        (
            "{rules: {default: [{allow: all, topics: [a], qos: [3]}]}}",
            "m.yaml:1:67: authorization.rules.default.0.qos.0: \"3\" is not 0, 1 or 2"
        ),
        (
            "{rules: {default: [{allow: all, topics: [a], qos: []}]}}",
            "m.yaml:1:66: authorization.rules.default.0.qos: names none; write some of 0, 1 and 2, or remove the key"
        ),
        (
            "{rules: {default: [{allow: subscribe, topics: [a], retain: true}]}}",
            "m.yaml:1:75: authorization.rules.default.0.retain: is looked at for publish only; remove it"
        ),
        (
            "{rules: {default: [], \"x y\": []}}",
            "m.yaml:1:38: authorization.rules: \"x y\" is not a name; write up to 64 letters, digits, - and _, beginning with a letter"
        ),
        (
            "{no_match: refuse, rules: {default: []}}",
            "m.yaml:1:27: authorization.no_match: \"refuse\" is not deny or allow"
        ),
    ])
    func ruleMistake(authorization: String, line: String) {
        let text = "authorization: \(authorization)\nlisteners: [{name: a, tls: {}}]\n"
        let mistakes = configurationMistakes(text).filter { !$0.contains("has no set named") }
        #expect(mistakes == [line])
    }

    @Test func allMistakesAtOnceInTheOrderOfTheFile() {
        let text = """
            log: {level: loud}
            listeners:
              - name: devices
                max_connections: none
                tls: {min_version: "1.1"}
            authorization:
              rules: {default: []}
            mqtt:
              max_qoss: 1
            """
        #expect(
            configurationMistakes(text) == [
                "m.yaml:1:14: log.level: \"loud\" is not trace, debug, info, notice, warning, error or critical",
                "m.yaml:4:22: listeners.0.max_connections: \"none\" is not a whole number from 1 to 10000000",
                "m.yaml:5:24: listeners.0.tls.min_version: \"1.1\" is not 1.2 or 1.3; did you mean 1.2?",
                "m.yaml:9:3: mqtt.max_qoss: unknown key; did you mean max_qos?",
            ]
        )
    }

    @Test func anEmptyFileSaysWhatIsMissing() {
        #expect(
            configurationMistakes("") == [
                "m.yaml:1:1: listeners: there is none; name at least one, with addresses and a tls section",
                "m.yaml:1:1: authorization.rules: is missing; there is no default: say what clients may do, see docs/configuration.md",
            ]
        )
    }

    @Test func aRuntimeDirectoryTooLongForSockets() {
        let directory = "/" + String(repeating: "d", count: 79)
        let mistakes = configurationMistakes("runtime_directory: \(directory)\n" + smallestConfiguration)
        let reason = "has 80 bytes; for the paths of Unix sockets below it, at most 79 are possible"
        #expect(mistakes == ["m.yaml:1:20: runtime_directory: \(reason)"])
        #expect(configurationMistakes("runtime_directory: \(directory.dropLast())\n" + smallestConfiguration) == [])
    }

    @Test func textThatIsNotUTF8() {
        let bytes = Array("log:\n  level: ".utf8) + [0xC3, 0x28] + Array("\n".utf8)
        let error = #expect(throws: ConfigurationError.self) {
            try Configuration.parse(bytes, file: "m.yaml", baseDirectory: "/")
        }
        #expect(error?.lines == ["m.yaml:2:11: not UTF-8 text: invalid trailing UTF-8 octet"])
    }

    @Test func textInUTF16() {
        let bytes: [UInt8] = [0xFF, 0xFE] + "log: {}\n".utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        let error = #expect(throws: ConfigurationError.self) {
            try Configuration.parse(bytes, file: "m.yaml", baseDirectory: "/")
        }
        #expect(error?.lines == ["m.yaml:1:1: not UTF-8 text: invalid leading UTF-8 octet"])
    }

    @Test func deepNestingIsRefusedQuickly() {
        let flow = String(repeating: "[", count: 500_000)
        #expect(configurationMistakes(flow) == ["m.yaml:1:34: nested deeper than 32 levels"])
        let block = String(repeating: "- ", count: 100_000)
        #expect(configurationMistakes(block) == ["m.yaml:1:67: nested deeper than 32 levels"])
    }

    @Test func aBombOfAliasesIsRefused() {
        var text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for (previous, next) in zip("abcdefgh", "bcdefghi") {
            text += "\(next): &\(next) [" + Array(repeating: "*\(previous)", count: 9).joined(separator: ",") + "]\n"
        }
        #expect(configurationMistakes(text).count == 1)
    }

    @Test func filesThatCannotBeRead() throws {
        let directory = try TemporaryDirectory()
        let missing = directory.file("none.yaml")
        #expect(
            throws: ConfigurationError(
                file: missing,
                problems: [.init(origin: nil, key: "", message: "not readable: No such file or directory")]
            )
        ) { try Configuration.load(file: missing, environment: [:]) }
        let error = #expect(throws: ConfigurationError.self) {
            try Configuration.load(file: directory.path, environment: [:])
        }
        #expect(error?.description == "\(directory.path): not readable: not a regular file")
        let device = #expect(throws: ConfigurationError.self) {
            try Configuration.load(file: "/dev/zero", environment: [:])
        }
        #expect(device?.description == "/dev/zero: not readable: not a regular file")
    }

    @Test func controlCharactersDoNotReachTheTerminal() {
        let mistakes = configurationMistakes("log: {level: \"\\e[31mred\"}\n" + smallestConfiguration)
        #expect(mistakes.count == 1)
        #expect(mistakes.allSatisfy { line in line.utf8.allSatisfy { $0 >= 0x20 } })
    }

    /// A second one spoke of `plain`, or of a command, that nobody had written.
    @Test(arguments: [
        ("{command: 'HMGET k:%C password salt', password_hash: sha1}", "authentication.password_hash"),
        ("{command: 'HMGET k:%C password salt', password_hash: [plain]}", "authentication.password_hash"),
        ("{command: 'HMGET k:%C password salt', password_hash: {}}", "authentication.password_hash.name"),
        ("{command: 'EXISTS k:%C', password_hash: nothing}", "authentication.password_hash"),
        ("{sources: []}", "authentication.sources"),
    ])
    func `regression: one mistake has no messages about what stands in for it`(_ section: String, _ key: String) {
        let text = """
            listeners: [{name: a, transport: tcp, addresses: ["127.0.0.1:1883"]}]
            authentication: \(section)
            authorization: {rules: {default: []}}
            """
        do throws(ConfigurationError) {
            _ = try Configuration.parse(Array(text.utf8), file: "m.yaml", baseDirectory: "/base")
            Issue.record("taken for good")
        } catch {
            #expect(error.problems.map(\.key) == [key], "\(error.problems)")
        }
    }
}
