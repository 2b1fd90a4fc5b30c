"""A stand-in for umqtt.simple of micropython-lib, with what the example uses of it: the same names, bytes and exceptions."""

import socket
import struct


class MQTTException(Exception):
    pass


class MQTTClient:
    def __init__(self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=None):
        self.client_id = client_id
        self.address = (server, port or 1883)
        self.user = user
        self.password = password
        self.keepalive = keepalive
        self.id = 0

    def set_callback(self, callback):
        self.callback = callback

    def connect(self, clean_session=True):
        self.sock = socket.socket()
        self.sock.connect(socket.getaddrinfo(*self.address)[0][-1])
        flags = (2 if clean_session else 0) | (0xC0 if self.user else 0)
        body = _text("MQTT") + struct.pack("!BBH", 4, flags, self.keepalive) + _text(self.client_id)
        if self.user:
            body += _text(self.user) + _text(self.password)
        self._send(0x10, body)
        answer = self.sock.read(4)
        if answer[3] != 0:
            raise MQTTException(answer[3])
        return answer[2] & 1

    def disconnect(self):
        self.sock.write(b"\xe0\0")
        self.sock.close()

    def ping(self):
        self.sock.write(b"\xc0\0")

    def publish(self, topic, message, retain=False, qos=0):
        body = _text(topic)
        if qos:
            self.id += 1
            body += struct.pack("!H", self.id)
        sent = self.id
        self._send(0x30 | qos << 1 | int(retain), body + message)
        while qos:
            if self.wait_msg() == 0x40:
                _, high, low = self.sock.read(3)
                if high << 8 | low == sent:
                    return

    def subscribe(self, topic, qos=0):
        self.id += 1
        self._send(0x82, struct.pack("!H", self.id) + _text(topic) + bytes([qos]))
        while self.wait_msg() != 0x90:
            pass
        if self.sock.read(4)[3] == 0x80:
            raise MQTTException(0x80)

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()

    def wait_msg(self):
        first = self.sock.read(1)
        self.sock.setblocking(True)
        if first is None:
            return None
        if first == b"":
            raise OSError(-1)
        kind = first[0]
        if kind == 0xD0:
            self.sock.read(1)
            return None
        if kind & 0xF0 != 0x30:
            return kind
        body = self.sock.read(self._length())
        at = 2 + (body[0] << 8 | body[1])
        topic = body[2:at]
        if kind & 6:
            at += 2
        self.callback(topic, body[at:])
        if kind & 6 == 2:
            self.sock.write(b"\x40\x02" + body[at - 2 : at])
        return kind

    def _length(self):
        length = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return length
            shift += 7

    def _send(self, first, body):
        head = bytes([first])
        length = len(body)
        while length > 127:
            head += bytes([length & 0x7F | 0x80])
            length >>= 7
        self.sock.write(head + bytes([length]) + body)


def _text(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data
