"""An app context that nobody could tell from a fresh one is kept (§2.7)."""

import pytest
from flask import Flask, appcontext_popped, appcontext_pushed, g, has_app_context
from flask.globals import app_ctx

from greenrelay.web.appcontext import AppTurn


@pytest.fixture
def bare():
    yield Flask("bare")
    assert not has_app_context()


def test_untouched_context_is_kept(bare):
    turn, seen = AppTurn(bare), []
    for _ in range(3):
        turn.enter()
        seen.append(app_ctx._get_current_object())
        turn.leave()
    turn.close(None)
    assert seen == seen[:1] * 3
    assert not has_app_context()


def test_g_of_a_kept_context_is_fresh_each_time(bare):
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


@pytest.mark.parametrize("name", ["connection", "g"])
def test_context_with_something_on_it_is_not_kept(bare, name):
    """§2.7: extensions have kept their connections there, before there was `g`."""
    turn = AppTurn(bare)
    turn.enter()
    setattr(app_ctx, name, bare.app_ctx_globals_class())
    turn.leave()
    assert not has_app_context()


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
