"""An app whose clients meet in one room, whichever worker they came to."""

import re

from tests.integration import raw

APP = """
import os
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 1
relay = GreenRelay(app)


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(room, name="room"))


@app.get("/")
def index():
    return f"{os.getpid()} {relay.node.name}"


@app.get("/where")
def where():
    return process.spawn(room, name="room").node


def room():
    members = []
    for message in process.inbox():
        if message.topic == "ws.join":
            members.append(message.payload["client_pid"])
            process.send(members[-1], "ws.send", {"type": "text", "data": members[-1].node})
        elif message.topic == "ws.leave":
            members.remove(message.payload["client_pid"])
        else:
            process.broadcast(members, "ws.send", {"type": "text", "data": message.payload})
"""


def answers(served, path, count):
    """Return the different answers to a request, as soon as there are so many."""
    found = set()
    for _ in range(500):
        with raw.RawClient(served.url) as client:
            client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
            found.add(client.read_answer().body.decode())
        if len(found) >= count:
            break
    return found


def join_on_different_workers(served):
    """Return clients of two workers, who are in the room; the first words tell their nodes."""
    by_node = {}
    for _ in range(200):
        client = served.connect_ws()
        node = client.receive(timeout=10)
        if node in by_node:
            client.close()
        else:
            by_node[node] = client
        if len(by_node) == 2:
            return by_node
    raise AssertionError(f"all clients came to {list(by_node)}")


def worker_pids(served):
    return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", served.text)]
