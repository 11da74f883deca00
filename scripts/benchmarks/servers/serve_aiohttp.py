"""Echo, fan-out and event streams with aiohttp on asyncio's own loop."""

import asyncio

from aiohttp import WSMsgType, web
from common import BACKLOG, encode, make_event, make_tls, read_options, say_port

fan_clients, room_clients, queues = set(), set(), set()
is_compressed = False


async def open_websocket(request):
    websocket = web.WebSocketResponse(compress=is_compressed)
    await websocket.prepare(request)
    return websocket


async def app_echo(request):
    websocket = await open_websocket(request)
    async for message in websocket:
        await websocket.send_str(encode(message.data))
    return websocket


async def join(request):
    websocket = await open_websocket(request)
    await websocket.send_str(encode("welcome"))
    async for _ in websocket:
        pass
    return websocket


async def echo(request):
    websocket = await open_websocket(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)
    return websocket


async def enter_room(request):
    return await fan_out(request, room_clients, encode)


async def best_fan_out(request):
    return await fan_out(request, fan_clients, str)


async def fan_out(request, clients, make_text):
    websocket = await open_websocket(request)
    clients.add(websocket)
    try:
        async for message in websocket:
            text = make_text(message.data)
            for client in list(clients):
                await client.send_str(text)
    finally:
        clients.discard(websocket)
    return websocket


async def events(request):
    messages = asyncio.Queue()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    queues.add(messages)
    try:
        while True:
            await response.write(await messages.get())
    finally:
        queues.discard(messages)


async def publish(request):
    event = make_event(await request.text()).encode()
    for messages in queues:
        messages.put_nowait(event)
    return web.Response(status=204)


async def make_app():
    """Return the app, for gunicorn too."""
    app = web.Application()
    views = {
        "/app": app_echo,
        "/appraw": echo,
        "/join": join,
        "/room": enter_room,
        "/ws": echo,
        "/fan": best_fan_out,
        "/events": events,
        "/idle": events,
    }
    app.add_routes([web.get(path, view) for path, view in views.items()])
    app.add_routes([web.post("/publish", publish)])
    return app


async def main(options):
    runner = web.AppRunner(await make_app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG, ssl_context=make_tls(options))
    await site.start()
    say_port(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    options = read_options()
    is_compressed = options.deflate
    asyncio.run(main(options))
