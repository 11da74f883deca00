"""Echo and fan-out with websockets on asyncio's own loop."""

import asyncio

from common import BACKLOG, encode, make_tls, read_options, say_port
from websockets.asyncio.server import broadcast, serve

fan_clients, room_clients = set(), set()


async def answer(websocket):
    path = websocket.request.path
    if path == "/fan":
        await fan_out(websocket, fan_clients, str)
    elif path == "/room":
        await fan_out(websocket, room_clients, encode)
    elif path == "/app":
        async for message in websocket:
            await websocket.send(encode(message))
    elif path == "/join":
        await websocket.send(encode("welcome"))
        await websocket.wait_closed()
    else:
        async for message in websocket:
            await websocket.send(message)


async def fan_out(websocket, clients, make_text):
    clients.add(websocket)
    try:
        async for message in websocket:
            broadcast(clients, make_text(message))
    finally:
        clients.discard(websocket)


async def main(options):
    arguments = {
        "compression": "deflate" if options.deflate else None,
        "ssl": make_tls(options),
        "backlog": BACKLOG,
    }
    async with serve(answer, "127.0.0.1", 0, **arguments) as server:
        say_port(server.sockets[0].getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(read_options()))
