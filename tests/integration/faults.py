"""Two interpreters that share a Redis, and what its faults do to the one and the other.

Each serves the app beneath: a room by name, an echo, and what `/state` tells: who is in the group,
who has the names, what a watcher of the other node's process was told, and how long the event loop
has stood still at most.
"""

import json
import time

import gevent

from greenrelay.testing import WebSocketClient, wait_until
from tests.integration.commands import Served

SECONDS = 20

APP = """
import time
import gevent
from flask import Flask, request
from greenrelay import GreenRelay, process

app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 6
relay = GreenRelay(app)
told = []
names = ["room", "subject-one", "subject-two"]
slowest = {"wall": 0.0, "cpu": 0.0}


def tick():
    while True:
        wall, cpu = time.monotonic(), time.thread_time()
        gevent.sleep(0.005)
        slowest["wall"] = max(slowest["wall"], time.monotonic() - wall)
        slowest["cpu"] = max(slowest["cpu"], time.thread_time() - cpu)


gevent.spawn(tick)


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})


def room():
    members = []
    for message in process.inbox():
        if message.topic == "ws.join":
            members.append(message.payload["client_pid"])
            process.send(members[-1], "ws.send", {"type": "text", "data": "joined"})
        elif message.topic == "ws.leave":
            members.remove(message.payload["client_pid"])
        else:
            process.broadcast(members, "ws.send", {"type": "text", "data": message.payload})


def subject():
    process.trap_links()
    process.group("all").join()
    for message in process.inbox():
        pass


def watcher(name):
    process.trap_links()
    pid = process.registry.lookup(name)
    process.monitor(pid)
    process.link(pid)
    for message in process.events():
        if type(message) is process.Cancel:
            return
        told.append([type(message).__name__, message.sender, message.reason])


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(room, name="room"))


@app.get("/echo")
def echoes():
    return relay.websocket(process.spawn(echo))


@app.get("/begin")
def begin():
    return process.spawn(subject, name=f"subject-{relay.node.name}")


@app.get("/name/<name>")
def new_name(name):
    return process.spawn(subject, name=name)


@app.get("/watch/<name>")
def watch(name):
    return process.spawn(watcher, name)


@app.get("/end/<name>")
def end(name):
    return str(process.terminate(process.registry.lookup(name)))


@app.get("/flood/<int:count>/<name>")
def flood(count, name):
    pid = process.registry.lookup(name)
    return str(sum(process.send(pid, "flood", "x" * 2000) for _ in range(count)))


@app.get("/state")
def state():
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * 4096
    answer = {
        "told": told,
        "group": sorted(process.group("all").members()),
        "names": {name: process.registry.lookup(name) for name in names},
        "counts": {k: v for k, v in relay.node.counts.items() if k.startswith("cluster")},
        "slowest": dict(slowest),
        "resident": resident,
    }
    if request.args.get("reset"):
        slowest.update(wall=0.0, cpu=0.0)
    return answer
"""


class Server(Served):
    """One of the two; `name` is its node's."""

    def __init__(self, folder, name, url):
        folder.mkdir()
        (folder / "site_app.py").write_text(APP)
        arguments = ["--port", "0", "--node", name, "--cluster", url, "site_app:app"]
        super().__init__(folder, *arguments)
        self.name = name

    def state(self, reset=""):
        """Return what `/state` tells."""
        return json.loads(self.get(f"/state?reset={reset}"))

    def connect(self, path):
        return WebSocketClient(self.url.replace("http", "ws", 1) + path)

    def ends(self):
        """End it; return its exit code and how long it has taken."""
        began = time.monotonic()
        self.signal()
        code = self.wait()
        return code, time.monotonic() - began


class Echoes:
    """A client that has all it says repeated, and notes the longest time that took."""

    def __init__(self, server):
        self._client = server.connect("/echo")
        self.count, self.slowest, self.problem = 0, 0.0, None
        self._greenlet = gevent.spawn(self._run)

    def _run(self):
        while True:
            began = time.monotonic()
            self._client.send("x")
            assert self._client.receive(timeout=SECONDS) == "x"
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1
            gevent.sleep(0.01)

    def close(self):
        self._greenlet.kill()
        self._client.close()


class Ticker:
    """What the machine's noise does to a loop that has little to do."""

    def __init__(self):
        self.slowest = 0.0
        self._greenlet = gevent.spawn(self._run)

    def _run(self):
        while True:
            began = time.monotonic()
            gevent.sleep(0.005)
            self.slowest = max(self.slowest, time.monotonic() - began)

    def close(self):
        self._greenlet.kill()


class Pair:
    """Two servers, a client of the room on each, and processes that watch each other."""

    def __init__(self, folder, *urls):
        self.servers = [
            Server(folder / name, name, url)
            for name, url in zip(("one", "two"), urls if len(urls) == 2 else urls * 2, strict=True)
        ]
        self.one, self.two = self.servers
        self.clients, self.echoes = [], []
        self.ticker = Ticker()
        for server in self.servers:
            assert server.url
        for server in self.servers:
            server.get("/begin")
        self.wait_until_right()
        self.watch()
        self.enter()
        self.echoes = [Echoes(server) for server in self.servers]
        for server in self.servers:
            server.state(reset="yes")

    def watch(self):
        """Have a process on each watch, and be linked with, one of the other."""
        self.one.get("/watch/subject-two")
        self.two.get("/watch/subject-one")

    def enter(self):
        """Have a client on each in the room."""
        for client in self.clients:
            client.close()
        self.clients = []
        for server in self.servers:
            client = server.connect("/ws")
            assert client.receive(timeout=SECONDS) == "joined"
            self.clients.append(client)

    def is_right(self):
        """Tell whether both know the same group of two, and the same names."""
        states = [server.state() for server in self.servers]
        one, two = ([state["group"], state["names"]] for state in states)
        return one == two and len(one[0]) == 2 and one[1]["subject-one"] and one[1]["subject-two"]

    def wait_until_right(self, seconds=SECONDS):
        began = time.monotonic()
        wait_until(self.is_right, seconds)
        return time.monotonic() - began

    def talk(self, seconds=SECONDS):
        """Have each say something in the room until both have heard it."""
        began = time.monotonic()
        for number, client in enumerate(self.clients):
            self._say(client, f"{number} {began}", began + seconds)
        return time.monotonic() - began

    def _say(self, client, words, deadline):
        missing = list(self.clients)
        while missing:
            assert time.monotonic() < deadline, f"{words} has not come to {len(missing)} clients"
            client.send(words)
            missing = [hearer for hearer in missing if not self._hears(hearer, words)]

    def _hears(self, client, words):
        try:
            while client.receive(timeout=0.5) != words:
                pass
        except TimeoutError:
            return False
        return True

    def told(self):
        """Return what the watchers were told, on each server."""
        return [server.state()["told"] for server in self.servers]

    def end_subjects(self):
        """End the processes that are watched, and wait until their watchers know."""
        for server, name in zip(self.servers, ("subject-one", "subject-two"), strict=True):
            server.get(f"/end/{name}")
        wait_until(lambda: all(len(told) >= 2 for told in self.told()), SECONDS)

    def figures(self):
        """Return the longest time that anything local has taken."""
        states = [server.state(reset="yes") for server in self.servers]
        figures = {
            "echo": [echoes.slowest for echoes in self.echoes],
            "echoes": [echoes.count for echoes in self.echoes],
            "wall": [state["slowest"]["wall"] for state in states],
            "cpu": [state["slowest"]["cpu"] for state in states],
            "noise": self.ticker.slowest,
            "resident": [state["resident"] // 2**20 for state in states],
            "counts": [state["counts"] for state in states],
        }
        self.ticker.slowest = 0.0
        for echoes in self.echoes:
            echoes.slowest, echoes.count = 0.0, 0
        return figures

    def logs(self):
        """Return what each has printed."""
        return [server.text for server in self.servers]

    def close(self):
        """Close the clients; the servers go on."""
        for item in [*self.clients, *self.echoes, self.ticker]:
            item.close()
        self.clients, self.echoes = [], []

    def kill(self):
        """End all of it."""
        self.close()
        for server in self.servers:
            server.kill()
