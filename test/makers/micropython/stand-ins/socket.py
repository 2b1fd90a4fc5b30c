"""Sockets for the interpreter under test, as MicroPython has them: blocking, or not."""

import binascii
import board_of_test as board

AF_INET = 2
SOCK_STREAM = 1


def getaddrinfo(host, port, *more):
    return [(AF_INET, SOCK_STREAM, 0, "", (host, port))]


class socket:
    def __init__(self, *kind):
        self.id = 0
        self.wait_ms = -1

    def connect(self, address):
        self.id = board.open(address[0], address[1])
        if self.id == 0:
            raise OSError(111)

    def setblocking(self, on):
        self.wait_ms = -1 if on else 0

    def settimeout(self, seconds):
        self.wait_ms = -1 if seconds is None else int(seconds * 1000)

    def write(self, data, count=None):
        data = bytes(data if not isinstance(data, str) else data.encode())
        if not board.send(self.id, binascii.hexlify(data[: len(data) if count is None else count]).decode()):
            raise OSError(104)

    send = write

    def read(self, count):
        """All of it, or None when nothing is there and it does not block, or less at the end."""
        data = b""
        while len(data) < count:
            part = board.receive(self.id, count - len(data), self.wait_ms if data == b"" else -1)
            if part == "none":
                return None
            if part == "":
                break
            data += binascii.unhexlify(part)
        return data

    def recv_into(self, buffer, count=0):
        part = board.receive(self.id, count or len(buffer), self.wait_ms)
        if part == "none":
            raise OSError(11)
        data = binascii.unhexlify(part)
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        board.close(self.id)
