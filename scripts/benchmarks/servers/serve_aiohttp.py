"""Echo, fan-out and event streams with aiohttp on asyncio's own loop."""

import asyncio

from aiohttp import WSMsgType, web

fan_clients = set()


async def ws(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)
    return websocket


async def fan_out(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    fan_clients.add(websocket)
    try:
        async for message in websocket:
            for client in list(fan_clients):
                await client.send_str(message.data)
    finally:
        fan_clients.discard(websocket)
    return websocket


async def events(request):
    messages = asyncio.Queue()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(await messages.get())


async def main():
    app = web.Application()
    app.add_routes([web.get("/ws", ws), web.get("/fan", fan_out), web.get("/events", events)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print("port", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
