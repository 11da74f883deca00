"""Echo and fan-out with picows (Cython), on uvloop where that is installed."""

import asyncio

from common import BACKLOG, encode, make_tls, read_options, say_port
from picows import WSListener, WSMsgType, ws_create_server

try:
    from uvloop import run
except ImportError:
    from asyncio import run

fan_clients, room_clients = set(), set()


def is_close(transport, frame):
    """Answer a close frame; return whether it was one."""
    if frame.msg_type != WSMsgType.CLOSE:
        return False
    transport.send_close(frame.get_close_code())
    transport.disconnect()
    return True


class AppEcho(WSListener):
    def on_ws_frame(self, transport, frame):
        if not is_close(transport, frame):
            text = encode(frame.get_payload_as_utf8_text())
            transport.send(WSMsgType.TEXT, text.encode())


class Join(WSListener):
    def on_ws_connected(self, transport):
        transport.send(WSMsgType.TEXT, encode("welcome").encode())

    def on_ws_frame(self, transport, frame):
        is_close(transport, frame)


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if not is_close(transport, frame):
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Fan(WSListener):
    clients = fan_clients

    def on_ws_connected(self, transport):
        self.clients.add(transport)

    def on_ws_disconnected(self, transport):
        self.clients.discard(transport)

    def make_payload(self, frame):
        return frame.get_payload_as_bytes()

    def on_ws_frame(self, transport, frame):
        if not is_close(transport, frame):
            payload = self.make_payload(frame)
            for client in self.clients:
                client.send(WSMsgType.TEXT, payload)


class Room(Fan):
    clients = room_clients

    def make_payload(self, frame):
        return encode(frame.get_payload_as_utf8_text()).encode()


LISTENERS = {b"/app": AppEcho, b"/join": Join, b"/room": Room, b"/fan": Fan}


def make_listener(request):
    return LISTENERS.get(request.path, Echo)()


async def main(options):
    server = await ws_create_server(
        make_listener, "127.0.0.1", 0, backlog=BACKLOG, ssl=make_tls(options)
    )
    say_port(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(read_options()))
