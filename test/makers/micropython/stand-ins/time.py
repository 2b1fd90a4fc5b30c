"""Sleeps without using the processor up, which the interpreter as WebAssembly does."""

import board_of_test as board
from utime import *


def sleep(seconds):
    board.sleep(seconds * 1000)


def sleep_ms(ms):
    board.sleep(ms)


def monotonic():
    return ticks_ms() / 1000
