"""An app context that nobody could tell from a fresh one is kept (§2.7)."""

import pytest
from flask import Flask, appcontext_popped, appcontext_pushed, g, has_app_context
from flask.globals import app_ctx

from greenrelay.web.appcontext import AppTurn


@pytest.fixture
def bare():
    return Flask("bare")


def test_untouched_context_is_kept(bare):
    turn, seen = AppTurn(bare), []
    for _ in range(3):
        turn.enter()
        seen.append(app_ctx._get_current_object())
        turn.leave()
    turn.close(None)
    assert seen == seen[:1] * 3
    assert not has_app_context()


def test_used_context_is_not_kept(bare):
    turn = AppTurn(bare)
    turn.enter()
    g.name = "used"
    turn.leave()
    assert not has_app_context()


def test_app_with_teardown_gets_a_fresh_context_each_time(bare):
    bare.teardown_appcontext(lambda error: None)
    turn = AppTurn(bare)
    turn.enter()
    turn.leave()
    assert not has_app_context()


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


def test_listener_that_comes_late_sees_the_context_popped(bare):
    pytest.importorskip("blinker")  # Flask 2.2 has signals only with it
    turn, seen = AppTurn(bare), []
    turn.enter()
    with appcontext_popped.connected_to(lambda app: seen.append(app), bare):
        turn.leave()
    assert seen == [bare]
