"""A thermometer and a lamp on a board with MicroPython, such as an ESP32 or a Pico W.

Copy this file and config.json to the board, and the MQTT client of micropython-lib:

    mpremote mip install umqtt.simple
    mpremote cp config.json main.py :
    mpremote run main.py

It makes a key of its own, shows the pairing code, sends heartbeats, answers invocations, and comes back after every loss.
"""

import binascii
import json
import os
import random
import time

from umqtt.simple import MQTTClient, MQTTException

KEEPALIVE = 60
REJECTED_PAUSE = 300
REMEMBERED = 16

lamp = {"on": False}


def temperature():
    # Stands for a real sensor.
    return 21.5


def set_lamp(params):
    """What it returns is the result; what it raises is the error that the caller reads."""
    if not isinstance(params.get("on"), bool):
        raise ValueError("on must be true or false")
    lamp["on"] = params["on"]
    return lamp


def read_temperature(params):
    return {"temperature": temperature()}


COMMANDS = {"lamp.set": set_lamp, "temperature.read": read_temperature}

REGISTRATION = {
    "displayName": "Thermometer with a lamp",
    "platform": "micropython",
    "firmware": "1.0.0",
    # Small boards have small buffers: the answer then leaves out what the board knows itself.
    "brief": True,
    "capabilities": [
        {"cap": "temperature", "authLevel": "free", "commands": [{"name": "temperature.read", "safe": True}]},
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
        },
    ],
    "properties": [
        {"name": "temperature", "topic": "data/climate", "pointer": "/temperature", "type": "number", "unit": "Cel"}
    ],
}


def load_key():
    """The key is made once and stored before it is used: with another one the bridge does not know the board."""
    try:
        with open("limb.key") as file:
            return file.read().strip()
    except OSError:
        save_key(binascii.hexlify(os.urandom(16)).decode())
        return load_key()


def save_key(key):
    with open("limb.key", "w") as file:
        file.write(key)


class Rejected(Exception):
    pass


class Limb:
    def __init__(self, config):
        self.node_id = config["nodeId"]
        self.config = config
        self.inbox = []
        self.done = []
        self.approved = False
        self.heartbeat_seconds = 15

    def topic(self, leaf):
        return b"limb/node/%s/%s" % (self.node_id.encode(), leaf.encode())

    def connect(self):
        self.approved = False
        self.inbox = []
        self.mqtt = MQTTClient(
            self.node_id,
            self.config["bridge"],
            self.config.get("port", 1883),
            self.node_id,
            load_key(),
            keepalive=KEEPALIVE,
        )
        # What comes is looked at later: a publish at QoS 1 must not begin within another one.
        self.mqtt.set_callback(lambda topic, payload: self.inbox.append((bytes(topic), bytes(payload))))
        self.mqtt.connect()
        self.mqtt.subscribe(self.topic("pairing"), 1)
        self.mqtt.subscribe(self.topic("invoke"), 1)
        self.send("register", REGISTRATION)

    def send(self, leaf, value):
        self.mqtt.publish(self.topic(leaf), json.dumps(value).encode(), qos=1)

    def heartbeat(self):
        self.send("heartbeat", {"metrics": {"uptime_seconds": time.ticks_ms() // 1000}})
        self.mqtt.publish(self.topic("data/climate"), json.dumps({"temperature": temperature()}).encode(), retain=True)

    def run(self):
        """Returns never; raises when the connection is lost."""
        sent = pinged = time.ticks_ms()
        while True:
            self.mqtt.check_msg()
            while self.inbox:
                topic, payload = self.inbox.pop(0)
                message = json.loads(payload)
                if topic == self.topic("invoke"):
                    self.invoked(message)
                elif self.answered(message):
                    self.heartbeat()
                    sent = time.ticks_ms()
            now = time.ticks_ms()
            if self.approved and time.ticks_diff(now, sent) >= self.heartbeat_seconds * 1000:
                self.heartbeat()
                sent = now
            if time.ticks_diff(now, pinged) >= KEEPALIVE * 500:
                self.mqtt.ping()
                pinged = now
            time.sleep_ms(50)

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


def join_network(wifi):
    import network

    station = network.WLAN(network.STA_IF)
    station.active(True)
    while not station.isconnected():
        station.connect(wifi["ssid"], wifi["password"])
        for _ in range(20):
            if station.isconnected():
                break
            time.sleep(1)


def main():
    with open("config.json") as file:
        config = json.load(file)
    limb = Limb(config)
    failures = 0
    while True:
        pause = None
        try:
            # A board with a cable has no such entry.
            if "wifi" in config:
                join_network(config["wifi"])
            limb.connect()
            limb.run()
        except Rejected:
            print("rejected by an operator; trying again in some minutes")
            pause = REJECTED_PAUSE
        except MQTTException as error:
            # 4 and 5: the key was rejected or revoked. 3: the bridge is not ready.
            print("not let in: CONNACK", error)
            if error.args[0] in (4, 5):
                pause = REJECTED_PAUSE
        except (OSError, IndexError, TypeError) as error:
            # Of a lost connection umqtt.simple tells in each of these.
            print("lost:", error)
        failures = 1 if limb.approved else failures + 1
        if pause is None:
            # One second, two, four and so on to thirty, each by chance shorter or longer.
            pause = min(30, 2 ** (failures - 1)) * (0.5 + random.random())
        print("trying again in %.1f s" % pause)
        time.sleep(pause)


main()
