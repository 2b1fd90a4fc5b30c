"""The interpreter as WebAssembly has neither random bytes nor settings; a board has."""

import binascii
import board_of_test as board
from uos import *


def urandom(count):
    return binascii.unhexlify(board.random(count))


def getenv(name):
    """Of settings.toml, as CircuitPython has it."""
    for line in open("settings.toml"):
        key, _, value = line.partition("=")
        if key.strip() == name:
            return value.strip().strip('"')
    return None
