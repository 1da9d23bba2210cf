"""aiomqtt."""

import socket

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import scenarios

PROTOCOLS = {3: aiomqtt.ProtocolVersion.V31, 4: aiomqtt.ProtocolVersion.V311, 5: aiomqtt.ProtocolVersion.V5}


class Client:
    def __init__(self, arguments, name, clean=True, expiry=0, will=None):
        self.is_version5 = arguments.protocol == 5
        options = {}
        if self.is_version5:
            options["clean_start"] = clean
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = expiry
        else:
            options["clean_session"] = clean
        if will:
            topic, payload, qos = will
            options["will"] = aiomqtt.Will(topic, payload, qos)
        self.client = aiomqtt.Client(
            "localhost",
            arguments.port,
            username="owner",
            password=arguments.password,
            identifier=name,
            protocol=PROTOCOLS[arguments.protocol],
            tls_context=arguments.tls(),
            **options,
        )

    async def connect(self):
        await self.client.__aenter__()
        # The library does not tell whether the broker knew the session.
        return None

    async def subscribe(self, topic, qos):
        codes = await self.client.subscribe(topic, qos)
        assert int(getattr(codes[0], "value", codes[0])) == qos, codes

    async def publish(self, topic, payload, qos=0, retain=False, response_topic=None, correlation=None):
        properties = None
        if response_topic or correlation:
            properties = Properties(PacketTypes.PUBLISH)
            if response_topic:
                properties.ResponseTopic = response_topic
            if correlation:
                properties.CorrelationData = correlation
        await self.client.publish(topic, payload, qos=qos, retain=retain, properties=properties)

    async def message(self):
        m = await anext(aiter(self.client.messages))
        p = m.properties
        return scenarios.Message(
            str(m.topic),
            m.payload,
            m.qos,
            m.retain,
            getattr(p, "ResponseTopic", None),
            getattr(p, "CorrelationData", None),
        )

    async def disconnect(self):
        await self.client.__aexit__(None, None, None)

    def kill(self):
        self.client._client.socket().shutdown(socket.SHUT_RDWR)


scenarios.main(Client)
