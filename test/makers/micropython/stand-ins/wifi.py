class radio:
    connected = True
