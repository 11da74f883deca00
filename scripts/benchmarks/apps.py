"""The suite as apps have it: a Flask view with a teardown function, a process per connection, JSON.

Every peer does the same work with what it usually has for it; the bare hub does none of it, so
that the ratios show the price of all.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.crowds import measure_latency, measure_scale, measure_storm
from benchmarks.suite import Aim, Benchmark, Suite
from benchmarks.wire import Asked, measure_rate

CROWDS = ((100, "100"), (1_000, "1k"), (5_000, "5k"), (15_000, "15k"))
AS_APPS: Asked = {"teardown": 1, "json": 1, "size": 32}


def echo(**asked: Any) -> Any:
    """Return what measures answers to messages of 100 connections."""
    given: Asked = {**AS_APPS, "mode": "echo", "path": "/app", "connections": 100, **asked}
    return partial(measure_rate, **given)


def scale(connections: int, memory: str) -> Any:
    return partial(measure_scale, **AS_APPS, path="/app", connections=connections, memory=memory)


room: Asked = {**AS_APPS, "mode": "fanout", "path": "/room", "connections": 1_000, "size": 64}
events: Asked = {
    **AS_APPS,
    "mode": "streamfan",
    "path": "/events",
    "connections": 1_001,
    "size": 64,
}
connect: Asked = {**AS_APPS, "mode": "connect", "path": "/app", "connections": 32}
at_rate: Asked = {**AS_APPS, "mode": "latency", "path": "/app", "connections": 1_000}
storm: Asked = {**AS_APPS, "path": "/join", "connections": 5_000}


def make_scales() -> tuple[Benchmark, ...]:
    """Return the rows of growing crowds, messages first."""
    messages, memories = [], []
    for connections, short in CROWDS:
        what = f"{connections:,} connections"
        name, memory = f"scale{short}", f"kb{short}"
        measure = scale(connections, memory)
        messages.append(Benchmark(name, what, "µs CPU/message", measure, True, None, "scale"))
        memories.append(Benchmark(memory, what, "KB/connection", None, True, name, "scale"))
    return (*messages, *memories)


def make_latencies() -> tuple[Benchmark, ...]:
    """Return the rows of one measurement of waiting."""
    measure = partial(measure_latency, **at_rate)
    others = {"p50": "latency, median", "max": "latency, longest"}
    return (
        Benchmark("latency", "latency, p99", "ms", measure, True),
        *(
            Benchmark(name, title, "ms", None, True, measured_with="latency")
            for name, title in others.items()
        ),
    )


SUITE = Suite(
    title="as apps have it",
    prepare=attrgetter("load_client"),
    yardstick="hub",
    subject="greenrelay",
    contenders=CONTENDERS,
    benchmarks=(
        Benchmark("connect", "connect", "connections/s", partial(measure_rate, **connect)),
        Benchmark("storm", "5,000 come back", "s", partial(measure_storm, **storm), True),
        Benchmark("app", "JSON echo", "msg/s", echo()),
        Benchmark("appraw", "raw echo", "msg/s", echo(path="/appraw", json=0)),
        Benchmark("gunicorn", "JSON, gunicorn", "msg/s", echo(gunicorn=1)),
        Benchmark("tls", "JSON, TLS", "msg/s", echo(tls=1)),
        Benchmark("deflate", "JSON 1 KB, deflate", "msg/s", echo(deflate=1, size=1024)),
        *make_latencies(),
        Benchmark("fanout", "to 1,000 clients", "deliveries/s", partial(measure_rate, **room)),
        Benchmark("streamfan", "to 1,000 streams", "deliveries/s", partial(measure_rate, **events)),
        *make_scales(),
    ),
    aims=(
        Aim("app", 0.48, "hub"),
        Aim("app", 1, "aiohttp"),
        Aim("appraw", 0.58, "hub"),
        Aim("connect", 1.2, "gevent-websocket"),
        *(
            Aim("fanout", 1, peer.name)
            for peer in CONTENDERS
            if peer.name not in ("hub", "greenrelay", "flask")
        ),
    ),
)
