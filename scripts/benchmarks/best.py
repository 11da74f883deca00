"""The suite of best cases: one process for all, spawned outside of a request; raw; no teardown.

They show what the relay itself costs; apps get what `apps` measures.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.suite import Aim, Benchmark, Suite
from benchmarks.wire import measure_memory, measure_rate


def echo(size: int) -> Any:
    return partial(measure_rate, mode="echo", path="/ws", connections=100, size=size)


fanout = partial(measure_rate, mode="fanout", path="/fan", connections=1_000, size=64)
memory = partial(measure_memory, mode="idle", path="/ws")
streams = partial(measure_memory, mode="streams", path="/idle")

SUITE = Suite(
    title="best case",
    prepare=attrgetter("load_client"),
    yardstick="hub",
    subject="greenrelay",
    contenders=CONTENDERS,
    benchmarks=(
        Benchmark("echo32", "echo 32 B", "msg/s", echo(32)),
        Benchmark("echo1k", "echo 1 KB", "msg/s", echo(1024)),
        Benchmark("echo64k", "echo 64 KB", "msg/s", echo(65536)),
        Benchmark("fanraw", "to 1,000 clients", "deliveries/s", fanout),
        Benchmark("memory", "idle", "KB/connection", memory, is_lower_better=True),
        Benchmark("streams", "idle streams", "KB/stream", streams, is_lower_better=True),
    ),
    aims=(
        *(
            Aim(size, bound, against)
            for size in ("echo32", "echo1k", "echo64k")
            for bound, against in ((0.85, "hub"), (2, "gevent-websocket"), (3, "flask-sock"))
        ),
        Aim("memory", 1.2),
        Aim("streams", 1.2),
    ),
)
