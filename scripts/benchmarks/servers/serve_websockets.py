"""Echo and fan-out with websockets on asyncio's own loop."""

import asyncio

from websockets.asyncio.server import broadcast, serve

fan_clients = set()


async def answer(websocket):
    if websocket.request.path == "/fan":
        await fan_out(websocket)
    else:
        async for message in websocket:
            await websocket.send(message)


async def fan_out(websocket):
    fan_clients.add(websocket)
    try:
        async for message in websocket:
            broadcast(fan_clients, message)
    finally:
        fan_clients.discard(websocket)


async def main():
    # Nobody compresses here: the load client does not offer it.
    async with serve(answer, "127.0.0.1", 0, compression=None, backlog=1024) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
