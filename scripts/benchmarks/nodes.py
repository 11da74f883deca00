"""The suite between nodes: two interpreters that talk, and rooms whose clients are on several.

Everybody encodes the same JSON for the same clients. Flask-SocketIO is run as its documentation
has it for several processes: gunicorn with gevent-websocket's worker, and Redis between them. Its
clients speak WebSocket from the beginning, as several workers behind one port need it.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from benchmarks.rooms import Layout, measure_deliveries, measure_growth
from benchmarks.suite import Aim, Benchmark, Contender, Suite
from benchmarks.talking import measure_messages, measure_trips
from benchmarks.wire import SERVERS

ACTORS = Path(__file__).resolve().parent / "actors"
TALK = ("nodes", "trip")
ROOMS = ("group", "chat4", "grow")
SOCKETIO = "flask-socketio"


def ours(name: str, title: str) -> Contender:
    return Contender(
        name=name,
        title=title,
        program=ACTORS / "run_node.py",
        packages=("greenrelay", "msgpack", "redis", "hiredis", "gunicorn[gevent]"),
        modules=("greenrelay.cluster.cluster", "redis", "gunicorn"),
        tests=(*TALK, *ROOMS),
        gunicorn=("serve_room:app", "-k", "gevent", "-c", "python:greenrelay.gunicorn"),
    )


def deliveries(layout: Layout, cost: str, **asked: Any) -> Any:
    return partial(measure_deliveries, layout=layout, cost=cost, size=64, **asked)


group = deliveries(Layout(servers=2), "groupcpu", path="/group", connections=2_000)
chat = deliveries(Layout(workers=4), "chatcpu", path="/room", connections=1_000)
grow = partial(measure_growth, path="/app", connections=100, size=32)


def beside(
    name: str, title: str, unit: str, measured_with: str, is_lower_better: bool
) -> Benchmark:
    """Return a row that comes with another's measurement."""
    return Benchmark(name, title, unit, None, is_lower_better, measured_with)


SUITE = Suite(
    title="between nodes",
    prepare=attrgetter("load_client"),
    yardstick="pipe",
    subject="greenrelay-local",
    contenders=(
        Contender(
            name="pipe",
            title="msgpack over a Unix socket",
            program=ACTORS / "run_pipe.py",
            packages=("gevent", "msgpack"),
            modules=("gevent", "msgpack"),
            tests=TALK,
        ),
        ours("greenrelay-local", "greenrelay, `local:`"),
        ours("greenrelay-redis", "greenrelay, Redis"),
        Contender(
            name=SOCKETIO,
            title="Flask-SocketIO, Redis",
            program=SERVERS / "serve_socketio.py",
            packages=(SOCKETIO, "redis", "hiredis", "gevent-websocket", "gunicorn[gevent]"),
            modules=("flask_socketio", "redis", "geventwebsocket", "gunicorn"),
            tests=ROOMS,
            gunicorn=(
                *("serve_socketio:app", "-k"),
                "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
            ),
        ),
    ),
    benchmarks=(
        Benchmark("nodes", "node to node", "msg/s", measure_messages),
        beside("sendcpu", "to send one", "µs CPU", "nodes", True),
        beside("takecpu", "to take one", "µs CPU", "nodes", True),
        Benchmark("trip", "there and back, median", "µs", measure_trips, True),
        beside("trip99", "there and back, p99", "µs", "trip", True),
        Benchmark("group", "group on 2 nodes, 2,000", "deliveries/s", group),
        beside("groupcpu", "a delivery of these", "µs CPU", "group", True),
        Benchmark("chat4", "room, 4 workers, 1,000", "deliveries/s", chat),
        beside("chatcpu", "a delivery of these", "µs CPU", "chat4", True),
        Benchmark("grow", "a second worker", "times", grow),
        beside("workers1", "JSON echo, 1 worker", "msg/s", "grow", False),
        beside("workers2", "JSON echo, 2 workers", "msg/s", "grow", False),
    ),
    aims=(
        Aim("nodes", 150_000),
        Aim("nodes", 60_000, of="greenrelay-redis"),
        Aim("trip", 300),
        Aim("group", 5, SOCKETIO),
    ),
)
