"""The table, the aims, the warnings; the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.runner import FOREIGN, Results
from benchmarks.suite import Aim, Benchmark, Contender, Sample

BUSY = 0.85  # a core above this share is at its end
COLUMN = 18
FIRST_COLUMN = 34


def middle(results: Results, contender: str, benchmark: str) -> float | None:
    """Return the median of the rounds, or None if there is none."""
    values = [sample.value for sample in samples_of(results, contender, benchmark) if sample]
    return median(values) if values else None


def ratio(results: Results, contender: str, benchmark: str, against: str) -> float | None:
    """Return the median of each round's ratio: both numbers are of the same minute."""
    ours = samples_of(results, contender, benchmark)
    theirs = samples_of(results, against, benchmark)
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if one and other]
    ratios = [one.value / other.value for one, other in pairs if other.value]
    return median(ratios) if ratios else None


def samples_of(results: Results, contender: str, benchmark: str) -> list[Sample | None]:
    return results.rounds.get((contender, benchmark), [])


def make_report(results: Results) -> str:
    """Return everything there is to say about a suite, as lines for a terminal."""
    parts = (make_table(results), make_notes(results), make_aims(results), make_warnings(results))
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def make_table(results: Results) -> Iterator[str]:
    contenders = shown_contenders(results)
    yield f"{results.suite.title:{FIRST_COLUMN}}" + "".join(
        f"{contender.name:>{COLUMN - 1}} " for contender in contenders
    )
    for benchmark in results.benchmarks:
        cells = [make_cell(results, contender, benchmark) for contender in contenders]
        title = f"{benchmark.title}, {benchmark.unit}"
        yield f"{title:{FIRST_COLUMN}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def shown_contenders(results: Results) -> list[Contender]:
    """Return those that take part in something; the others would be empty columns."""
    names = {benchmark.name for benchmark in results.benchmarks}
    return [each for each in results.contenders if each.tests is None or names & {*each.tests}]


def make_cell(results: Results, contender: Contender, benchmark: Benchmark) -> str:
    """Return a number and its ratio to the yardstick: `145,300  0.84 `."""
    if contender.name in results.missing:
        return "not measured "
    value = middle(results, contender.name, benchmark.name)
    if value is None:
        return "failed " if is_failed(results, contender, benchmark) else "- "
    mark = "*" if benchmark.name in contender.marks else " "
    share = ratio(results, contender.name, benchmark.name, results.suite.yardstick)
    return f"{format_value(value)} {'-' if share is None else f'{share:.2f}':>5}{mark}"


def is_failed(results: Results, contender: Contender, benchmark: Benchmark) -> bool:
    measured = benchmark.measured_with or benchmark.name
    return (contender.name, measured) in results.failures


def make_markdown(results: Results) -> Iterator[str]:
    """Give the table as README has it: without ratios, the subject first, the yardstick last.

    Those with a number in one row only have a line below instead of a column.
    """
    suite = results.suite
    ends = {suite.subject: 0, suite.yardstick: 2}
    contenders = sorted(shown_contenders(results), key=lambda each: ends.get(each.name, 1))
    alone = [each for each in contenders if len(measured_rows(results, each)) == 1]
    columns = [each for each in contenders if each not in alone]
    yield markdown_row(results, suite.title, [each.title for each in columns], columns)
    yield "|---|" + "---:|" * len(columns)
    for benchmark in results.benchmarks:
        cells = [format_number(results, contender, benchmark) for contender in columns]
        yield markdown_row(results, f"{benchmark.title}, {benchmark.unit}", cells, columns)
    for contender in alone:
        (benchmark,) = measured_rows(results, contender)
        number = format_number(results, contender, benchmark)
        yield ""
        yield f"{contender.title}, {benchmark.title}: {number} {benchmark.unit}."


def measured_rows(results: Results, contender: Contender) -> list[Benchmark]:
    return [b for b in results.benchmarks if middle(results, contender.name, b.name) is not None]


def markdown_row(
    results: Results, first: str, cells: list[str], contenders: list[Contender]
) -> str:
    """Return a line of a table, the subject's cell bold."""
    pairs = zip(cells, contenders, strict=True)
    bold = [f"**{cell}**" if c.name == results.suite.subject else cell for cell, c in pairs]
    return f"| {first} | " + " | ".join(bold) + " |"


def format_number(results: Results, contender: Contender, benchmark: Benchmark) -> str:
    """Return a number for Markdown, with a star where it is of something different."""
    value = middle(results, contender.name, benchmark.name)
    if value is None:
        return "–"
    return format_value(value) + (r" \*" if benchmark.name in contender.marks else "")


def format_value(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def make_notes(results: Results) -> Iterator[str]:
    """Explain the second numbers, the stars, the gaps."""
    yardstick = next(c for c in results.suite.contenders if c.name == results.suite.yardstick)
    yield f"Medians of the rounds; the second number of a pair is the ratio to: {yardstick.title}."
    if yardstick.is_bare:
        yield f"The {yardstick.title} echoes raw in every row: no JSON, TLS, compression, gunicorn."
    for benchmark in results.benchmarks:
        if benchmark.is_lower_better:
            yield f"{benchmark.title}, {benchmark.unit}: less is better."
        marks = {contender.marks.get(benchmark.name, "") for contender in results.contenders}
        for mark in sorted(marks - {""}):
            yield f"* {benchmark.title}: {mark}"
    for name, why in results.missing.items():
        yield f"{name}: not measured: {why}"
    for (name, test), why in results.failures.items():
        samples = samples_of(results, name, test)
        yield f"{name}, {test}: {samples.count(None)} of {len(samples)} rounds failed: {why}"
    if not results.is_complete:
        yield "Cut short: these are the rounds until then."


def make_aims(results: Results) -> Iterator[str]:
    """Say of each aim whether it is met; those not measured this time are left out."""
    for aim in results.suite.aims:
        reached = reach(results, aim)
        benchmark = next(b for b in results.suite.benchmarks if b.name == aim.benchmark)
        if reached is None:
            continue
        is_met = reached <= aim.bound if benchmark.is_lower_better else reached >= aim.bound
        sign = "≤" if benchmark.is_lower_better else "≥"
        goal = f"{sign} {aim.bound:g} × {aim.against}" if aim.against else f"{sign} {aim.bound:g}"
        unit = "" if aim.against else f" {benchmark.unit}"
        verdict = "met" if is_met else "MISSED"
        title = f"{benchmark.title}, {aim.of}" if aim.of else benchmark.title
        yield f"aim  {title:17} {goal + unit:24} {reached:8.2f}  {verdict}"


def reach(results: Results, aim: Aim) -> float | None:
    about = aim.of or results.suite.subject
    if aim.against is None:
        return middle(results, about, aim.benchmark)
    return ratio(results, about, aim.benchmark, aim.against)


def make_warnings(results: Results) -> Iterator[str]:
    """Say what makes the numbers doubtful."""
    every = [sample for samples in results.rounds.values() for sample in samples if sample]
    disturbed = [sample.foreign_share for sample in every if sample.foreign_share > FOREIGN]
    if disturbed:
        yield (
            f"warning: other programs took up to {max(disturbed):.0%} of a measured core, in "
            f"{len(disturbed)} of {len(every)} samples; --per-cpu is less moved by that"
        )
    doubts = {
        (name, test, sample.doubt)
        for (name, test), samples in results.rounds.items()
        for sample in samples
        if sample and sample.doubt
    }
    yield from (f"warning: {name}, {test}: {doubt}" for name, test, doubt in sorted(doubts))
    for benchmark in results.benchmarks:
        held = [
            each.name
            for each in results.contenders
            if any(s and is_client_bound(s) for s in samples_of(results, each.name, benchmark.name))
        ]
        if held:
            yield (
                f"warning: {benchmark.name}: the load client's core was over {BUSY:.0%} busy while "
                f"the server's was not, in some round of: {', '.join(held)}"
            )


def is_client_bound(sample: Sample) -> bool:
    return (sample.client_share or 0) > BUSY >= (sample.server_share or 0)


def make_record(results: Results) -> dict[str, Any]:
    """Return a suite's results for a JSON file, every round of them."""
    return {
        "suite": results.suite.title,
        "yardstick": results.suite.yardstick,
        "complete": results.is_complete,
        "missing": results.missing,
        "failures": [[*key, why] for key, why in results.failures.items()],
        "results": [
            {
                "contender": name,
                "benchmark": test,
                "median": middle(results, name, test),
                "ratio": ratio(results, name, test, results.suite.yardstick),
                "rounds": [sample and asdict(sample) for sample in samples],
            }
            for (name, test), samples in results.rounds.items()
        ],
    }
