"""The suite over the wire: echo, fan-out, memory, connecting; each against the bare hub."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.machine import read_resident_kb
from benchmarks.suite import Aim, Benchmark, Contender, MeasurementFailed, Sample, Suite

SERVERS = Path(__file__).resolve().parent / "servers"
START_SECONDS = 20.0  # until a server says its port
GRACE_SECONDS = 30.0  # for opening the connections, beyond warm-up and window
PAUSE_SECONDS = 0.3  # for a server to see that its clients have left
IDLE_CONNECTIONS = 5_000
WARMING_CONNECTIONS = 50  # before the first reading, so that lazy imports are not counted
MOST = 5_000_000  # messages in one window, whatever its seconds are


@contextlib.contextmanager
def serving(bench: Workbench, contender: Contender) -> Iterator[tuple[Child, int]]:
    """Run a contender's server; give it and its port."""
    log = bench.logs / f"{contender.name}.log"
    with Child([bench.python, contender.program], bench.cores.server, log) as server:
        word, port = server.read_line(START_SECONDS).split()
        if word != "port":
            raise MeasurementFailed(f"{contender.program.name} did not say its port")
        yield server, int(port)


def start_load(bench: Workbench, server: Child, port: int, **options: Any) -> Child:
    """Start the load client against a server."""
    given = {
        "port": port,
        "server_pid": server.pid,
        "server_core": bench.cores.server,
        "client_core": bench.cores.client,
        "binary": int(bench.settings.opcode == "binary"),
        "warmup": bench.settings.warmup_seconds,
        "seconds": bench.settings.seconds,
        "most": MOST,
        "deadline": load_seconds(bench),
        **options,
    }
    arguments = [f"{name}={value}" for name, value in given.items()]
    return Child([bench.load_client, *arguments], bench.cores.client, bench.logs / "load.log")


def run_load(bench: Workbench, server: Child, port: int, **options: Any) -> dict[str, Any]:
    """Run the load client until it has measured; return what it says."""
    with start_load(bench, server, port, **options) as load:
        return dict(json.loads(load.read_line(load_seconds(bench) + GRACE_SECONDS)))


def load_seconds(bench: Workbench) -> float:
    """Return after how many seconds a load client gives up."""
    return bench.settings.warmup_seconds + bench.settings.seconds + GRACE_SECONDS


def measure_rate(bench: Workbench, contender: Contender, **options: Any) -> Sample:
    """Return how many messages, deliveries or connections a server makes in a second.

    A first, shorter load is not counted: asyncio's servers are twice as fast after their first
    clients have left, when malloc has learnt what size their receive buffers are.
    """
    rehearsal = {"mode": "echo", "path": "/ws", "connections": 100, "size": options.get("size", 32)}
    with serving(bench, contender) as (server, port):
        run_load(bench, server, port, **rehearsal, warmup=0, seconds=bench.settings.warmup_seconds)
        time.sleep(PAUSE_SECONDS)
        said = run_load(bench, server, port, **options)
    seconds = said["seconds"]
    foreign = max(said[f"{side}_busy"] - said[f"{side}_cpu"] for side in ("client", "server"))
    return Sample(
        value=said["count"] / (said["server_cpu"] if bench.settings.per_cpu else seconds),
        detail=said,
        client_share=said["client_busy"] / seconds,
        server_share=said["server_busy"] / seconds,
        foreign_share=max(0.0, foreign / seconds),
    )


def measure_memory(bench: Workbench, contender: Contender, **options: Any) -> Sample:
    """Return the KB by which a server grows with each idle connection."""
    with serving(bench, contender) as (server, port):
        few = {**options, "connections": WARMING_CONNECTIONS}
        with start_load(bench, server, port, **few) as load:
            load.read_line(load_seconds(bench))
            load.close_input(GRACE_SECONDS)
        time.sleep(bench.settings.settle_seconds)
        before = read_resident_kb(server.pid)
        deadline = load_seconds(bench) + bench.settings.settle_seconds
        many = {**options, "connections": IDLE_CONNECTIONS, "deadline": deadline}
        with start_load(bench, server, port, **many) as load:
            load.read_line(deadline)
            time.sleep(bench.settings.settle_seconds)
            after = read_resident_kb(server.pid)
    detail = {"before_kb": before, "after_kb": after, "connections": IDLE_CONNECTIONS}
    return Sample(value=(after - before) / IDLE_CONNECTIONS, detail=detail)


def echo(size: int) -> Any:
    return partial(measure_rate, mode="echo", path="/ws", connections=100, size=size)


fanout = partial(measure_rate, mode="fanout", path="/fan", connections=1_000, size=64)
connect = partial(measure_rate, mode="connect", path="/ws", connections=32)
memory = partial(measure_memory, mode="idle", path="/ws")
streams = partial(measure_memory, mode="streams", path="/events")

NO_VIEW = {"connect": "its own handshake, no Flask view"}
WEBSOCKETS = ("echo32", "echo1k", "echo64k", "fanout", "memory", "connect")

CONTENDERS = (
    Contender(
        name="hub",
        title="bare gevent hub",
        program=SERVERS / "serve_hub.py",
        packages=("gevent", "websockets"),
        modules=("gevent", "websockets.speedups"),
        marks=NO_VIEW,
    ),
    Contender(
        name="greenrelay",
        title="greenrelay",
        program=SERVERS / "serve_greenrelay.py",
        packages=("greenrelay",),
        modules=("greenrelay.server",),
    ),
    Contender(
        name="gevent-websocket",
        title="gevent-websocket",
        program=SERVERS / "serve_gevent_websocket.py",
        packages=("gevent", "gevent-websocket", "Flask"),
        modules=("gevent", "geventwebsocket.handler", "flask"),
        tests=WEBSOCKETS,
    ),
    Contender(
        name="flask-sock",
        title="flask-sock on gevent",
        program=SERVERS / "serve_flask_sock.py",
        packages=("gevent", "flask-sock"),
        modules=("gevent", "flask_sock"),
        tests=WEBSOCKETS,
    ),
    Contender(
        name="flask",
        title="Flask on pywsgi",
        program=SERVERS / "serve_flask.py",
        packages=("gevent", "Flask"),
        modules=("gevent", "flask"),
        tests=("streams",),
    ),
    Contender(
        name="aiohttp",
        title="aiohttp",
        program=SERVERS / "serve_aiohttp.py",
        packages=("aiohttp",),
        modules=("aiohttp.web",),
        marks=NO_VIEW,
    ),
    Contender(
        name="picows",
        title="picows (Cython)",
        program=SERVERS / "serve_picows.py",
        packages=("picows",),
        modules=("picows",),
        optional=("uvloop",),
        tests=WEBSOCKETS,
        marks=NO_VIEW,
    ),
    Contender(
        name="websockets",
        title="websockets (asyncio)",
        program=SERVERS / "serve_websockets.py",
        packages=("websockets",),
        modules=("websockets.asyncio.server",),
        tests=WEBSOCKETS,
        marks=NO_VIEW,
    ),
)

SUITE = Suite(
    title="over the wire",
    prepare=attrgetter("load_client"),
    yardstick="hub",
    subject="greenrelay",
    contenders=CONTENDERS,
    benchmarks=(
        Benchmark("echo32", "echo 32 B", "msg/s", echo(32)),
        Benchmark("echo1k", "echo 1 KB", "msg/s", echo(1024)),
        Benchmark("echo64k", "echo 64 KB", "msg/s", echo(65536)),
        Benchmark("fanout", "to 1,000 clients", "deliveries/s", fanout),
        Benchmark("memory", "idle", "KB/connection", memory, is_lower_better=True),
        Benchmark("streams", "idle streams", "KB/stream", streams, is_lower_better=True),
        Benchmark("connect", "connect", "connections/s", connect),
    ),
    aims=(
        *(
            Aim(size, bound, against)
            for size in ("echo32", "echo1k", "echo64k")
            for bound, against in ((0.8, "hub"), (2, "gevent-websocket"), (3, "flask-sock"))
        ),
        *(
            Aim("fanout", 1, peer.name)
            for peer in CONTENDERS
            if peer.name not in ("hub", "greenrelay", "flask")
        ),
        Aim("memory", 2),
        Aim("streams", 2),
    ),
)
