"""paho-mqtt 1.x (Debian's) and 2.x."""

import asyncio
import os
import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import scenarios

PROTOCOLS = {3: mqtt.MQTTv31, 4: mqtt.MQTTv311, 5: mqtt.MQTTv5}


class Client:
    def __init__(self, arguments, name, clean=True, expiry=0, will=None):
        self.arguments, self.clean, self.expiry = arguments, clean, expiry
        self.is_version5 = arguments.protocol == 5
        options = {"client_id": name, "protocol": PROTOCOLS[arguments.protocol]}
        if not self.is_version5:
            options["clean_session"] = clean
        if hasattr(mqtt, "CallbackAPIVersion"):
            options["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.client = mqtt.Client(**options)
        self.client.tls_set_context(arguments.tls())
        self.client.username_pw_set("owner", arguments.password)
        if will:
            topic, payload, qos = will
            self.client.will_set(topic, payload, qos)
        self.messages = queue.Queue()
        self.answers = queue.Queue()
        self.client.on_connect = lambda c, u, flags, code, p=None: self.answers.put((flags, code))
        self.client.on_subscribe = lambda c, u, mid, codes, p=None: self.answers.put(codes)
        self.client.on_disconnect = lambda c, u, code, p=None: self.answers.put("disconnected")
        self.client.on_message = lambda c, u, message: self.messages.put(message)

    async def take(self, source):
        while source.empty():
            await asyncio.sleep(0.005)
        return source.get()

    async def connect(self):
        options = {}
        if self.is_version5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.expiry
            options = {"clean_start": self.clean, "properties": properties}
        self.client.connect("localhost", self.arguments.port, **options)
        self.client.loop_start()
        flags, code = await self.take(self.answers)
        assert int(getattr(code, "value", code)) == 0, code
        return bool(flags["session present"]) if self.arguments.protocol != 3 else None

    async def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        codes = await self.take(self.answers)
        assert int(getattr(codes[0], "value", codes[0])) == qos, codes

    async def publish(self, topic, payload, qos=0, retain=False, response_topic=None, correlation=None):
        options = {}
        if response_topic or correlation:
            options["properties"] = Properties(PacketTypes.PUBLISH)
            if response_topic:
                options["properties"].ResponseTopic = response_topic
            if correlation:
                options["properties"].CorrelationData = correlation
        info = self.client.publish(topic, payload, qos=qos, retain=retain, **options)
        await asyncio.to_thread(info.wait_for_publish, 30)
        assert info.is_published()

    async def message(self):
        m = await self.take(self.messages)
        p = getattr(m, "properties", None)
        return scenarios.Message(
            m.topic,
            m.payload,
            m.qos,
            bool(m.retain),
            getattr(p, "ResponseTopic", None),
            getattr(p, "CorrelationData", None),
        )

    async def disconnect(self):
        self.client.disconnect()
        while await self.take(self.answers) != "disconnected":
            pass
        self.client.loop_stop()

    def kill(self):
        # Neither DISCONNECT nor a TLS goodbye, and no new attempt.
        self.client.on_disconnect = None
        self.client.reconnect_delay_set(1000, 1000)
        self.client.socket().shutdown(socket.SHUT_RDWR)


scenarios.main(Client)
# Threads of killed clients wait for a new attempt.
os._exit(0)
