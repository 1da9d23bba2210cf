import Common
import Glibc
import TestSupport
import Testing

/// mosquitto's and paho's clients, over mutual TLS, as a device owner would use them.
@Suite struct RealClientTests {
    private static let device = "346a004d-1dab-4016-bb38-03cca7094415"

    @Test(arguments: ["mqttv31", "mqttv311", "mqttv5"])
    func `mosquitto_pub reaches mosquitto_sub at every QoS`(version: String) throws {
        let setup = try MosquittoClients(device: Self.device)
        for qos in 0...2 {
            let topic = "devices/\(Self.device)/qos\(qos)"
            let received = setup.broker.directory.file("received")
            let subscriber = try setup.subscribe(
                ["-V", version, "-t", topic, "-q", "\(qos)", "-C", "1", "-F", "payload=%p qos=%q end"],
                output: received
            )
            let (status, output) = try runProcess(
                "mosquitto_pub",
                arguments: setup.options + ["-V", version, "-t", topic, "-q", "\(qos)", "-m", "hello \(qos)"]
            )
            #expect(status == 0, "\(output)")
            #expect(try subscriber.waitForExit() == 0)
            #expect(String(decoding: try readFile(received), as: UTF8.self) == "payload=hello \(qos) qos=\(qos) end\n")
            try setup.waitForSubscriptions(0)
        }
    }

    @Test(arguments: [1, 1000, 65_536, 1 << 20])
    func `payloads from one byte to a mebibyte arrive unchanged`(bytes: Int) throws {
        let setup = try MosquittoClients(device: Self.device)
        let payload = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let file = setup.broker.directory.file("payload")
        let received = setup.broker.directory.file("received")
        try writeFile(file, payload)
        for qos in 0...2 {
            let topic = "devices/\(Self.device)/size"
            let subscriber = try setup.subscribe(
                ["-V", "mqttv5", "-t", topic, "-q", "\(qos)", "-C", "1", "-N"],
                output: received
            )
            let (status, output) = try runProcess(
                "mosquitto_pub",
                arguments: setup.options + ["-V", "mqttv5", "-t", topic, "-q", "\(qos)", "-f", file]
            )
            #expect(status == 0, "\(output)")
            #expect(try subscriber.waitForExit() == 0)
            #expect(try readFile(received) == payload, "QoS \(qos), \(bytes) bytes")
            try setup.waitForSubscriptions(0)
        }
    }

    @Test(arguments: ["3.1.1", "5"])
    func `paho-mqtt connects, subscribes and gets what it publishes`(version: String) throws {
        let setup = try MosquittoClients(device: Self.device)
        let credentials = try setup.broker.pki.device(Self.device)
        let script = """
            import sys, threading, paho.mqtt.client as mqtt
            port, ca, cert, key, device, version = sys.argv[1:7]
            v5 = version == "5"
            client = mqtt.Client(client_id="paho", protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311)
            client.tls_set(ca, cert, key)
            client.username_pw_set("x", "public")
            got, done = [], threading.Event()
            def on_connect(c, u, flags, rc, properties=None):
                print("connack", int(rc.value) if v5 else rc, flush=True)
                c.subscribe([(f"devices/{device}/#", 2)])
            def on_subscribe(c, u, mid, granted, properties=None):
                for qos in (0, 1, 2):
                    c.publish(f"devices/{device}/{qos}", b"x" * (qos + 1) * 1000, qos=qos)
            def on_message(c, u, m):
                got.append((m.topic[-1], m.qos, len(m.payload)))
                if len(got) == 3: done.set()
            client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
            client.connect("localhost", int(port))
            client.loop_start()
            ok = done.wait(30)
            client.disconnect()
            client.loop_stop()
            print("got", sorted(got), flush=True)
            sys.exit(0 if ok else 1)
            """
        let (status, output) = try runProcess(
            "/usr/bin/python3",
            arguments: [
                "-c", script, "\(setup.broker.tlsPort)", setup.broker.pki.caFile, credentials.certificateFile,
                credentials.keyFile, Self.device, version,
            ]
        )
        #expect(status == 0, "\(output)")
        #expect(output.contains("connack 0\n"), "\(output)")
        #expect(output.contains("got [('0', 0, 1000), ('1', 1, 2000), ('2', 2, 3000)]"), "\(output)")
    }
}
