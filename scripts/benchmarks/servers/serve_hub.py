"""Echo, fan-out and event streams on a bare gevent hub: the yardstick.

Watcher callbacks that receive, unmask, frame and send; no greenlet per connection, no
limits, no checks beyond what telling the frames apart needs. It is what a relay on this
hub could reach if a relay cost nothing. So it answers raw on every path, whatever those
beside it have to do there.
"""

import base64
import hashlib
import socket
import struct

from common import BACKLOG, say_port
from gevent import get_hub
from websockets.speedups import apply_mask

RECEIVE_BYTES = 96 * 1024  # a 64 KB message in one go; from 128 KB on malloc would map pages anew
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = 8
FINAL_TEXT = 0x81
loop = get_hub().loop
fan_clients, stream_clients = set(), set()


class Client:
    """One connection: a socket, a watcher for each direction, the bytes not yet used."""

    __slots__ = ("sock", "reader", "writer", "received", "unsent", "is_open", "is_fan")

    def __init__(self, sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.received = self.unsent = b""
        self.is_open = self.is_fan = False
        self.writer = None
        self.reader = loop.io(sock.fileno(), 1)
        self.reader.start(self.on_readable)

    def on_readable(self):
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self.is_open:
            self.take_frames(self.received + data if self.received else data)
        else:
            self.take_request(self.received + data)

    def take_request(self, data):
        if b"\r\n\r\n" not in data:
            self.received = data
            return
        if data.startswith(b"POST "):
            self.publish(data)
            return
        if data.startswith((b"GET /events ", b"GET /idle ")):
            self.received = b""
            stream_clients.add(self)
            self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            return
        key = data.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.is_open = True
        self.is_fan = data.startswith((b"GET /fan ", b"GET /room "))
        if self.is_fan:
            fan_clients.add(self)
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        if data.startswith(b"GET /join "):
            self.send(make_frame(FINAL_TEXT, b"welcome"))

    def publish(self, data):
        head, _, body = data.partition(b"\r\n\r\n")
        if len(body) < int(head.rpartition(b"Content-Length: ")[2].partition(b"\r\n")[0]):
            self.received = data
            return
        self.received = b""
        event = b"data: " + body + b"\n\n"
        for client in stream_clients:
            client.send(event)
        self.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    def take_frames(self, data):
        while len(data) >= 6:
            size, mask_at = data[1] & 127, 2
            if size == 126:
                size, mask_at = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, mask_at = int.from_bytes(data[2:10], "big"), 10
            end = mask_at + 4 + size
            if len(data) < end:
                break
            payload = apply_mask(data[mask_at + 4 : end], data[mask_at : mask_at + 4])
            self.answer(data[0], payload)
            data = data[end:]
        self.received = data

    def answer(self, first_byte, payload):
        frame = make_frame(first_byte, payload)
        if first_byte & 15 == CLOSE:
            self.send(frame)
            self.close()
        elif self.is_fan:
            for client in fan_clients:
                client.send(frame)
        else:
            self.send(frame)

    def send(self, data):
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # gone: the read watcher will say so
        if sent < len(data):
            self.unsent = data[sent:]
            self.writer = loop.io(self.sock.fileno(), 2)
            self.writer.start(self.on_writable)

    def on_writable(self):
        self.writer.stop()
        self.writer.close()
        self.writer = None
        data, self.unsent = self.unsent, b""
        self.send(data)

    def close(self):
        fan_clients.discard(self)
        stream_clients.discard(self)
        for watcher in (self.reader, self.writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self.reader = self.writer = None
        self.sock.close()


def make_frame(first_byte, payload):
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first_byte, 126, size) + payload
    return struct.pack("!BBQ", first_byte, 127, size) + payload


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    accepting = loop.io(listener.fileno(), 1)

    def on_connection():
        try:
            Client(listener.accept()[0])
        except BlockingIOError:
            return

    accepting.start(on_connection)
    say_port(listener.getsockname()[1])
    get_hub().join()


if __name__ == "__main__":
    main()
