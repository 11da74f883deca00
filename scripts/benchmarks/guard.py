"""A guard against getting slower: the last accepted ratios to the yardstick, and what fell since.

It reports and refuses nothing: a busy machine, or another one, moves ratios too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import samples_of
from benchmarks.runner import Results
from benchmarks.suite import Benchmark

ACCEPTED = Path(__file__).resolve().parent / "accepted.json"
FALL = 0.10  # of an accepted ratio; a quick run differs by about half of that from the next


@dataclass(frozen=True)
class Accepted:
    """What a run has been accepted with."""

    machine: str
    commit: str
    date: str
    ratios: dict[str, float]
    """Name of a benchmark → the subject's ratio to the yardstick."""

    @staticmethod
    def read(path: Path) -> Accepted | None:
        """Return what the file holds, or None if there is none."""
        if not path.exists():
            return None
        return Accepted(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def find_ratios(all_results: Sequence[Results]) -> dict[str, float]:
    """Return the subject's ratio in every row that has one, of the best rounds of both.

    What disturbs a round only ever makes it worse, and a few rounds are too few for a median.
    """
    found = {}
    for results in all_results:
        for benchmark in results.benchmarks:
            ours = best_round(results, results.suite.subject, benchmark)
            theirs = best_round(results, results.suite.yardstick, benchmark)
            if ours and theirs:
                found[benchmark.name] = round(ours / theirs, 4)
    return found


def best_round(results: Results, contender: str, benchmark: Benchmark) -> float | None:
    """Return the best value, or None if there is none."""
    samples = samples_of(results, contender, benchmark.name)
    values = [sample.value for sample in samples if sample]
    best = min if benchmark.is_lower_better else max
    return best(values, default=None)


def compare(
    accepted: Accepted | None,
    ratios: dict[str, float],
    benchmarks: Sequence[Benchmark],
    machine: str,
) -> Iterator[str]:
    """Give a line for each row that has fallen, and for what could not be compared.

    Args:
        ratios: of this run.
        benchmarks: what should have been measured in this run.
        machine: this one.
    """
    if accepted is None:
        yield "guard: no ratios are accepted yet; --quick --accept writes these"
        return
    known = f"accepted {accepted.date} at {accepted.commit}"
    if accepted.machine != machine:
        yield f"guard: {known} on another machine: {accepted.machine}"
    is_quiet = True
    for benchmark in benchmarks:
        before, now = accepted.ratios.get(benchmark.name), ratios.get(benchmark.name)
        if before is None and now is None:
            continue
        if before is None or now is None:
            missing = "accepted" if before is None else "measured"
            yield f"guard: {benchmark.name}: not {missing}, so not compared"
        elif fall(benchmark, before, now) > FALL:
            is_quiet = False
            lost = fall(benchmark, before, now)
            yield f"guard: {benchmark.name}: {lost:.0%} worse: {before:.2f} → {now:.2f}; {known}"
    if is_quiet:
        yield f"guard: nothing is more than {FALL:.0%} worse than {known}"


def fall(benchmark: Benchmark, before: float, now: float) -> float:
    """Return by what share of its goodness a row has fallen; less than 0 if it is better."""
    return 1 - (before / now if benchmark.is_lower_better else now / before)
