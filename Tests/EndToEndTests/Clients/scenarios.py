"""What a device owner's program does with a broker, for any client library: each with_*.py gives it a Client.

Arguments: PROTOCOL (3, 4 or 5) PORT CA CERTIFICATE KEY DEVICE PASSWORD. Prints "ok NAME" for each scenario that went well, and
ends with a traceback at the first that did not.
"""

import asyncio
import ssl
import sys
import uuid
from dataclasses import dataclass


@dataclass
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    response_topic: str = None
    correlation: bytes = None


class Arguments:
    def __init__(self, arguments):
        protocol, port, self.ca, self.certificate, self.key, self.device, self.password = arguments
        self.protocol = int(protocol)
        self.port = int(port)

    def tls(self):
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Scenarios:
    def __init__(self, client_class, arguments):
        self.make = lambda *a, **k: client_class(arguments, *a, **k)
        self.is_version5 = arguments.protocol == 5
        self.prefix = f"devices/{arguments.device}/{uuid.uuid4().hex[:8]}"

    def name(self):
        return "c" + uuid.uuid4().hex[:12]

    async def connected(self, **options):
        client = self.make(self.name(), **options)
        await client.connect()
        return client

    async def round_trip(self):
        client = await self.connected()
        await client.subscribe(f"{self.prefix}/round/#", 2)
        for qos in (0, 1, 2):
            await client.publish(f"{self.prefix}/round/{qos}", b"hello %d" % qos, qos=qos)
            message = await client.message()
            assert (message.topic, message.payload) == (f"{self.prefix}/round/{qos}", b"hello %d" % qos), message
            assert message.qos == qos and not message.retain, message
        await client.disconnect()

    async def retained(self):
        client = await self.connected()
        await client.publish(f"{self.prefix}/kept", b"kept", qos=1, retain=True)
        await client.subscribe(f"{self.prefix}/kept", 1)
        message = await client.message()
        # It may come as it is published, too: then it is not marked.
        if not message.retain:
            message = await client.message()
        assert message.payload == b"kept" and message.retain, message
        await client.disconnect()

    async def will(self):
        watcher = await self.connected()
        await watcher.subscribe(f"{self.prefix}/will", 1)
        victim = await self.connected(will=(f"{self.prefix}/will", b"gone", 1))
        victim.kill()
        message = await watcher.message()
        assert message.payload == b"gone" and message.qos == 1, message
        polite = await self.connected(will=(f"{self.prefix}/will", b"never", 1))
        await polite.disconnect()
        await watcher.publish(f"{self.prefix}/will", b"last", qos=1)
        message = await watcher.message()
        assert message.payload == b"last", message
        await watcher.disconnect()

    async def session(self):
        name = self.name()
        publisher = await self.connected()
        first = self.make(name, clean=False, expiry=600)
        assert await first.connect() in (False, None)
        await first.subscribe(f"{self.prefix}/session/#", 2)
        await first.disconnect()
        for number in range(5):
            await publisher.publish(f"{self.prefix}/session/{number}", b"%d" % number, qos=1 + number % 2)
        # What the broker has answered this for, it has.
        await publisher.subscribe(f"{self.prefix}/other", 0)
        second = self.make(name, clean=False, expiry=600)
        assert await second.connect() in (True, None)
        # Some libraries show a QoS 2 message only when its handshake is over, behind later ones of QoS 1.
        got = sorted([await second.message() for _ in range(5)], key=lambda m: m.payload)
        assert [(m.payload, m.qos) for m in got] == [(b"%d" % n, 1 + n % 2) for n in range(5)], got
        await second.disconnect()
        third = self.make(name, clean=True)
        assert await third.connect() in (False, None)
        await third.disconnect()
        await publisher.disconnect()

    async def shared(self):
        members = [await self.connected(), await self.connected()]
        for member in members:
            await member.subscribe(f"$share/group/{self.prefix}/shared", 1)
        publisher = await self.connected()
        for number in range(10):
            await publisher.publish(f"{self.prefix}/shared", b"%d" % number, qos=1)
        got = []

        async def gather(member):
            while True:
                got.append(int((await member.message()).payload))

        tasks = [asyncio.create_task(gather(member)) for member in members]
        while len(got) < 10:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        assert sorted(got) == list(range(10)), got
        for client in members + [publisher]:
            await client.disconnect()

    async def large(self):
        client = await self.connected()
        await client.subscribe(f"{self.prefix}/large", 2)
        payload = bytes(n * 31 % 251 for n in range(4096)) * 240
        for qos in (0, 1, 2):
            await client.publish(f"{self.prefix}/large", payload, qos=qos)
            message = await client.message()
            assert message.payload == payload and message.qos == qos, len(message.payload)
        await client.disconnect()

    async def request(self):
        server = await self.connected()
        await server.subscribe(f"{self.prefix}/request", 1)
        client = await self.connected()
        await client.subscribe(f"{self.prefix}/response", 1)
        await client.publish(
            f"{self.prefix}/request",
            b"2+2",
            qos=1,
            response_topic=f"{self.prefix}/response",
            correlation=b"\x00\x01",
        )
        question = await server.message()
        assert question.response_topic == f"{self.prefix}/response", question
        await server.publish(question.response_topic, b"4", qos=1, correlation=question.correlation)
        answer = await client.message()
        assert (answer.payload, answer.correlation) == (b"4", b"\x00\x01"), answer
        await client.disconnect()
        await server.disconnect()

    async def run(self):
        names = ["round_trip", "retained", "will", "session", "shared", "large"]
        if self.is_version5:
            names.append("request")
        for name in names:
            await asyncio.wait_for(getattr(self, name)(), 60)
            print("ok", name, flush=True)


def main(client_class):
    asyncio.run(Scenarios(client_class, Arguments(sys.argv[1:8])).run())
