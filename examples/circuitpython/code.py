"""A button and a lamp on a board with CircuitPython and Wi-Fi, such as a Pico W or an ESP32-S3.

Copy this file and settings.toml to the CIRCUITPY drive, and the MQTT client of the Adafruit bundle:

    circup install adafruit_minimqtt

It makes a key of its own, shows the pairing code on the serial line, sends heartbeats, answers invocations, and comes back
after every loss.
"""

import binascii
import json
import os
import random
import time

import adafruit_minimqtt.adafruit_minimqtt as minimqtt
import microcontroller
import socketpool
import wifi

KEEPALIVE = 60
REJECTED_PAUSE = 300
REMEMBERED = 16
KEY_BYTES = 16

NODE_ID = os.getenv("LIMB_NODE_ID")
lamp = {"on": False}


def set_lamp(params):
    """What it returns is the result; what it raises is the error that the caller reads."""
    if not isinstance(params.get("on"), bool):
        raise ValueError("on must be true or false")
    lamp["on"] = params["on"]
    return lamp


COMMANDS = {"lamp.set": set_lamp}

REGISTRATION = {
    "displayName": "Lamp",
    "platform": "circuitpython",
    "firmware": "1.0.0",
    # Small boards have small buffers: the answer then leaves out what the board knows itself.
    "brief": True,
    "capabilities": [
        {
            "cap": "lamp",
            "authLevel": "free",
            "commands": [
                {
                    "name": "lamp.set",
                    "idempotent": True,
                    "input": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
                }
            ],
        }
    ],
    "properties": [{"name": "on", "topic": "data/lamp", "pointer": "/on", "type": "boolean"}],
}


def load_key():
    """The key is in the board's own memory: its drive belongs to the computer on the USB cable. Its length comes first."""
    length = microcontroller.nvm[0]
    if not 20 <= length < 255:
        save_key(binascii.hexlify(os.urandom(KEY_BYTES)).decode())
        return load_key()
    return bytes(microcontroller.nvm[1 : 1 + length]).decode()


def save_key(key):
    data = key.encode()
    microcontroller.nvm[0 : 1 + len(data)] = bytes([len(data)]) + data


class Rejected(Exception):
    pass


class Limb:
    def __init__(self, pool):
        self.pool = pool
        self.inbox = []
        self.done = []
        self.approved = False
        self.heartbeat_seconds = 15

    def topic(self, leaf):
        return "limb/node/" + NODE_ID + "/" + leaf

    def connect(self):
        self.approved = False
        self.inbox = []
        self.mqtt = minimqtt.MQTT(
            broker=os.getenv("LIMB_BRIDGE"),
            port=int(os.getenv("LIMB_PORT") or 1883),
            client_id=NODE_ID,
            username=NODE_ID,
            password=load_key(),
            keep_alive=KEEPALIVE,
            socket_pool=self.pool,
            # The pauses between two tries are made below.
            connect_retries=1,
        )
        # What comes is looked at later: a publish at QoS 1 must not begin within another one.
        self.mqtt.on_message = lambda client, topic, text: self.inbox.append((topic, text))
        self.mqtt.connect()
        self.mqtt.subscribe(self.topic("pairing"), 1)
        self.mqtt.subscribe(self.topic("invoke"), 1)
        self.send("register", REGISTRATION)

    def close(self):
        try:
            self.mqtt.disconnect()
        except Exception:
            pass

    def send(self, leaf, value):
        self.mqtt.publish(self.topic(leaf), json.dumps(value), qos=1)

    def heartbeat(self):
        self.send("heartbeat", {"metrics": {"uptime_seconds": int(time.monotonic())}})
        self.mqtt.publish(self.topic("data/lamp"), json.dumps(lamp), retain=True)

    def run(self):
        """Returns never; raises when the connection is lost. The client pings by itself."""
        sent = time.monotonic()
        while True:
            self.mqtt.loop(timeout=1)
            while self.inbox:
                topic, text = self.inbox.pop(0)
                message = json.loads(text)
                if topic == self.topic("invoke"):
                    self.invoked(message)
                elif self.answered(message):
                    self.heartbeat()
                    sent = time.monotonic()
            if self.approved and time.monotonic() - sent >= self.heartbeat_seconds:
                self.heartbeat()
                sent = time.monotonic()

    def answered(self, answer):
        """Returns whether the board is approved."""
        status = answer["status"]
        if "apiKey" in answer:
            save_key(answer["apiKey"])
        if status == "pending":
            print("code", answer["code"], "- waiting for an operator to approve it")
        elif status == "rejected":
            raise Rejected()
        elif status == "error":
            print("refused:", answer["error"]["message"])
        else:
            self.approved = True
            self.heartbeat_seconds = answer["heartbeatSeconds"]
            print("approved")
        return status == "approved"

    def invoked(self, invocation):
        # At QoS 1 an invocation can come twice; it is done once.
        if invocation["invocationId"] in self.done:
            return
        self.done = self.done[-REMEMBERED:] + [invocation["invocationId"]]
        result = {"invocationId": invocation["invocationId"]}
        try:
            result["data"] = COMMANDS[invocation["command"]](invocation.get("params") or {})
            result["success"] = True
        except Exception as error:
            result["success"] = False
            result["error"] = str(error) or "it failed"
        self.send("result", result)
        print(invocation["command"], "for", invocation["principal"])


def main():
    limb = Limb(socketpool.SocketPool(wifi.radio))
    failures = 0
    while True:
        pause = None
        try:
            # The board joins the network of settings.toml by itself; it may have lost it.
            if not wifi.radio.connected:
                wifi.radio.connect(os.getenv("CIRCUITPY_WIFI_SSID"), os.getenv("CIRCUITPY_WIFI_PASSWORD"))
            limb.connect()
            limb.run()
        except Rejected:
            print("rejected by an operator; trying again in some minutes")
            pause = REJECTED_PAUSE
        except (OSError, RuntimeError, minimqtt.MMQTTException) as error:
            print("lost:", error)
            # 4 and 5: the key was rejected or revoked.
            if getattr(error, "code", None) in (4, 5):
                pause = REJECTED_PAUSE
        limb.close()
        failures = 1 if limb.approved else failures + 1
        if pause is None:
            # One second, two, four and so on to thirty, each by chance shorter or longer.
            pause = min(30, 2 ** (failures - 1)) * (0.5 + random.random())
        print("trying again in %.1f s" % pause)
        time.sleep(pause)


main()
