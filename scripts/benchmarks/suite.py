"""What is measured: benchmarks in rows, contenders in columns, one yardstick per suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class MeasurementFailed(Exception):
    """A contender could not be measured; the text is shown in place of its number."""


@dataclass(frozen=True)
class Contender:
    """One column of a table."""

    name: str
    """What `--only` calls it."""
    title: str
    program: Path
    packages: tuple[str, ...]
    """What pip installs for it."""
    modules: tuple[str, ...]
    """What must be importable for it to run."""
    optional: tuple[str, ...] = ()
    """Packages it runs faster with, but also without."""
    tests: tuple[str, ...] | None = None
    """Names of the benchmarks that it can be measured in; None: all of the suite."""
    marks: dict[str, str] = field(default_factory=dict)
    """Benchmark name → what is different in its number there."""
    is_bare: bool = False
    """Over the wire: answers raw in every benchmark, whatever the others have to do there."""
    gunicorn: tuple[str, ...] = ()
    """Over the wire: what gunicorn is told to serve it."""


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    rounds: int = 3
    warmup_seconds: float = 0.5
    """Not counted, at the start of every load."""
    seconds: float = 2.0
    settle_seconds: float = 2.0
    """Between the last of the idle connections and reading the memory."""
    opcode: str = "text"
    per_cpu: bool = False
    """Rates per second of the server's CPU time instead of per elapsed second."""
    more_tries: int = 2
    """For a quieter sample, when other programs used the cores."""
    once: tuple[str, ...] = ()
    """Benchmarks of which one round is enough."""
    limit_seconds: float | None = None
    """After so long no further measurement is begun."""


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    value: float
    """In the benchmark's unit."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What the load client said, as it is."""
    client_share: float | None = None
    """How much of the window the load client's core was not idle, 0 to 1."""
    server_share: float | None = None
    foreign_share: float = 0.0
    """How much of the window other programs took of one of the two cores."""
    doubt: str | None = None
    """What else makes it doubtful."""
    others: dict[str, float] = field(default_factory=dict)
    """Name of another benchmark → its value, which came out of the same measurement."""


@dataclass(frozen=True)
class Benchmark:
    """One row of a table.

    `measure` takes the workbench (`environment.Workbench`) and a contender, and returns a
    sample or raises `MeasurementFailed`. It is None where another benchmark's sample has this
    one's value too, among its `others`: `measured_with` names that one.
    """

    name: str
    """What `--tests` calls it."""
    title: str
    unit: str
    measure: Callable[[Any, Contender], Sample] | None
    is_lower_better: bool = False
    measured_with: str | None = None
    group: str | None = None
    """What `--tests` calls it together with others."""


@dataclass(frozen=True)
class Aim:
    """What greenrelay wants to reach: a ratio against a contender, or an absolute number."""

    benchmark: str
    bound: float
    against: str | None = None
    """A contender's name; None: `bound` is in the benchmark's unit."""
    of: str | None = None
    """The contender that it is about; None: the suite's subject."""


@dataclass(frozen=True)
class Suite:
    title: str
    yardstick: str
    """The contender that every ratio is made against."""
    subject: str
    """The contender that the aims are about."""
    contenders: tuple[Contender, ...]
    benchmarks: tuple[Benchmark, ...]
    aims: tuple[Aim, ...] = ()
    prepare: Callable[[Any], object] | None = None
    """Called with the workbench before the first round, for what all contenders need."""
