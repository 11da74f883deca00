"""The suite inside one interpreter: starting, talking, waiting; each against bare gevent."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.suite import Aim, Benchmark, Contender, Sample, Suite

ACTORS = Path(__file__).resolve().parent / "actors"
GRACE_SECONDS = 120.0  # for starting the idle ones, beyond warm-up and window
IDLE_PROCESSES = 100_000
IDLE_THREADS = 1_000  # a system's limit is not far above


def run(bench: Workbench, contender: Contender, test: str) -> dict[str, Any]:
    """Run a contender's program; return what it says."""
    warmup, seconds = bench.settings.warmup_seconds, bench.settings.seconds
    count = IDLE_THREADS if "pykka" in contender.packages else IDLE_PROCESSES
    arguments = [contender.name, test, str(warmup), str(seconds), str(count)]
    command = [bench.python, contender.program, *arguments]
    log = bench.logs / f"{contender.name}-processes.log"
    with Child(command, bench.cores.server, log) as program:
        return dict(json.loads(program.read_line(warmup + seconds + GRACE_SECONDS)))


def measure_rate(bench: Workbench, contender: Contender, test: str) -> Sample:
    """Return how many starts or messages a contender makes in a second."""
    said = run(bench, contender, test)
    return Sample(
        value=said["count"] / said["cpu" if bench.settings.per_cpu else "seconds"],
        detail=said,
        # Nobody waits for anything but its turn: what is missing, others had.
        foreign_share=max(0.0, 1 - said["cpu"] / said["seconds"]),
    )


def measure_memory(bench: Workbench, contender: Contender) -> Sample:
    """Return the KB by which a program grows with each process that waits."""
    said = run(bench, contender, "idle")
    return Sample(value=said["kb"], detail=said)


def row(name: str, title: str) -> Contender:
    return Contender(
        name=name,
        title=title,
        program=ACTORS / "run_greenrelay.py",
        packages=("greenrelay",),
        modules=("greenrelay.process",),
    )


SUITE = Suite(
    title="processes",
    yardstick="gevent",
    subject="greenrelay",
    contenders=(
        Contender(
            name="gevent",
            title="greenlets and queues",
            program=ACTORS / "run_gevent.py",
            packages=("gevent",),
            modules=("gevent",),
        ),
        row("greenrelay", "greenrelay"),
        row("greenrelay-monitor", "  monitored"),
        row("greenrelay-link", "  linked"),
        row("greenrelay-select", "  select() of three"),
        Contender(
            name="pykka",
            title="Pykka (threads)",
            program=ACTORS / "run_pykka.py",
            packages=("pykka",),
            modules=("pykka",),
            marks={"idle": f"{IDLE_THREADS:,} threads instead of {IDLE_PROCESSES:,} processes"},
        ),
    ),
    benchmarks=(
        Benchmark("spawn", "start and end", "/s", partial(measure_rate, test="spawn")),
        Benchmark("pingpong", "there and back", "msg/s", partial(measure_rate, test="pingpong")),
        Benchmark("oneway", "one way", "msg/s", partial(measure_rate, test="oneway")),
        Benchmark("idle", "idle", "KB/process", measure_memory, is_lower_better=True),
    ),
    aims=(
        Aim("spawn", 40_000),
        Aim("pingpong", 250_000),
        Aim("oneway", 1_300_000),
        Aim("idle", 10.5),
    ),
)
