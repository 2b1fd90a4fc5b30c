class SocketPool:
    def __init__(self, radio):
        pass
