"""Echo and fan-out with picows (Cython), on uvloop where that is installed."""

import asyncio

from picows import WSListener, WSMsgType, ws_create_server

try:
    from uvloop import run
except ImportError:
    from asyncio import run

fan_clients = set()


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Fan(WSListener):
    def on_ws_connected(self, transport):
        fan_clients.add(transport)

    def on_ws_disconnected(self, transport):
        fan_clients.discard(transport)

    def on_ws_frame(self, transport, frame):
        payload = frame.get_payload_as_bytes()
        for client in fan_clients:
            client.send(WSMsgType.TEXT, payload)


def make_listener(request):
    return Fan() if request.path == b"/fan" else Echo()


async def main():
    server = await ws_create_server(make_listener, "127.0.0.1", 0, backlog=1024)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main())
