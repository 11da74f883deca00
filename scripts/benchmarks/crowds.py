"""What a crowd gets: how long it waits, what one more of it costs, how fast all come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.environment import Workbench
from benchmarks.machine import read_listen_limit
from benchmarks.suite import Contender, MeasurementFailed, Sample
from benchmarks.wire import (
    check_descriptors,
    counted_seconds,
    holding,
    load_seconds,
    make_sample,
    rehearse_and_run,
    run_load,
    serving,
)

CROWD_SECONDS = 120.0  # until a slow server has 15,000 connections, or has them again
RATE = 10_000  # messages a second
OPENING = 4_000  # handshakes under way in a storm: just below every server's listen backlog
STORM_WAIT_SECONDS = 1.0  # between the last greeting and the cut
LATE = 0.25  # of a latency may be the load client's own lateness
FLIGHT = 100  # messages under way, whatever the number of connections

Histogram = Sequence[Sequence[int]]
"""As the load client prints it: [[the most of a slot in us, how many], …], rising."""


def percentile(histogram: Histogram, share: float) -> int:
    """Return the microseconds within which this share of all was done.

    It is the most of the slot, so never too little, and at most 3 % too much.

    Raises:
        MeasurementFailed: nothing is in it.
    """
    total = sum(count for _, count in histogram)
    reached = 0
    for most, count in histogram:
        reached += count
        if reached >= share * total:
            return most
    raise MeasurementFailed("nothing was answered in the window")


def measure_latency(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return the milliseconds within which 99 % of messages at a fixed rate were answered."""
    said = rehearse_and_run(bench, contender, {"rate": RATE, **asked})
    waited, lagged = said.pop("waited"), said.pop("lagged")
    p50, p99, late = (
        percentile(*each) / 1000 for each in ((waited, 0.5), (waited, 0.99), (lagged, 0.99))
    )
    sample = make_sample(said, p99, {"p50": p50, "max": said["waited_max_us"] / 1000})
    if late > p99 * LATE:
        doubt = f"the load client itself was late by {late:.2f} of {p99:.2f} ms (p99)"
        return replace(sample, doubt=doubt)
    return sample


def measure_scale(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return the server's CPU time per message in µs, while it has so many connections.

    With it comes what each of them costs in KB, under the benchmark's name of `memory`.
    """
    memory = asked.pop("memory")
    asked.update(mode="rotate", flight=FLIGHT, deadline=CROWD_SECONDS)
    with holding(bench, contender, asked) as (_, load, growth):
        load.close_input(0)
        said = json.loads(load.read_line(load_seconds(bench)))
    if not said["count"]:
        raise MeasurementFailed("nothing was answered in the window")
    return make_sample(said, said["server_cpu"] / said["count"] * 1e6, {memory: growth})


def measure_storm(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return the seconds from the moment all are cut off until the last is greeted again."""
    check_descriptors(asked["connections"])
    opening = min(OPENING, read_listen_limit() - 96)
    asked.update(mode="storm", opening=opening, warmup=STORM_WAIT_SECONDS, deadline=CROWD_SECONDS)
    with serving(bench, contender, asked) as (server, port):
        said = run_load(bench, contender, server, port, asked)
    return make_sample(said, counted_seconds(bench, said))
