# As a new board has it.
nvm = bytearray(b"\xff" * 512)
