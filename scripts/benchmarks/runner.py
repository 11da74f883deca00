"""Alternating rounds: A B C, A B C, so that a change of the machine's mood hits all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.environment import Workbench
from benchmarks.suite import Benchmark, Contender, MeasurementFailed, Sample, Settings, Suite

FOREIGN = 0.10  # of a core, taken by other programs: too much for a sample


@dataclass
class Results:
    """What has been measured so far, also when the run was cut short."""

    suite: Suite
    contenders: Sequence[Contender]
    benchmarks: Sequence[Benchmark]
    rounds: dict[tuple[str, str], list[Sample | None]] = field(default_factory=dict)
    """(contender, benchmark) → one sample per round; None where that round failed."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """(contender, benchmark) → why a round of it failed, the last one's reason."""
    missing: dict[str, str] = field(default_factory=dict)
    """Contender → why it can't be measured at all."""
    is_complete: bool = False


def prepare_suite(bench: Workbench, results: Results) -> None:
    """Make ready what a suite needs; those that can't be installed are noted and left out."""
    if results.suite.prepare:
        results.suite.prepare(bench)
    for contender in results.contenders:
        failure = bench.install(contender)
        if failure:
            results.missing[contender.name] = failure


def measure_suites(bench: Workbench, all_results: Sequence[Results]) -> None:
    """Fill the results, round by round; without all rounds if the time is up before."""
    settings = bench.settings
    limit = settings.limit_seconds
    until = None if limit is None else time.monotonic() + limit
    for number in range(1, settings.rounds + 1):
        for results in all_results:
            for benchmark, contender in plan_round(results, settings, number):
                if until is not None and time.monotonic() > until:
                    return
                label = f"{number}/{settings.rounds} {benchmark.name:9} {contender.name:16}"
                print(label, end=" ", file=sys.stderr, flush=True)
                print(measure_once(bench, results, benchmark, contender), file=sys.stderr)
            results.is_complete = number == settings.rounds


def plan_round(
    results: Results, settings: Settings, number: int
) -> Iterator[tuple[Benchmark, Contender]]:
    """Give what is measured in a suite's round, row by row."""
    for benchmark in results.benchmarks:
        if benchmark.measure is None or (number > 1 and benchmark.name in settings.once):
            continue
        for contender in results.contenders:
            is_asked = contender.tests is None or benchmark.name in contender.tests
            if is_asked and contender.name not in results.missing:
                yield benchmark, contender


def measure_once(
    bench: Workbench, results: Results, benchmark: Benchmark, contender: Contender
) -> str:
    """Measure one cell for one round; return what came out in words."""
    key = (contender.name, benchmark.name)
    samples = results.rounds.setdefault(key, [])
    try:
        sample = measure_undisturbed(bench, benchmark, contender)
    except MeasurementFailed as failure:
        samples.append(None)
        results.failures[key] = str(failure)
        return f"failed: {failure}"
    samples.append(sample)
    for name, value in sample.others.items():
        other = Sample(value=value, foreign_share=sample.foreign_share)
        results.rounds.setdefault((contender.name, name), []).append(other)
    digits = 2 if sample.value < 100 else 0
    return f"{sample.value:,.{digits}f} {benchmark.unit}"


def measure_undisturbed(bench: Workbench, benchmark: Benchmark, contender: Contender) -> Sample:
    """Measure again while other programs use the cores; return the least disturbed sample."""
    assert benchmark.measure is not None  # plan_rounds leaves the others out
    best = benchmark.measure(bench, contender)
    for _ in range(bench.settings.more_tries):
        if best.foreign_share <= FOREIGN:
            break
        again = benchmark.measure(bench, contender)
        best = min(best, again, key=lambda sample: sample.foreign_share)
    return best
