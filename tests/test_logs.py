"""Logging: what clients write stays on its line, and a handler's failure stays in the log."""

import ast
import logging
from pathlib import Path

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

import greenrelay
from greenrelay.logs import escape, log_now, log_soon

log = logging.getLogger("greenrelay.test")


class Failing(logging.Handler):
    """A handler whose destination is gone."""

    def handle(self, record):
        raise RuntimeError("no\nplace")


@pytest.fixture
def failing():
    handler = Failing()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


SHOWN = [
    ("plain text, é and 漢字", "plain text, é and 漢字"),
    ("a\nb", "a\\nb"),
    ("\x1b[31m\0\x7f\x9b", "\\x1b[31m\\x00\\x7f\\x9b"),
    ("\u2028\u202e\ud800", "\\u2028\\u202e\\ud800"),
    (ValueError("a\nb"), "a\\nb"),
    (7, "7"),
]


@pytest.mark.parametrize(("arg", "shown"), SHOWN, ids=range(len(SHOWN)))
def test_text_is_shown_on_one_printable_line(caplog, arg, shown):
    log_now(log, logging.WARNING, "%s", arg)
    assert caplog.messages == [shown]


def test_quoted_text_is_escaped_once(caplog):
    log_now(log, logging.WARNING, "%r", "a\n'b")
    assert caplog.messages == [repr("a\n'b")]


def test_line_names_the_place_that_logs(caplog):
    log_now(log, logging.WARNING, "here")
    assert caplog.records[0].filename == "test_logs.py"


@given(st.text())
def test_escaped_text_can_stand_between_double_quotes(text):
    shown = escape(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert '"' not in shown


@given(st.text(), st.text())
def test_different_texts_are_escaped_differently(one, other):
    assert (escape(one) == escape(other)) == (one == other)


def test_failing_handler_harms_nobody(failing, capsys):
    """§3.2: nor does its failure forge a line."""
    log_now(log, logging.WARNING, "hello")
    assert capsys.readouterr().err.count("\n") == 1


def test_failing_handler_harms_nobody_on_the_hub(failing, capsys):
    log_soon(log, logging.WARNING, "hello")
    gevent.sleep(0)
    assert capsys.readouterr().err.count("\n") == 1


def test_broken_standard_error_harms_nobody_either(failing, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    log_now(log, logging.WARNING, "hello")


CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


@pytest.mark.parametrize(
    "path", sorted(Path(greenrelay.__file__).parent.rglob("*.py")), ids=lambda path: path.name
)
def test_every_line_of_the_package_goes_through_here(path):
    """A logger that is called directly escapes nothing, and its handlers may raise."""
    direct = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CALLS
        and ast.unparse(node.func.value) in ("log", "logger", "self.logger", "logging")
    ]
    assert direct == [] or path.name == "logs.py"
