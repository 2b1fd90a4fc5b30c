"""A temperature sensor in Python, with paho-mqtt (1.6 or 2.x): pip install paho-mqtt

    python3 sensor.py 127.0.0.1 1883 sensor1

It keeps its key in sensor1.key, shows the pairing code, comes back after every loss, and answers when it is invoked.
"""
import json
import os
import random
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import paho.mqtt.client as mqtt

HOST, PORT, NODE = (sys.argv[1:] + ["127.0.0.1", "1883", "sensor1"][len(sys.argv) - 1:])[:3]
KEY_FILE = f"{NODE}.key"
PREFIX = f"limb/node/{NODE}"
REGISTRATION = {
    "displayName": "Attic thermometer",
    "platform": "python",
    "firmware": "1.0.0",
    "capabilities": [{"cap": "temperature", "commands": ["temperature.read"], "authLevel": "free"}],
}
RETRY_SECONDS, RETRY_MAX_SECONDS = 1, 30
# A key that an operator rejected is refused for a day: it asks again after minutes, not seconds.
REJECTED_SECONDS = 300
# CONNACK: bad user name or password, not authorized.
NOT_LET_IN = (4, 5, 134, 135)
# Invocations that are remembered: with QoS 1 one may come twice.
REMEMBERED = 256


def read_temperature(params):
    """Stands for a real sensor."""
    unit = params.get("unit", "celsius")
    if unit not in ("celsius", "kelvin"):
        raise ValueError("unit must be celsius or kelvin")
    return {"temperature": 21.5 if unit == "celsius" else 294.65, "unit": unit}


HANDLERS = {"temperature.read": read_temperature}


def save_key(key):
    """Whole or not at all, readable by its owner alone."""
    part = f"{KEY_FILE}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, KEY_FILE)


def load_key():
    if not os.path.exists(KEY_FILE):
        save_key(secrets.token_urlsafe(32))
    with open(KEY_FILE) as file:
        return file.read().strip()


def jitter(seconds):
    """A fleet that lost its bridge together must not come back in one instant."""
    return seconds * random.uniform(0.5, 1.5)


def wait_seconds(failures):
    """One second, then two, four and so on to thirty."""
    return jitter(min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2 ** min(failures, 10)))


class Sensor:
    def __init__(self):
        options = {"client_id": NODE, "protocol": mqtt.MQTTv311}
        if hasattr(mqtt, "CallbackAPIVersion"):
            options["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(**options)
        self.client.username_pw_set(NODE, load_key())
        self.client.on_connect, self.client.on_message = self.on_connect, self.on_message
        self.workers = ThreadPoolExecutor(4)
        self.seen = {}
        self.approved, self.every, self.next_beat, self.failures = False, 15, 0, 0
        self.rejected, self.register_at, self.refusals = False, None, 0

    # The arguments after `code` differ between the versions of paho.
    def on_connect(self, client, userdata, flags, code, *_):
        if code != 0:
            print(f"refused: {code}", flush=True)
            self.rejected = getattr(code, "value", code) in NOT_LET_IN
            return
        client.subscribe(f"{PREFIX}/pairing", qos=1)
        self.register()

    def register(self):
        self.register_at = None
        self.client.publish(f"{PREFIX}/register", json.dumps(REGISTRATION), qos=1)

    def on_message(self, client, userdata, message):
        payload = json.loads(message.payload)
        if message.topic.endswith("/pairing"):
            self.paired(payload)
        elif payload["invocationId"] not in self.seen:
            self.seen[payload["invocationId"]] = True
            if len(self.seen) > REMEMBERED:
                del self.seen[next(iter(self.seen))]
            # Not here: a slow command would hold up the heartbeats.
            self.workers.submit(self.invoked, payload)

    def paired(self, answer):
        status = answer["status"]
        error = answer.get("error", {})
        print(status, answer.get("code", ""), error.get("message", ""), error.get("path", ""), flush=True)
        self.rejected = status == "rejected"
        if status == "error":
            # Such as `too_many_requests`; what is wrong in the registration is wrong the next time too.
            self.register_at = time.monotonic() + wait_seconds(self.refusals)
            self.refusals += 1
        else:
            self.refusals = 0
        if "apiKey" in answer:
            save_key(answer["apiKey"])
            self.client.username_pw_set(NODE, answer["apiKey"])
        if status == "approved":
            self.client.subscribe(f"{PREFIX}/invoke", qos=1)
            self.approved, self.every, self.next_beat = True, answer["heartbeatSeconds"], 0

    def invoked(self, invocation):
        result = {"invocationId": invocation["invocationId"]}
        try:
            result.update(success=True, data=HANDLERS[invocation["command"]](invocation["params"]))
        except Exception as error:
            result.update(success=False, error=str(error))
        self.client.publish(f"{PREFIX}/result", json.dumps(result), qos=1)
        print("invoked", invocation["command"], flush=True)

    def beat(self):
        if self.approved and time.monotonic() >= self.next_beat:
            self.next_beat = time.monotonic() + self.every
            self.client.publish(f"{PREFIX}/heartbeat", json.dumps({"metrics": {"temperature": 21.5}}))

    def run(self):
        while True:
            started = time.monotonic()
            try:
                self.client.connect(HOST, int(PORT), keepalive=30)
                while self.client.loop(timeout=0.5) == mqtt.MQTT_ERR_SUCCESS:
                    self.beat()
                    if self.register_at is not None and time.monotonic() >= self.register_at:
                        self.register()
            except OSError as error:
                print("no connection:", error, flush=True)
            self.approved = False
            # A connection that lasted is no failure.
            if time.monotonic() - started > 10:
                self.failures = 0
            time.sleep(jitter(REJECTED_SECONDS) if self.rejected else wait_seconds(self.failures))
            self.failures += 1


if __name__ == "__main__":
    sensor = Sensor()
    try:
        sensor.run()
    except KeyboardInterrupt:
        sensor.client.disconnect()
