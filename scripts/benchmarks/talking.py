"""How two programs that talk are measured: one asks, on the load client's core; one answers."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.redis import serving_redis
from benchmarks.suite import Contender, Sample

START_SECONDS = 20.0
GRACE_SECONDS = 30.0  # beyond warm-up and window


@contextlib.contextmanager
def meeting(bench: Workbench, contender: Contender) -> Iterator[str]:
    """Give where a contender's two programs meet: a path, or a cluster's URL."""
    if "redis" in contender.name:
        with serving_redis(bench, both(bench)) as (_, url):
            yield url
    elif "greenrelay" in contender.packages:
        yield f"local:bench-{os.getpid()}"
    else:
        with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has 107 bytes
            yield str(Path(folder) / "socket")


def both(bench: Workbench) -> frozenset[int]:
    """Return both cores, for what is to run where there is room."""
    return frozenset((bench.cores.server, bench.cores.client))


def talk(bench: Workbench, contender: Contender, test: str) -> dict[str, Any]:
    """Run a contender's two programs; return what the one that asks says."""
    settings = bench.settings
    more = [test, str(settings.warmup_seconds), str(settings.seconds)]
    seconds = settings.warmup_seconds + settings.seconds + GRACE_SECONDS
    program, log = [bench.python, contender.program], bench.logs / f"{contender.name}-answer.log"
    with (
        meeting(bench, contender) as place,
        Child([*program, "answer", place, *more], bench.cores.server, log) as answer,
    ):
        answer.read_line(START_SECONDS)
        log = bench.logs / f"{contender.name}-ask.log"
        with Child([*program, "ask", place, *more], bench.cores.client, log) as ask:
            said = dict(json.loads(ask.read_line(seconds)))
        answer.close_input(1)
    return said


def measure_messages(bench: Workbench, contender: Contender) -> Sample:
    """Return how many messages a second go from one to the other.

    Per CPU: of the busier of the two, which is what holds the other up.
    """
    said = talk(bench, contender, "oneway")
    cpu = max(said["ask_cpu"], said["answer_cpu"])
    return Sample(
        value=said["count"] / (cpu if bench.settings.per_cpu else said["seconds"]),
        detail=said,
        client_share=said["ask_cpu"] / said["seconds"],
        server_share=said["answer_cpu"] / said["seconds"],
        others={
            "sendcpu": said["ask_cpu"] / said["count"] * 1e6,
            "takecpu": said["answer_cpu"] / said["count"] * 1e6,
        },
    )


def measure_trips(bench: Workbench, contender: Contender) -> Sample:
    """Return the microseconds within which half of the trips there and back were done."""
    said = talk(bench, contender, "trips")
    return Sample(value=said["p50_us"], detail=said, others={"trip99": said["p99_us"]})
