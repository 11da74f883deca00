"""A Flask app context around each message of a process (§2.7)."""

from contextlib import suppress
from functools import partial

import gevent
import pytest
from flask import Flask, current_app, g, has_app_context, request

from greenrelay import GreenRelay, process
from greenrelay.errors import ConfigurationError
from greenrelay.testing import wait_until
from tests.sample_processes import Stage, idle


class Shop:
    """An app whose view `/` calls a function, and that notes its teardowns."""

    def __init__(self, node, name="shop"):
        self.app = Flask(name)
        self.relay = GreenRelay(self.app, node=node)
        self.errors = []
        self.teardowns = []
        self.app.teardown_appcontext(self.note)
        self.app.add_url_rule("/", view_func=lambda: self.view())

    def note(self, error):
        self.teardowns.append(g.get("name", "-"))
        self.errors.append(error)

    def visit(self, view):
        """Call a function in the view, and return its text."""
        self.view = view
        return self.app.test_client().get("/").text

    def spawn(self, target, *args, **options):
        """Start a process as at the app's start, and forget the teardowns so far."""
        return self.relay.spawn(target, *args, app=self.app, **options)


@pytest.fixture
def shop(node):
    return Shop(node)


@pytest.fixture
def stage(node, shop):
    """A process of the shop that calls what a test sends it."""
    stage = Stage(node, shop.spawn)
    gevent.idle()
    shop.teardowns.clear()
    return stage


# -- which app ---------------------------------------------------------------------------


def app_name():
    return current_app.name if has_app_context() else None


def report():
    for message in process.inbox():
        message.reply(app_name())


def spawn_and_ask(spawn):
    return process.call(spawn(report), "ask")


def test_process_of_a_view_runs_in_its_app(shop):
    """§2.7"""
    assert shop.visit(lambda: spawn_and_ask(process.spawn)) == "shop"


def test_process_sees_nothing_of_the_request(shop):
    """§2.7: the app's context, not the request's."""

    def view():
        g.name = "view"
        return process.call(process.spawn(see), "ask")

    def see():
        process.inbox().receive().reply(f"{g.get('name')} {bool(request)}")

    assert shop.visit(view) == "None False"


def test_children_inherit_the_app(shop):
    """§2.7: and theirs."""

    def parent(depth):
        request = process.inbox().receive()
        child = process.spawn(parent, depth - 1) if depth else process.spawn(report)
        request.reply(process.call(child, "ask"))

    assert shop.visit(lambda: process.call(process.spawn(parent, 2), "ask")) == "shop"


def test_children_of_a_supervisor_inherit_the_app(shop):
    """§2.7"""
    supervisor = process.Supervisor([process.Child(report, name="child")])
    shop.visit(lambda: supervisor.start())
    wait_until(lambda: process.is_alive("child"))
    assert process.call("child", "ask") == "shop"


def test_process_may_be_started_without_a_request(shop):
    """§2.7: with `app=`."""
    assert process.call(shop.relay.spawn(report, app=shop.app), "ask") == "shop"


def test_view_may_use_the_extension_s_spawn(shop):
    """§2.7"""
    assert shop.visit(lambda: spawn_and_ask(shop.relay.spawn)) == "shop"
    assert shop.visit(lambda: spawn_and_ask(partial(shop.relay.spawn, app=current_app))) == "shop"


def test_plain_process_may_start_one_in_an_app(shop, in_process):
    """§2.7"""
    assert in_process(lambda: spawn_and_ask(shop.spawn)) == "shop"


def test_process_of_one_app_may_start_one_of_another(node, shop, stage):
    """§2.7"""
    other = Shop(node, "other")
    assert stage.do(lambda: spawn_and_ask(other.spawn)) == "other"
    assert stage.do(lambda: spawn_and_ask(process.spawn)) == "shop"


def test_plain_process_has_no_app(node):
    assert process.call(process.spawn(report), "ask") is None


def test_options_of_spawn_are_the_same(shop, in_process):
    """§2"""

    def body():
        options = {"host": "job", "name": "job", "link": True, "monitor": True}
        pid = shop.spawn(idle, **options)
        info = process.info("job")
        process.unlink(pid)
        return pid.host, info["links"] == [process.pid()], info["watchers"]

    assert in_process(body) == ("job", True, 1)


def test_spawn_without_an_app_says_how_to_name_it(shop):
    with pytest.raises(ConfigurationError, match=r"relay.spawn\(function, app=app\)"):
        shop.relay.spawn(idle)


def test_spawn_in_an_app_without_relays_says_what_is_missing(shop):
    with pytest.raises(ConfigurationError, match=r"'bare' has no GreenRelay; call GreenRelay\(app"):
        shop.relay.spawn(idle, app=Flask("bare"))


@pytest.mark.parametrize("is_ours", [True, False], ids=["relay.spawn", "process.spawn"])
def test_target_of_a_refused_relay_is_cancelled(node, shop, is_ours):
    """§3.2: however the view has spawned it; this request is no upgrade."""
    spawn = shop.relay.spawn if is_ours else process.spawn
    shop.visit(lambda: shop.relay.websocket(spawn(idle, name="target")))
    wait_until(lambda: not process.is_alive("target"))


# -- a context for each message ----------------------------------------------------------


def test_g_is_fresh_for_each_message(stage):
    """§2.7"""

    def name(value):
        before = g.get("name")
        g.name = value
        return before

    assert [stage.do(name, value) for value in "abc"] == [None, None, None]


def test_teardown_runs_once_for_each_message(shop, stage):
    """§2.7"""
    for name in "abc":
        stage.do(setattr, g, "name", name)
    gevent.idle()
    assert shop.teardowns == ["a", "b", "c"]


def test_teardown_runs_before_the_process_waits(shop, stage):
    """§2.7: not when the next message comes."""
    stage.do(setattr, g, "name", "a")
    gevent.idle()
    assert shop.teardowns == ["a"]


@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda: process.inbox().receive(timeout=0.001), id="receive"),
        pytest.param(lambda: process.inbox().receive(timeout=0), id="poll"),
        pytest.param(lambda: process.select(process.events(), timeout=0.001), id="select"),
        pytest.param(
            lambda: process.send(process.pid(), "next") and next(iter(process.inbox())), id="loop"
        ),
    ],
)
def test_waiting_ends_the_context(shop, stage, wait):
    """§2.7: whatever it waits for."""

    def body():
        g.name = "before"
        wait()
        return g.get("name"), shop.teardowns[:]

    assert stage.do(body) == (None, ["before"])


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda: gevent.sleep(0.001), id="sleep"),
        pytest.param(lambda: spawn_and_ask(process.spawn), id="call"),
    ],
)
def test_handling_a_message_is_one_context(stage, work):
    """§2.7: a pause in the middle of it is none between messages."""

    def body():
        g.name = "before"
        work()
        return g.get("name")

    assert stage.do(body) == "before"


def test_code_around_the_loop_has_a_context(shop, observer):
    """§2.7"""
    seen = []

    def body():
        seen.append(app_name())
        idle()
        seen.append(app_name())

    pid = shop.spawn(body)
    process.cancel(pid)
    observer.reason_of(pid)
    assert seen == ["shop", "shop"]


def test_no_context_is_left_by_a_process_that_never_ran(shop, observer):
    pid = shop.spawn(idle)
    process.terminate(pid)
    observer.reason_of(pid)
    assert shop.teardowns == []


def test_process_may_push_a_context_of_its_own(shop, observer):
    """As legacy workers do: it is kept, and both are left in order."""
    seen = []

    def legacy():
        with shop.app.app_context():
            g.name = "mine"
            for _ in process.inbox():
                seen.append(g.name)

    pid = shop.spawn(legacy)
    process.send(pid, "message")
    process.cancel(pid)
    assert observer.reason_of(pid) == "cancelled"
    assert (seen, shop.teardowns) == (["mine"], ["mine", "-"])


# -- ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "error"),
    [
        pytest.param(lambda: 1 / 0, ZeroDivisionError, id="crash"),
        pytest.param(lambda: process.terminate(process.pid()), gevent.GreenletExit, id="kill"),
    ],
)
def test_teardown_is_told_of_a_failure(shop, stage, observer, end, error):
    """§2.7: as after a request, so that nothing half done is committed."""
    observer.watch(stage.pid)
    stage.node.send(stage.pid, "do", end)
    observer.wait_for(stage.pid)
    assert isinstance(shop.errors[-1], error)


def test_teardown_of_a_good_end_is_told_of_none(shop, observer):
    pid = shop.spawn(lambda: None)
    observer.reason_of(pid)
    assert shop.errors == [None]


def test_failing_teardown_ends_the_process(shop, stage, observer):
    """§2.6: it is a crash like any other."""
    shop.app.teardown_appcontext(lambda error: 1 / 0)
    observer.watch(stage.pid)
    stage.node.send(stage.pid, "do", lambda: None)
    reason = observer.wait_for(stage.pid).reason
    assert reason == "error: ZeroDivisionError: division by zero"


def test_teardown_may_end_the_process(shop, stage, observer):
    """§2.8: a message that waits already is not handled any more."""
    handled = []

    @shop.app.teardown_appcontext
    def end(error):
        with suppress(BaseException):
            process.terminate(process.pid())

    observer.watch(stage.pid)
    for number in range(3):
        stage.node.send(stage.pid, "do", partial(handled.append, number))
    observer.wait_for(stage.pid)
    assert handled == [0]
