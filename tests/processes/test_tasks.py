"""Functions that run as processes while the caller waits: run and gather (§2.12)."""

import functools
import logging
import time

import gevent
import pytest
from flask import Flask, current_app

from greenrelay import GreenRelay, process
from greenrelay.errors import CallTimeout, ProcessDown
from greenrelay.testing import wait_until
from tests.sample_processes import Stage, idle, sleep


def add(a, b=1):
    return a + b


def fail():
    raise LookupError("no such order")


class Sleeper:
    """Functions that wait for ever, and note how they end."""

    def __init__(self):
        self.notes = []

    def sleep(self):
        try:
            gevent.sleep(60)
        finally:
            self.notes.append("woken")

    def listen(self):
        for _ in process.inbox():
            pass
        gevent.sleep(0.01)
        self.notes.append("tidied")


@pytest.fixture
def sleeper():
    return Sleeper()


# -- run ---------------------------------------------------------------------------------


def test_run_gives_what_the_function_returns(node):
    """§2.12"""
    assert process.run(add, 2, b=3) == 5
    assert len(node) == 0


def test_run_takes_a_function_by_its_name(node):
    """§2.12: as spawn() does."""
    assert process.run("tests.processes.test_tasks:add", 2) == 3


def test_run_works_in_a_process(in_process):
    """§2.12"""
    assert in_process(lambda: process.run(add, 1)) == 2


def test_function_is_a_process_of_its_own(in_process):
    """§2.12"""
    assert in_process(lambda: process.run(process.pid) != process.pid())


def test_run_raises_what_the_function_raised(node):
    """§2.12: that very object."""
    error = LookupError("no such order")

    def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        process.run(fail)
    assert caught.value is error


def test_function_that_fails_is_logged_once(node, caplog):
    """§2.6"""
    with pytest.raises(LookupError):
        process.run(fail)
    assert [each.levelno for each in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: process.exit("done"), "done"),
        (lambda: process.terminate(process.pid()), "killed"),
        (lambda: process.cancel(process.pid()), "cancelled"),
        (lambda: (_ for _ in ()).throw(SystemExit(3)), "error: SystemExit: 3"),
    ],
    ids=["exit", "terminate", "cancel", "sys.exit"],
)
def test_run_says_why_a_function_ended_that_did_not_return(node, end, reason):
    """§2.12"""
    with pytest.raises(ProcessDown) as caught:
        process.run(end)
    assert caught.value.reason == reason


def test_normal_exit_is_a_return_without_a_value(node):
    """§2.12, §2.6"""
    assert process.run(process.exit) is None


def test_function_is_terminated_when_its_time_is_up(node, sleeper):
    """§2.12"""
    with pytest.raises(CallTimeout) as caught:
        process.run(sleeper.sleep, timeout=0.01)
    assert str(caught.value) == (
        "Sleeper.sleep did not return in 0.01 s and was terminated; run(…, timeout=…) waits longer"
    )
    wait_until(lambda: sleeper.notes == ["woken"])


def test_function_ends_with_a_caller_that_is_terminated(node, sleeper):
    """§2.12: nobody is left who would take its value."""
    caller = node.spawn(lambda: process.run(sleeper.sleep))
    wait_until(lambda: len(node) == 2)
    gevent.idle()
    process.terminate(caller)
    wait_until(lambda: sleeper.notes == ["woken"])


def test_failure_of_the_function_reaches_its_caller_alone(node, observer):
    """§2.12, §2.4: there is no link; whoever catches the error goes on."""
    stage = Stage(node)

    def attempt():
        try:
            process.run(fail)
        except LookupError as error:
            return str(error)

    assert stage.do(attempt) == "no such order"
    process.cancel(stage.pid)


def test_messages_wait_while_a_function_runs(node):
    """§2.12: as with call()."""
    stage = Stage(node)

    def hear():
        process.send(process.pid(), "later", 1)
        process.run(add, 1)
        return process.inbox().receive(0).payload

    assert stage.do(hear) == 1
    process.cancel(stage.pid)


def test_thread_runs_a_function(node, in_thread):
    """§2.9, §2.12: as a view may."""
    assert in_thread(process.run, add, 2) == 3
    with pytest.raises(LookupError):
        in_thread(process.run, fail)
    with pytest.raises(CallTimeout):
        in_thread(functools.partial(process.run, sleep, timeout=0.01))


@pytest.fixture
def app(node):
    app = Flask("shop")
    GreenRelay(app, node=node)
    return app


def test_function_of_a_view_runs_in_the_app(app):
    """§2.7, §2.12"""
    app.add_url_rule("/", view_func=lambda: process.run(lambda: current_app.name))
    assert app.test_client().get("/").text == "shop"


def test_functions_of_a_view_have_a_context_each(app):
    """§2.7, §2.12"""
    teardowns = []
    app.teardown_appcontext(teardowns.append)
    name = lambda: current_app.name  # noqa: E731
    app.add_url_rule("/", view_func=lambda: " ".join(process.gather(name, name)))
    assert app.test_client().get("/").text == "shop shop"
    assert len(teardowns) == 3


# -- gather ------------------------------------------------------------------------------


def test_gather_gives_the_values_in_the_order_of_the_functions(node):
    """§2.12: whichever is done first."""

    def slow():
        gevent.sleep(0.01)
        return "slow"

    assert process.gather(slow, lambda: "fast", functools.partial(add, 1)) == ["slow", "fast", 2]


def test_gathered_functions_run_at_once(node):
    """§2.12"""
    before = time.monotonic()
    process.gather(*[lambda: gevent.sleep(0.05)] * 20)
    assert time.monotonic() - before < 0.5


def test_gather_of_nothing_is_nothing(node):
    assert process.gather() == []


def test_first_failure_is_raised(node):
    """§2.12"""

    def fail_later():
        gevent.sleep(0.01)
        raise ValueError

    with pytest.raises(LookupError):
        process.gather(fail_later, fail, idle)


def test_first_failure_cancels_the_others(node, sleeper):
    """§2.12: who listens may tidy up, and has when the error is raised."""
    with pytest.raises(LookupError):
        process.gather(sleeper.listen, fail)
    assert sleeper.notes == ["tidied"]


def test_others_that_do_not_hear_of_the_failure_are_terminated(node, sleeper):
    """§2.12: nothing goes on."""
    with pytest.raises(LookupError):
        process.gather(sleeper.sleep, fail)
    wait_until(lambda: sleeper.notes == ["woken"])
    assert len(node) == 0


def test_all_that_have_not_returned_are_terminated_when_the_time_is_up(node, sleeper):
    """§2.12"""
    with pytest.raises(CallTimeout, match=r"Sleeper.sleep, Sleeper.listen did not return in 0.01"):
        process.gather(sleeper.sleep, lambda: 1, sleeper.listen, timeout=0.01)
    wait_until(lambda: len(node) == 0)


def test_gathered_functions_end_with_a_caller_that_is_terminated(node, sleeper):
    """§2.12"""
    caller = node.spawn(lambda: process.gather(sleeper.sleep, sleeper.sleep))
    wait_until(lambda: len(node) == 3)
    gevent.idle()
    process.terminate(caller)
    wait_until(lambda: sleeper.notes == ["woken", "woken"])


# -- bad use -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: process.run(3), TypeError, r"run\(load, 7\), got 3"),
        (lambda: process.run("no.such:thing"), ValueError, "package.module:function"),
        (lambda: process.run(add, 1, timeout="5s"), ValueError, "takes seconds, .* got '5s'"),
        (lambda: process.run(add, 1, timeout=-1), ValueError, "functools.partial"),
        (lambda: process.gather([add, fail]), TypeError, "functools.partial"),
        (lambda: process.gather(idle, 3), TypeError, "takes functions without arguments"),
        (lambda: process.gather(idle, timeout="5s"), ValueError, r"gather\(timeout=…\)"),
    ],
)
def test_bad_use_is_an_error_before_anything_starts(node, call, error, text):
    with pytest.raises(error, match=text):
        call()
    assert len(node) == 0
