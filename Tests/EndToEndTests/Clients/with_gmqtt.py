"""gmqtt."""

import asyncio
import contextlib
import ssl

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

import scenarios


class Client:
    def __init__(self, arguments, name, clean=True, expiry=0, will=None):
        self.arguments = arguments
        self.is_version5 = arguments.protocol == 5
        options = {"session_expiry_interval": expiry} if self.is_version5 else {}
        if will:
            topic, payload, qos = will
            options["will_message"] = gmqtt.Message(topic, payload, qos=qos)
        self.client = gmqtt.Client(name, clean_session=clean, **options)
        self.client.set_config({"reconnect_retries": 0})
        self.client.set_auth_credentials("owner", arguments.password)
        self.messages, self.subscribed, self.connected, self.ended = (asyncio.Queue() for _ in range(4))
        self.client.on_connect = lambda c, flags, code, properties: self.connected.put_nowait((flags, code))
        self.client.on_subscribe = lambda c, mid, codes, properties: self.subscribed.put_nowait(codes)
        self.client.on_disconnect = lambda c, packet, error=None: self.ended.put_nowait(error)
        self.client.on_message = self.on_message

    def on_message(self, client, topic, payload, qos, properties):
        self.messages.put_nowait(
            scenarios.Message(
                topic,
                bytes(payload),
                qos,
                bool(properties.get("retain")),
                (properties.get("response_topic") or [None])[0],
                (properties.get("correlation_data") or [None])[0],
            )
        )
        return 0

    async def connect(self):
        version = MQTTv50 if self.is_version5 else MQTTv311
        await self.client.connect("localhost", self.arguments.port, ssl=self.arguments.tls(), version=version)
        flags, code = await self.connected.get()
        assert code == 0, code
        return bool(flags & 1)

    async def subscribe(self, topic, qos):
        self.client.subscribe(gmqtt.Subscription(topic, qos=qos))
        codes = await self.subscribed.get()
        assert list(codes) == [qos], codes

    async def publish(self, topic, payload, qos=0, retain=False, response_topic=None, correlation=None):
        properties = {}
        if response_topic:
            properties["response_topic"] = response_topic
        if correlation:
            properties["correlation_data"] = correlation
        self.client.publish(topic, payload, qos=qos, retain=retain, **properties)

    async def message(self):
        return await self.messages.get()

    async def disconnect(self):
        # The library takes no notice of PUBCOMP, so one may cross its goodbye, which Python's TLS complains of.
        with contextlib.suppress(ssl.SSLError):
            await self.client.disconnect()

    def kill(self):
        self.client._connection._transport.abort()


scenarios.main(Client)
