"""Servers of a cluster come and go, and a node outside sees each end once (§7.2, §9)."""

import os
import signal
import tempfile
import time
from collections import Counter

import pytest

from greenrelay import process
from greenrelay.cluster.joining import join, leave
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.integration import clustered
from tests.integration.gunicorns import GEVENT, Gunicorn
from tests.integration.programs import SECONDS

CLIENTS = 20

APP = """
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 1
relay = GreenRelay(app)


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(room, name="room"))


def room():
    process.group("watched").join()
    for message in process.inbox():
        if message.topic == "ws.join":
            pid = message.payload["client_pid"]
            process.group("watched").join(pid)
            process.send(pid, "ws.send", {"type": "text", "data": f"{process.pid()} {pid}"})
"""


class Observer:
    """A node of the test's own, which monitors all processes and connections of the others."""

    def __init__(self):
        self.node = Node("observer")
        self.watched, self.ends, self.reasons = set(), Counter(), {}
        join(self.node, "local:restarts")
        with on_node(self.node):
            self._pid = process.spawn(self._watch)

    def _watch(self):
        inbox, events = process.inbox(), process.events()
        process.group("watched").watch()
        while True:
            channel, news = process.select(inbox, events)
            if channel is events:
                self.ends[news.sender] += 1
                self.reasons[news.sender] = news.reason
            elif news.topic == "group.join":
                self.watched.add(news.payload["pid"])
                process.monitor(news.payload["pid"])

    def wait_for(self, pids):
        """Wait until all are monitored."""
        wait_until(lambda: pids <= self.watched, SECONDS)

    def wait_for_ends(self):
        """Wait until what is monitored has ended, and return how often."""
        wait_until(lambda: self.ends.keys() >= self.watched, SECONDS)
        return set(self.ends.values())

    def stop(self):
        self.node.terminate(self._pid)
        wait_until(lambda: not len(self.node))
        leave(self.node)


@pytest.fixture
def observer(tmp_path, monkeypatch):
    (tmp_path / "site_app.py").write_text(APP)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("GREENRELAY_CLUSTER", "local:restarts")
    observer = Observer()
    yield observer
    observer.stop()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def start(tmp_path, observer):
    """Start a gunicorn in a folder of its own."""
    started = []

    def run(*arguments):
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        (folder / "site_app.py").write_text(APP)
        started.append(Gunicorn(folder, *GEVENT, *arguments, "site_app:app"))
        return started[-1]

    yield run
    for served in started:
        served.kill()


def connect(served, count=CLIENTS):
    """Return clients, and the PIDs of their rooms and connections."""
    clients = [served.connect_ws() for _ in range(count)]
    words = [client.receive(timeout=SECONDS).split() for client in clients]
    return clients, {room for room, _ in words}, {pid for _, pid in words}


def close_codes(clients):
    codes = {client.wait_closed(SECONDS).code for client in clients}
    for client in clients:
        client.close()
    return codes


def test_a_rolling_restart_loses_no_end_and_refuses_nobody(start, observer):
    """§7.2, §7.6, §9"""
    served = start("--workers", "2")
    clients, rooms, pids = connect(served)
    observer.wait_for(rooms | pids)
    served.signal(signal.SIGHUP)
    assert close_codes(clients) == {1012}
    back, new_rooms, _ = connect(served)
    wait_until(lambda: rooms | pids <= observer.ends.keys(), SECONDS)
    assert (len(rooms), len(new_rooms), rooms & new_rooms) == (1, 1, set())
    assert served.stop() == 0
    assert close_codes(back) == {1012}
    assert observer.wait_for_ends() == {1}


def test_a_worker_that_is_killed_is_lost_within_a_second(start, observer):
    """§7.2"""
    served = start("--workers", "2")
    clients, rooms, pids = connect(served)
    observer.wait_for(rooms | pids)
    begin = time.monotonic()
    killed = [pid for pid in clustered.worker_pids(served) if f"-{pid}/" in next(iter(rooms))]
    os.kill(killed[0], signal.SIGKILL)
    wait_until(lambda: rooms <= observer.ends.keys(), SECONDS)
    assert time.monotonic() - begin < 1
    assert observer.reasons[next(iter(rooms))] == "noconnection"
    wait_until(lambda: len(clustered.worker_pids(served)) == 3, SECONDS)
    assert close_codes(clients) <= {1006, 1012}
    for client in connect(served, 1)[0]:
        client.close()
    assert served.stop() == 0
    assert observer.wait_for_ends() == {1}


def test_clients_whose_target_s_server_stops_come_again(start, observer):
    """§7.2, §9: though their own does not."""
    first, second = start(), start()
    here, rooms, _ = connect(first, 1)
    there, same_rooms, _ = connect(second, 3)
    assert rooms == same_rooms
    assert first.stop() == 0
    assert close_codes([*here, *there]) == {1012}
    assert second.stop() == 0
    assert observer.wait_for_ends() == {1}
