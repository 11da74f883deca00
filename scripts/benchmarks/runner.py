"""Alternating rounds: A B C, A B C, so that a change of the machine's mood hits all alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.environment import Workbench
from benchmarks.suite import Benchmark, Contender, MeasurementFailed, Sample, Suite

FOREIGN = 0.10  # of a core, taken by other programs: too much for a sample
MORE_TRIES = 2  # for a quieter one


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


def measure_suite(bench: Workbench, results: Results) -> None:
    """Fill `results`; those that can't be installed are noted and left out."""
    if results.suite.prepare:
        results.suite.prepare(bench)
    for contender in results.contenders:
        failure = bench.install(contender)
        if failure:
            results.missing[contender.name] = failure
    running = [each for each in results.contenders if each.name not in results.missing]
    for number in range(1, bench.settings.rounds + 1):
        for benchmark in results.benchmarks:
            for contender in running:
                if contender.tests is not None and benchmark.name not in contender.tests:
                    continue
                label = f"{number}/{bench.settings.rounds} {benchmark.name:8} {contender.name:16}"
                print(label, end=" ", file=sys.stderr, flush=True)
                print(measure_once(bench, results, benchmark, contender), file=sys.stderr)
    results.is_complete = True


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
    digits = 2 if sample.value < 100 else 0
    return f"{sample.value:,.{digits}f} {benchmark.unit}"


def measure_undisturbed(bench: Workbench, benchmark: Benchmark, contender: Contender) -> Sample:
    """Measure again while other programs use the cores; return the least disturbed sample."""
    best = benchmark.measure(bench, contender)
    for _ in range(MORE_TRIES):
        if best.foreign_share <= FOREIGN:
            break
        again = benchmark.measure(bench, contender)
        best = min(best, again, key=lambda sample: sample.foreign_share)
    return best
