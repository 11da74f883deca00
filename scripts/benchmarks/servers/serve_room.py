"""Rooms of several workers with greenrelay, under gunicorn; nodes by GREENRELAY_CLUSTER, or none.

`/group`: every connection is a member of a group, and a message goes to the group. `/room`: one
process for the room, on one of the workers; who speaks is heard by all. `/app`: answers in JSON.
"""

import os

from common import add_teardown, make_data
from flask import Flask

from greenrelay import GreenRelay, process

app = add_teardown(Flask(__name__))
relay = GreenRelay(app)


@app.get("/worker")
def worker():
    return str(os.getpid())


@app.get("/group")
def enter_group():
    return relay.websocket(process.spawn(host, name="host", scope="node"))


def host():
    everybody = process.group("everybody")
    for message in process.inbox():
        if message.topic == "ws.join":
            everybody.join(message.sender)
        elif message.topic == "ws.message":
            everybody.broadcast("said", make_data(message.payload))


@app.get("/room")
def enter_room():
    return relay.websocket(process.spawn(room, name="room"))


def room():
    clients = set()
    for message in process.inbox():
        if message.topic == "ws.join":
            clients.add(message.sender)
        elif message.topic == "ws.leave":
            clients.discard(message.sender)
        elif message.topic == "ws.message":
            process.broadcast(clients, "said", make_data(message.payload))


@app.get("/app")
def app_echo():
    return relay.websocket(process.spawn(answer))


def answer():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "said", make_data(message.payload))
        elif message.topic == "ws.leave":
            return
