"""What `scripts/bench` makes of what it has measured; nothing is measured here."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import cli, contenders, guard, nodes, redis
from benchmarks.children import Child
from benchmarks.crowds import percentile
from benchmarks.environment import Workbench
from benchmarks.machine import Cores
from benchmarks.report import make_markdown, make_report, make_table
from benchmarks.runner import Results, measure_suites, plan_round
from benchmarks.suite import (
    Aim,
    Benchmark,
    Contender,
    MeasurementFailed,
    Sample,
    Settings,
    Suite,
)
from benchmarks.wire import load_options, server_command

HUB = Contender("hub", "hub", Path("hub.py"), (), (), is_bare=True)
OURS = Contender("ours", "ours", Path("ours.py"), (), (), marks={"echo": "no view"})
ABSENT = Contender("absent", "absent", Path("absent.py"), (), (), tests=("tea",))
NUMBERS = {"hub": 200.0, "ours": 50.0}


def measure_echo(bench: Workbench, contender: Contender) -> Sample:
    return Sample(NUMBERS[contender.name], others={"size": NUMBERS[contender.name] / 10})


def measure_cake(bench: Workbench, contender: Contender) -> Sample:
    raise MeasurementFailed("it fell on the floor")


ECHO = Benchmark("echo", "echo", "msg/s", measure_echo)
SIZE = Benchmark("size", "size", "KB", None, is_lower_better=True, measured_with="echo")
CAKE = Benchmark("cake", "cake", "g", measure_cake)
TEA = Benchmark("tea", "tea", "cups", measure_cake)
SUITE = Suite("a suite", "hub", "ours", (HUB, OURS, ABSENT), (ECHO, SIZE, CAKE))


@pytest.fixture
def results(bench: Workbench) -> Results:
    results = Results(SUITE, SUITE.contenders[:2], SUITE.benchmarks)
    measure_suites(bench, [results])
    return results


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, Cores(0, 0), Settings(rounds=2))


@pytest.mark.parametrize(
    ("share", "microseconds"),
    [
        pytest.param(0.5, 7, id="p50"),
        pytest.param(0.99, 40, id="p99"),
        pytest.param(1, 95, id="all"),
    ],
)
def test_percentile_is_the_most_of_the_slot_that_it_falls_into(
    share: float, microseconds: int
) -> None:
    assert percentile([[7, 50], [40, 49], [95, 1]], share) == microseconds


def test_nothing_answered_has_no_percentile() -> None:
    with pytest.raises(MeasurementFailed, match="nothing was answered"):
        percentile([], 0.99)


def test_a_row_has_number_and_ratio_of_each_contender(results: Results) -> None:
    head, echo, size, cake = make_table(results)
    assert head.split() == ["a", "suite", "hub", "ours"]
    assert echo.split() == ["echo,", "msg/s", "200", "1.00", "50.00", "0.25*"]
    assert size.split() == ["size,", "KB", "20.00", "1.00", "5.00", "0.25"]
    assert cake.split() == ["cake,", "g", "failed", "failed"]


def test_the_notes_say_what_is_different(results: Results) -> None:
    report = make_report(results)
    assert "* echo: no view" in report
    assert "size, KB: less is better." in report
    assert "ours, cake: 2 of 2 rounds failed: it fell on the floor" in report
    assert "The hub echoes raw in every row: no JSON" in report
    assert "Cut short" not in report


def test_markdown_has_the_subject_first_and_the_yardstick_last(results: Results) -> None:
    assert list(make_markdown(results)) == [
        "| a suite | **ours** | hub |",
        "|---|---:|---:|",
        r"| echo, msg/s | **50.00 \*** | 200 |",
        "| size, KB | **5.00** | 20.00 |",
        "| cake, g | **–** | – |",
    ]


def test_markdown_has_a_line_for_who_is_in_one_row_only(results: Results) -> None:
    results.contenders = SUITE.contenders
    results.benchmarks = (*SUITE.benchmarks, TEA)
    results.rounds["absent", "tea"] = [Sample(1234.5)]
    assert list(make_markdown(results))[-2:] == ["", "absent, tea: 1,234 cups."]


def test_a_value_measured_with_another_has_rounds_of_its_own(results: Results) -> None:
    samples = results.rounds["ours", "size"]
    assert [sample and sample.value for sample in samples] == [5.0, 5.0]


def test_a_run_whose_time_is_up_is_cut_short(tmp_path: Path) -> None:
    results = Results(SUITE, SUITE.contenders[:2], SUITE.benchmarks)
    bench = Workbench(tmp_path, Cores(0, 0), Settings(limit_seconds=-1))
    measure_suites(bench, [results])
    assert results.rounds == {}
    assert "Cut short" in make_report(results)


def test_only_the_first_round_has_what_needs_one() -> None:
    results = Results(SUITE, [OURS], SUITE.benchmarks)
    settings = Settings(once=("echo",))
    assert [row.name for row, _ in plan_round(results, settings, 1)] == ["echo", "cake"]
    assert [row.name for row, _ in plan_round(results, settings, 2)] == ["cake"]


def compare(before: dict[str, float], now: dict[str, float]) -> list[str]:
    accepted = guard.Accepted("a machine", "c0ffee", "2026-01-02", before)
    return list(guard.compare(accepted, now, [ECHO, SIZE], "a machine"))


KNOWN = "accepted 2026-01-02 at c0ffee"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param(
            {"echo": 0.44, "size": 2.0},
            [f"guard: echo: 12% worse: 0.50 → 0.44; {KNOWN}"],
            id="a rate fell",
        ),
        pytest.param(
            {"echo": 0.5, "size": 2.5},
            [f"guard: size: 20% worse: 2.00 → 2.50; {KNOWN}"],
            id="a size rose",
        ),
        pytest.param(
            {"echo": 0.46, "size": 2.1},
            [f"guard: nothing is more than 10% worse than {KNOWN}"],
            id="within a tenth",
        ),
        pytest.param(
            {"echo": 0.9, "size": 1.0},
            [f"guard: nothing is more than 10% worse than {KNOWN}"],
            id="better",
        ),
        pytest.param(
            {"echo": 0.5},
            [
                "guard: size: not measured, so not compared",
                f"guard: nothing is more than 10% worse than {KNOWN}",
            ],
            id="a row failed",
        ),
    ],
)
def test_the_guard_names_what_fell_by_more_than_a_tenth(
    now: dict[str, float], said: list[str]
) -> None:
    assert compare({"echo": 0.5, "size": 2.0}, now) == said


def test_the_guard_says_that_a_row_is_new() -> None:
    assert compare({"echo": 0.5}, {"echo": 0.5, "size": 1.0})[0] == (
        "guard: size: not accepted, so not compared"
    )


def test_the_guard_says_that_it_was_another_machine() -> None:
    accepted = guard.Accepted("another", "c0ffee", "2026-01-02", {"echo": 0.5})
    lines = list(guard.compare(accepted, {"echo": 0.5}, [ECHO], "a machine"))
    assert lines[0] == f"guard: {KNOWN} on another machine: another"


def test_the_guard_tells_how_to_begin() -> None:
    lines = list(guard.compare(None, {"echo": 0.5}, [ECHO], "a machine"))
    assert lines == ["guard: no ratios are accepted yet; --quick --accept writes these"]


def test_accepted_ratios_are_kept_in_a_file(tmp_path: Path, results: Results) -> None:
    ratios = guard.find_ratios([results])
    accepted = guard.Accepted("a machine", "c0ffee", "2026-01-02", ratios)
    file = tmp_path / "accepted.json"
    assert guard.Accepted.read(file) is None
    accepted.write(file)
    assert guard.Accepted.read(file) == accepted
    assert ratios == {"echo": 0.25, "size": 0.25}


def test_the_guard_takes_the_best_round_of_each() -> None:
    results = Results(SUITE, SUITE.contenders[:2], SUITE.benchmarks)
    results.rounds["hub", "echo"] = [Sample(100.0), None, Sample(80.0)]
    results.rounds["ours", "echo"] = [Sample(20.0), Sample(50.0), Sample(30.0)]
    results.rounds["hub", "size"] = [Sample(4.0), Sample(5.0)]
    results.rounds["ours", "size"] = [Sample(9.0), Sample(8.0)]
    assert guard.find_ratios([results]) == {"echo": 0.5, "size": 2.0}


def test_the_accepted_file_of_the_project_can_be_read() -> None:
    accepted = guard.Accepted.read(guard.ACCEPTED)
    assert accepted is None or set(accepted.ratios) == set(cli.QUICK_TESTS)


def test_every_name_of_a_row_is_one() -> None:
    rows = {each.name for suite in cli.SUITES for each in suite.benchmarks}
    asked = {
        name
        for each in (*contenders.CONTENDERS, *nodes.SUITE.contenders)
        for name in (*(each.tests or ()), *each.marks)
    }
    aims = {aim.benchmark for suite in cli.SUITES for aim in suite.aims}
    assert asked | aims | set(cli.QUICK_TESTS) <= rows


@pytest.mark.parametrize(
    "arguments", [["--accept"], ["--quick", "--accept", "--tests", "app"]], ids=" ".join
)
def test_only_a_whole_quick_run_can_be_accepted(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.parse_options(arguments)
    assert "--accept goes with --quick" in capsys.readouterr().err


def test_a_group_means_all_its_rows_and_what_is_measured_with_them() -> None:
    options = cli.parse_options(["--tests", "scale,latency"])
    chosen = [row.name for row in cli.choose(cli.SUITES[0], options).benchmarks]
    assert chosen[:3] == ["latency", "p50", "max"]
    assert chosen[3::4] == ["scale100", "kb100"]


def test_a_bare_contender_is_asked_for_nothing(bench: Workbench) -> None:
    asked: dict[str, Any] = {"json": 1, "teardown": 1, "gunicorn": 1, "deflate": 1, "size": 32}
    assert server_command(bench, HUB, asked) == [HUB.program]
    options = load_options(bench, HUB, asked)
    assert (options["json"], options["deflate"], options["size"]) == (0, 0, 32)
    assert not {"teardown", "gunicorn"} & set(options)


def test_the_others_are_started_with_what_they_are_asked_for(bench: Workbench) -> None:
    asked = {"json": 1, "teardown": 1, "deflate": 1}
    assert server_command(bench, OURS, asked) == [OURS.program, "--teardown", "--deflate"]
    assert load_options(bench, OURS, asked)["json"] == 1


def test_an_aim_may_be_about_another_than_the_subject(results: Results) -> None:
    suite = replace(SUITE, aims=(Aim("echo", 150, of="hub"),))
    results.suite = suite
    lines = make_report(results).splitlines()
    (aim,) = [line.split() for line in lines if line.startswith("aim")]
    assert aim == ["aim", "echo,", "hub", "≥", "150", "msg/s", "200.00", "met"]


def test_a_missing_redis_is_one_clear_line(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "PATH", "/nowhere")
    with (
        pytest.raises(MeasurementFailed, match="apt-get install redis-server"),
        redis.serving_redis(bench, 0),
    ):
        pass  # it is not reached


def test_what_is_added_to_the_environment_is_the_child_s(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $BENCH_WORD"]
    cores = os.sched_getaffinity(0)
    with Child(command, cores, tmp_path / "log", {"BENCH_WORD": "tea"}) as child:
        assert child.read_line(10) == "tea"
