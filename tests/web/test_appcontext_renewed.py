"""An app context that nobody has a hand in is renewed without Flask (§2.7)."""

import contextvars

import pytest
from flask import Flask, appcontext_popped, appcontext_pushed, g, has_app_context
from flask.globals import app_ctx

from greenrelay.web.appcontext import AppTurn


@pytest.fixture
def bare():
    yield Flask("bare")
    assert not has_app_context()


def test_context_is_another_each_time_and_flask_makes_the_first(bare):
    turn, seen, made = AppTurn(bare), [], []
    make = bare.app_context
    bare.app_context = lambda: made.append(make()) or made[-1]
    for _ in range(3):
        turn.enter()
        seen.append(app_ctx._get_current_object())
        turn.leave()
    turn.close(None)
    assert (len({id(context) for context in seen}), made) == (3, seen[:1])
    assert not has_app_context()


def test_fresh_context_has_what_flask_gives_it(bare):
    bare.config["SERVER_NAME"] = "example.org"
    turn = AppTurn(bare)
    turn.enter()
    turn.leave()
    turn.enter()
    with bare.app_context() as other:
        pass
    ours = app_ctx._get_current_object()
    assert (ours.app, vars(ours).keys()) == (bare, vars(other).keys())
    assert ours.url_adapter.server_name == "example.org"
    turn.close(None)


def test_g_is_fresh_each_time(bare):
    """§2.7: nothing of one message is seen by the next."""
    turn = AppTurn(bare)
    turn.enter()
    g.name = "used"
    turn.leave()
    turn.enter()
    assert g.get("name") is None
    turn.close(None)


def test_who_holds_the_old_g_still_has_what_is_in_it(bare):
    turn = AppTurn(bare)
    turn.enter()
    g.name = "used"
    held = g._get_current_object()
    turn.leave()
    assert held.name == "used"
    turn.close(None)


@pytest.mark.parametrize("teardowns", [0, 1])
def test_who_has_copied_the_contextvars_sees_no_later_message(bare, teardowns):
    """§2.7: helpers in threads, and `asyncio`, run in such a copy."""
    for _ in range(teardowns):
        bare.teardown_appcontext(lambda error: None)
    turn = AppTurn(bare)
    turn.enter()
    before = contextvars.copy_context()
    g.name = "one"
    turn.leave()
    turn.enter()
    g.name = "two"
    assert before.run(lambda: g.name) == "one"
    assert before.run(app_ctx._get_current_object) is not app_ctx._get_current_object()
    turn.close(None)


def test_process_may_wait_in_a_copy_of_its_contextvars(bare):
    """§2.7: as who calls `Context.run()` around a loop over its inbox does."""
    turn, seen = AppTurn(bare), []
    bare.teardown_appcontext(lambda error: seen.append(g.get("name")))
    turn.enter()
    inside = contextvars.copy_context()
    for name in ("one", None):
        inside.run(setattr, g._get_current_object(), "name", name)
        inside.run(turn.leave)
        inside.run(turn.enter)
    turn.leave()
    turn.close(None)
    assert seen == ["one", None, None, None]


def test_who_pushes_the_context_elsewhere_sees_no_later_message(bare):
    """§2.7: so a helper greenlet is given the context of what it helps with."""
    turn = AppTurn(bare)
    turn.enter()
    g.name, held = "one", app_ctx._get_current_object()
    turn.leave()
    turn.enter()
    g.name = "two"
    with held:
        assert g.name == "one"
    assert g.name == "two"
    turn.close(None)


def test_teardown_is_run_after_each_turn_and_sees_its_g(bare):
    """§2.7"""
    turn, seen = AppTurn(bare), []
    bare.teardown_appcontext(lambda error: seen.append((error, g.get("number"))))
    for number in range(3):
        turn.enter()
        g.number = number
        turn.leave()
    assert seen == [(None, 0), (None, 1), (None, 2)]
    turn.close(None)


def test_teardowns_are_run_last_first(bare):
    """As Flask does."""
    turn, seen = AppTurn(bare), []
    bare.teardown_appcontext(lambda error: seen.append("first"))
    bare.teardown_appcontext(lambda error: seen.append("last"))
    turn.enter()
    turn.leave()
    assert seen == ["last", "first"]
    turn.close(None)


def fail(error):
    raise ZeroDivisionError


def test_teardown_that_fails_ends_the_context(bare):
    """As Flask does: popped all the same, and what is registered before it is not called."""
    turn, seen = AppTurn(bare), []
    bare.teardown_appcontext(seen.append)
    bare.teardown_appcontext(fail)
    turn.enter()
    with pytest.raises(ZeroDivisionError):
        turn.leave()
    turn.close(None)
    assert (has_app_context(), seen) == (False, [])


def test_teardown_waits_while_the_process_has_its_own_context(bare):
    """§2.7: what it has pushed itself it pops itself."""
    turn, seen = AppTurn(bare), []
    bare.teardown_appcontext(seen.append)
    turn.enter()
    with bare.app_context():
        turn.leave()
        during = len(seen)
    turn.close(None)
    assert (during, len(seen)) == (0, 2)


class WrappedApp(Flask):
    """As a tool that traces an app would have it."""

    def do_teardown_appcontext(self, *args):
        self.seen = [*getattr(self, "seen", ()), app_ctx._get_current_object()]
        super().do_teardown_appcontext(*args)


def test_app_that_wraps_its_teardown_gets_a_fresh_context_each_time():
    app = WrappedApp("wrapped")
    turn = AppTurn(app)
    for _ in range(2):
        turn.enter()
        turn.leave()
    assert len({id(context) for context in app.seen}) == 2


def test_teardown_that_is_wrapped_late_is_called(bare):
    turn, seen = AppTurn(bare), []
    turn.enter()
    bare.do_teardown_appcontext = seen.append
    turn.leave()
    assert seen == [None]


def test_listener_of_contexts_sees_each_of_them(bare):
    pytest.importorskip("blinker")  # Flask 2.2 has signals only with it
    seen = []
    with appcontext_pushed.connected_to(lambda app: seen.append(app), bare):
        turn = AppTurn(bare)
        for _ in range(3):
            turn.enter()
            turn.leave()
    assert seen == [bare] * 3


class SlottedGlobals:
    __slots__ = ("name",)


class DictGlobals(dict):
    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


@pytest.mark.parametrize("globals_class", [SlottedGlobals, DictGlobals])
def test_g_of_another_class_is_fresh_each_time(bare, globals_class):
    """§2.7: wherever it stores what is in it."""
    bare.app_ctx_globals_class = globals_class
    turn = AppTurn(bare)
    turn.enter()
    g.name = "used"
    turn.leave()
    turn.enter()
    assert getattr(g, "name", None) is None
    turn.close(None)


@pytest.mark.parametrize("name", ["connection", "url_adapter"])
def test_what_is_stored_on_a_context_itself_is_gone(bare, name):
    """§2.7: extensions have kept their connections there, before there was `g`."""
    turn = AppTurn(bare)
    turn.enter()
    setattr(app_ctx, name, "used")
    turn.leave()
    turn.enter()
    assert getattr(app_ctx, name, None) is None
    turn.close(None)


def test_what_a_teardown_stores_on_a_context_is_gone(bare):
    """§2.7"""
    turn = AppTurn(bare)
    bare.teardown_appcontext(lambda error: setattr(app_ctx, "connection", "closed"))
    turn.enter()
    turn.leave()
    turn.enter()
    assert not hasattr(app_ctx, "connection")
    turn.close(None)


def test_teardown_that_is_added_late_is_run(bare):
    """§2.7: the app's process may run while the app is still being set up."""
    turn, errors = AppTurn(bare), []
    turn.enter()
    bare.teardown_appcontext(errors.append)
    turn.leave()
    assert errors == [None]
    turn.close(None)


def test_listener_that_comes_late_sees_the_context_popped(bare):
    pytest.importorskip("blinker")  # Flask 2.2 has signals only with it
    turn, seen = AppTurn(bare), []
    turn.enter()
    with appcontext_popped.connected_to(lambda app: seen.append(app), bare):
        turn.leave()
    assert seen == [bare]
