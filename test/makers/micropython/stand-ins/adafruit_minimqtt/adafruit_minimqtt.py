"""A stand-in for Adafruit's MiniMQTT, with what the example uses of it: the same names, and its way to tell of a loss."""

import time
from umqtt import simple


class MMQTTException(Exception):
    def __init__(self, error, code=None):
        super().__init__(error)
        self.code = code


class MQTT:
    def __init__(self, *, broker, port, client_id, username, password, keep_alive, socket_pool, connect_retries):
        self.keep_alive = keep_alive
        self.client = simple.MQTTClient(client_id, broker, port, username, password, keep_alive)
        self.client.set_callback(lambda topic, payload: self.on_message(self, topic.decode(), payload.decode()))

    def connect(self):
        try:
            self.client.connect()
        except simple.MQTTException as error:
            raise MMQTTException("Connection refused", error.args[0])
        except (OSError, IndexError) as error:
            raise MMQTTException("Connect failure: %s" % error)
        self.pinged = time.monotonic()

    def subscribe(self, topic, qos=0):
        self._do(lambda: self.client.subscribe(topic, qos))

    def publish(self, topic, message, retain=False, qos=0):
        self._do(lambda: self.client.publish(topic, message.encode(), retain, qos))

    def loop(self, timeout=0):
        if time.monotonic() - self.pinged >= self.keep_alive / 2:
            self.client.ping()
            self.pinged = time.monotonic()
        self.client.sock.settimeout(timeout)
        self._do(self.client.wait_msg)

    def disconnect(self):
        self.client.disconnect()

    def _do(self, work):
        try:
            work()
        except (IndexError, TypeError) as error:
            raise MMQTTException("Unable to receive: %s" % error)
