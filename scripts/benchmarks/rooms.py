"""How servers with several workers are measured: each is a gunicorn, as apps have it.

Where both sides' cores matter, all workers and Redis share the server's core, so that the load
client has its own and the rate is that of one core's work. Where a worker is added, all of them and
the load client run where there is room.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.machine import find_workers
from benchmarks.redis import serving_redis
from benchmarks.suite import Contender, MeasurementFailed, Sample
from benchmarks.talking import both
from benchmarks.wire import (
    GRACE_SECONDS,
    PAUSE_SECONDS,
    SERVERS,
    START_SECONDS,
    check_descriptors,
    counted_seconds,
    load_options,
    load_seconds,
    make_sample,
)

WORKERS_SECONDS = 20.0  # until each of them has answered once
SETTLE_SECONDS = 0.5  # for workers to meet, and to learn of one another's names
REHEARSING_CONNECTIONS = 100
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"


@dataclass(frozen=True)
class Layout:
    """Who serves."""

    servers: int = 1
    """Each on a port of its own; the load client takes the first two in turn."""
    workers: int = 1
    """Of each."""
    is_pinned: bool = True
    """All on the server's core; else where there is room, and the load client, too."""


@contextlib.contextmanager
def serving(
    bench: Workbench, contender: Contender, layout: Layout
) -> Iterator[tuple[list[int], list[int]]]:
    """Run a contender's servers, and Redis for those that need it; give ports and PIDs."""
    core = bench.cores.server if layout.is_pinned else both(bench)
    environment = {}
    pids = []
    with contextlib.ExitStack() as stack:
        if contender.name.endswith("local"):
            environment = {"GREENRELAY_CLUSTER": f"local:bench-{os.getpid()}"}
        else:
            redis, url = stack.enter_context(serving_redis(bench, core))
            environment = {"GREENRELAY_CLUSTER": url, "BENCH_REDIS": url}
            pids.append(redis.pid)
        ports = []
        for number in range(layout.servers):
            command = [bench.python, SERVERS / "serve_gunicorn.py", *contender.gunicorn]
            command += ["--workers", str(layout.workers)]
            log = bench.logs / f"{contender.name}-{number}.log"
            server = stack.enter_context(Child(command, core, log, environment))
            ports.append(int(server.read_line(START_SECONDS).split()[1]))
            await_workers(ports[-1], layout.workers)
            pids += find_workers(server.pid)
        time.sleep(SETTLE_SECONDS)
        yield ports, pids


def await_workers(port: int, count: int) -> None:
    """Wait until so many workers have answered."""
    seen: set[bytes] = set()
    until = time.monotonic() + WORKERS_SECONDS
    while len(seen) < count:
        if time.monotonic() > until:
            raise MeasurementFailed(f"{len(seen)} of {count} workers answer")
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            address = ("127.0.0.1", port)
            asked = [
                stack.enter_context(socket.create_connection(address, WORKERS_SECONDS))
                for _ in range(2 * count)
            ]
            for each in asked:
                each.sendall(b"GET /worker HTTP/1.0\r\nHost: bench\r\n\r\n")
            seen |= {read_body(each) for each in asked} - {b""}
        time.sleep(0.02)


def read_body(asked: socket.socket) -> bytes:
    with asked.makefile("rb") as answer:
        return answer.read().partition(b"\r\n\r\n")[2]


def run_load(
    bench: Workbench, contender: Contender, where: tuple[list[int], list[int]], **asked: Any
) -> dict[str, Any]:
    """Run the load client; return what it says."""
    is_pinned = asked.pop("is_pinned")
    ports, pids = where
    options = load_options(bench, contender, asked)
    options.update(port=ports[0], server_pids=",".join(map(str, pids)))
    if len(ports) > 1:
        options.update(other_port=ports[1])
    arguments = [f"{name}={value}" for name, value in options.items()]
    core = bench.cores.client if is_pinned else both(bench)
    with Child([bench.load_client, *arguments], core, bench.logs / "load.log") as load:
        return dict(json.loads(load.read_line(load_seconds(bench) + GRACE_SECONDS)))


def rehearse_and_run(
    bench: Workbench, contender: Contender, layout: Layout, **asked: Any
) -> dict[str, Any]:
    """Return what the load client says of servers that have been used before."""
    check_descriptors(asked["connections"])
    if "socketio" in contender.name:
        path = SOCKET_IO + ("&room=1" if asked["mode"] == "fanout" else "")
        asked.update(path=path, socketio=1)
    asked.update(json=1, is_pinned=layout.is_pinned)
    few = min(REHEARSING_CONNECTIONS, asked["connections"])
    shorter = {"connections": few, "warmup": 0, "seconds": bench.settings.warmup_seconds}
    with serving(bench, contender, layout) as where:
        run_load(bench, contender, where, **{**asked, **shorter})
        time.sleep(PAUSE_SECONDS)
        return run_load(bench, contender, where, **asked)


def measure_deliveries(
    bench: Workbench, contender: Contender, layout: Layout, cost: str, **asked: Any
) -> Sample:
    """Return how many deliveries a second servers make, or a second of all their CPU.

    With it comes what a delivery costs all of them together, Redis as well, in µs, under `cost`.
    """
    said = rehearse_and_run(bench, contender, layout, mode="fanout", **asked)
    if not said["count"]:
        raise MeasurementFailed("nothing was delivered in the window")
    others = {cost: said["server_cpu"] / said["count"] * 1e6}
    return make_sample(said, said["count"] / counted_seconds(bench, said), others)


def measure_growth(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return how many times as many messages two workers answer as one does.

    Both are by elapsed time: a second of CPU would be the same whoever works.
    """
    rates, shares = [], []
    for workers in (1, 2):
        layout = Layout(workers=workers, is_pinned=False)
        said = rehearse_and_run(bench, contender, layout, mode="echo", **asked)
        rates.append(said["count"] / said["seconds"])
        shares.append(foreign_share(said))
    if not rates[0]:
        raise MeasurementFailed("nothing was answered in the window")
    others = {"workers1": rates[0], "workers2": rates[1]}
    return Sample(rates[1] / rates[0], foreign_share=max(shares), others=others)


def foreign_share(said: dict[str, Any]) -> float:
    """Return how much of both cores others have used, where nobody has one of his own."""
    sides = ("client", "server")
    foreign = sum(said[f"{side}_busy"] - said[f"{side}_cpu"] for side in sides)
    return max(0.0, foreign / said["seconds"] / len(sides))
