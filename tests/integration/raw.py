"""A client that sends any bytes, and shows byte by byte what comes back."""

import struct
from typing import NamedTuple
from urllib.parse import urlsplit

import gevent.socket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def head(first="GET /ws HTTP/1.1", **changes):
    """Return a request head that opens a WebSocket.

    Args:
        changes: header names in snake case, and the value to send; `None` leaves it out, a
            list sends it several times.
    """
    headers = {
        "host": "example.org",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_key": KEY,
        "sec_websocket_version": "13",
    }
    lines = [first]
    for name, value in {**headers, **changes}.items():
        values = value if isinstance(value, list) else [value]
        lines += [f"{name.replace('_', '-')}: {item}" for item in values if item is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path, *lines):
    """Return the head of a POST with further header lines."""
    first = f"POST {path} HTTP/1.1".encode("latin-1")
    return b"\r\n".join((first, b"Host: a", *lines, b"", b""))


def frame(opcode, payload=b"", first=0x80, length=None, mask=MASK):
    """Return a client's frame; `mask=b""` leaves the mask out, `length` may lie."""
    size = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if size < 126:
        header = bytes((first | opcode, bit | size))
    elif size < 1 << 16:
        header = struct.pack("!BBH", first | opcode, bit | 126, size)
    else:
        header = struct.pack("!BBQ", first | opcode, bit | 127, size)
    if mask:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return header + mask + payload


def text(value):
    """Return a text frame."""
    return frame(TEXT, value.encode())


def close(code=1000, reason=""):
    """Return a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict
    body: bytes


class RawClient:
    """A connected socket.

    Args:
        url: of the server.
        receive_buffer: bytes the kernel keeps for a client that does not read.
        ssl_context: makes it a TLS client.
    """

    def __init__(self, url, receive_buffer=None, ssl_context=None):
        address = urlsplit(url)
        self.socket = gevent.socket.socket()
        if receive_buffer:
            self.socket.setsockopt(
                gevent.socket.SOL_SOCKET, gevent.socket.SO_RCVBUF, receive_buffer
            )
        self.socket.settimeout(10)
        try:
            self.socket.connect((address.hostname, address.port))
        except OSError:
            self.socket.close()
            raise
        if ssl_context:
            self.socket = ssl_context.wrap_socket(self.socket, server_hostname=address.hostname)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def send(self, *pieces):
        """Send bytes, each piece in a segment of its own."""
        self.socket.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        for piece in pieces:
            self.socket.sendall(piece)

    def upgrade(self, **changes):
        """Open a WebSocket."""
        self.send(head(**changes))
        answer = self.read_answer()
        assert answer.status == 101, answer
        return answer

    def read_answer(self):
        """Return the next response; its body has the length that it announces."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().rstrip(b"\r\n"):
            name, value = line.decode("latin-1").split(": ", 1)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = self.file.read(int(headers.get("Content-Length", 0)))
        return Answer(status, headers, body)

    def read_frame(self):
        """Return opcode and payload of the server's next frame, `None` at the end."""
        start = self.file.read(2)
        if len(start) < 2:
            return None
        length = start[1]
        if length >= 126:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        return start[0] & 0x0F, self.file.read(length)

    def read_close(self):
        """Return code and reason of the server's close frame; frames before it are dropped."""
        while (received := self.read_frame()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()
        return None

    def read_rest(self):
        """Return everything up to the end of the connection."""
        try:
            return self.file.read()
        except ConnectionError:
            return b""

    def reset(self):
        """Drop the connection with a reset, as a machine that loses its power."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, linger)
        self.close()

    def close(self):
        """Close the socket without a word."""
        self.file.close()
        self.socket.close()
