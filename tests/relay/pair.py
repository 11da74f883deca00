"""A transport on a real socket, the receiver of its bytes, and the peer."""

import socket

from greenrelay.relay.transport import Transport
from greenrelay.testing import wait_until

HEAD = b"head "
LARGE = bytes(range(256)) * 10_000  # 2.5 MB: more than a socket's buffers take


class Receiver:
    """Keeps what it gets; `act` may say what it does on each piece."""

    def __init__(self):
        self.pieces = []
        self.events = []
        self.act = None

    @property
    def data(self):
        return b"".join(self.pieces)

    def on_bytes(self, data):
        self.pieces.append(data)
        if self.act is not None:
            self.act()

    def on_turn(self):
        self.events.append("turn")

    def on_eof(self):
        self.events.append("eof")

    def on_flushed(self):
        self.events.append("flushed")


class Pair:
    """A transport, its receiver, and the peer's socket."""

    def __init__(self):
        ours, self.peer = socket.socketpair()
        for sock in (ours, self.peer):
            sock.setblocking(False)
        self.receiver = Receiver()
        self.transport = Transport(ours, self.receiver, HEAD)
        self.seen = b""

    def read(self):
        """Return everything that the peer has got so far."""
        try:
            while data := self.peer.recv(1 << 20):
                self.seen += data
        except BlockingIOError:
            pass
        return self.seen

    def send(self, data):
        """Let the peer send, however long it takes."""
        view = memoryview(data)

        def send_some():
            nonlocal view
            try:
                view = view[self.peer.send(view) :]
            except BlockingIOError:
                pass
            return not view

        wait_until(send_some)

    def close(self):
        self.transport.close()
        self.peer.close()
