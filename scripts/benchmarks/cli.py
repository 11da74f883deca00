"""Options, and the order of things."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

from benchmarks import apps, best, guard, nodes, processes
from benchmarks.environment import ROOT, EnvironmentBroken, Workbench, read_commit
from benchmarks.machine import Cores, describe_machine, pick_cores, raise_descriptor_limit
from benchmarks.report import make_markdown, make_record, make_report
from benchmarks.runner import Results, measure_suites, prepare_suite
from benchmarks.suite import Benchmark, Settings, Suite

SUITES: tuple[Suite, ...] = (apps.SUITE, best.SUITE, processes.SUITE, nodes.SUITE)
QUICK_TESTS = ("app", "appraw", "connect", "fanout", "streamfan", "echo32", "echo64k", "memory")
# Two minutes at most, the last measurement's seconds included. The server's CPU is what it costs,
# whoever else is there.
QUICK = Settings(
    rounds=3,
    warmup_seconds=0.2,
    seconds=0.5,
    settle_seconds=1.0,
    per_cpu=True,
    more_tries=0,
    once=("memory",),
    limit_seconds=110,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, return the exit code: 0, 2 for a wrong option, 130 after Ctrl-C."""
    options = parse_options(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    settings = make_settings(options)
    bench = Workbench(options.cache, options.cores or pick_cores(), settings)
    all_results = [choose(suite, options) for suite in SUITES]
    all_results = [results for results in all_results if results.benchmarks]
    code = 0
    try:
        warn_about_machine(bench.cores)
        bench.make_venv()
        for results in all_results:
            prepare_suite(bench, results)
        measure_suites(bench, all_results)
    except EnvironmentBroken as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the line of the measurement that was under way
        code = 130
    print_reports(bench, all_results)
    if options.quick and code == 0:
        print_guard(options, all_results)
    write_files(options, bench, all_results)
    return code


def interrupt(signum: int, frame: object) -> NoReturn:
    """Take SIGTERM as Ctrl-C: what has been started is ended, what is known is printed."""
    raise KeyboardInterrupt


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure greenrelay beside its peers: ratios to the bare hub, side by side.",
        epilog="The peers live in a virtual environment of their own in the cache folder.",
    )
    rows = [each for suite in SUITES for each in suite.benchmarks if each.measured_with is None]
    groups = dict.fromkeys(each.group for each in rows if each.group)
    tests = [*(each.name for each in rows), *groups]
    names = list(dict.fromkeys(each.name for suite in SUITES for each in suite.contenders))
    parser.add_argument(
        "--quick",
        action="store_true",
        help="in two minutes: has greenrelay become slower? compares ratios with the accepted ones",
    )
    parser.add_argument(
        "--accept", action="store_true", help=f"with --quick: write {guard.ACCEPTED.name} anew"
    )
    parser.add_argument(
        "--only",
        type=one_of(names),
        metavar="NAME,NAME",
        help=f"these beside the yardstick: {', '.join(names)}",
    )
    parser.add_argument(
        "--tests", type=one_of(tests), metavar="TEST,TEST", help=f"of: {', '.join(tests)}"
    )
    parser.add_argument("--rounds", type=at_least_one, metavar="N", help="default: 3")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables as README has them"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE too")
    parser.add_argument("--binary", action="store_true", help="binary messages instead of text")
    parser.add_argument(
        "--per-cpu",
        action="store_true",
        help="rates per second of the server's CPU time: steadier where others use the machine too",
    )
    parser.add_argument(
        "--cores", type=two_cores, metavar="SERVER,CLIENT", help="default: two that share nothing"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".venv-bench", metavar="FOLDER", help="%(default)s"
    )
    options = parser.parse_args(arguments)
    if options.accept and (not options.quick or options.only or options.tests):
        parser.error("--accept goes with --quick, and with all it measures: no --only, no --tests")
    return options


def one_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return an option type: a list with commas, of known names only."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)} unknown, there are {', '.join(known)}"
            )
        return names

    return parse


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1, not {text!r}")
    return int(text)


def two_cores(text: str) -> Cores:
    allowed = os.sched_getaffinity(0)
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) in allowed for part in parts):
        raise argparse.ArgumentTypeError(f"two of {sorted(allowed)} with a comma, not {text!r}")
    return Cores(int(parts[0]), int(parts[1]))


def make_settings(options: argparse.Namespace) -> Settings:
    settings = QUICK if options.quick else Settings()
    limit = None if options.only or options.tests else settings.limit_seconds
    return replace(
        settings,
        limit_seconds=limit,
        rounds=options.rounds or settings.rounds,
        opcode="binary" if options.binary else "text",
        per_cpu=options.per_cpu or settings.per_cpu,
    )


def choose(suite: Suite, options: argparse.Namespace) -> Results:
    """Return the empty results of what is asked for; the yardstick is always measured too."""
    names = [each.name for each in suite.contenders]
    only = options.only or ([suite.subject] if options.quick else names)
    tests = options.tests or (QUICK_TESTS if options.quick else None)
    return Results(
        suite,
        [each for each in suite.contenders if each.name in only or each.name == suite.yardstick],
        [each for each in suite.benchmarks if tests is None or is_chosen(each, tests)],
    )


def is_chosen(benchmark: Benchmark, tests: Sequence[str]) -> bool:
    return not {benchmark.name, benchmark.group, benchmark.measured_with}.isdisjoint(tests)


def warn_about_machine(cores: Cores) -> None:
    raise_descriptor_limit()
    if cores.server == cores.client:
        print("warning: only one core: server and load client share it", file=sys.stderr)


def print_reports(bench: Workbench, all_results: Sequence[Results]) -> None:
    settings, cores = bench.settings, bench.cores
    per = "per second of the server's CPU" if settings.per_cpu else "per second"
    print(f"\n{describe_machine()}; Python {platform.python_version()}")
    print(
        f"server on core {cores.server}, load client on core {cores.client}; {settings.opcode} "
        f"messages; rounds: {settings.rounds} of {settings.seconds:g} s; rates {per}"
    )
    for results in all_results:
        print(" ".join(f"{name} {version}" for name, version in versions(bench, results).items()))
        print()
        print(make_report(results))


def print_guard(options: argparse.Namespace, all_results: Sequence[Results]) -> None:
    """Say what has fallen; with --accept write what there is now, if it is all there."""
    ratios = guard.find_ratios(all_results)
    accepted = guard.Accepted.read(guard.ACCEPTED)
    benchmarks = [each for results in all_results for each in results.benchmarks]
    print()
    for line in guard.compare(accepted, ratios, benchmarks, describe_machine()):
        print(line)
    if not options.accept:
        return
    if set(ratios) != set(QUICK_TESTS):
        print("guard: not accepted: some rows were not measured")
        return
    now = datetime.date.today().isoformat()
    guard.Accepted(describe_machine(), read_commit(), now, ratios).write(guard.ACCEPTED)
    print(f"guard: accepted in {guard.ACCEPTED.name}")


def versions(bench: Workbench, results: Results) -> dict[str, str]:
    packages = [name for each in results.contenders for name in each.packages + each.optional]
    names = [package.partition("[")[0] for package in packages]
    return bench.find_versions(list(dict.fromkeys(names)))


def write_files(
    options: argparse.Namespace, bench: Workbench, all_results: Sequence[Results]
) -> None:
    if options.markdown:
        tables = ["\n".join(make_markdown(results)) + "\n" for results in all_results]
        options.markdown.write_text("\n".join(tables))
    if options.json:
        write_json(options.json, bench, all_results)


def write_json(path: Path, bench: Workbench, all_results: Sequence[Results]) -> None:
    record = {
        "machine": describe_machine(),
        "python": platform.python_version(),
        "settings": asdict(bench.settings),
        "suites": [
            {"versions": versions(bench, results), **make_record(results)}
            for results in all_results
        ],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
