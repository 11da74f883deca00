"""What a middleware tells of its refusals, and how often (§10.6)."""

import logging

import pytest

from greenrelay.errors import RefusedError
from greenrelay.testing import FakeClock
from greenrelay.web.mistakes import QUIET_SECONDS, Mistakes
from greenrelay.web.taking import RequestSocket

GONE = RefusedError("503 Service Unavailable", "gone", detail="it is dead", advice="Look there")
FOREIGN = RefusedError("403 Forbidden", "foreign", advice="Write this")
PLAIN = RefusedError("426 Upgrade Required", "no upgrade")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def mistakes(clock):
    return Mistakes(clock)


def levels(caplog):
    return [record.levelno for record in caplog.records]


def test_a_refusal_is_one_line_with_path_status_fault_and_advice(mistakes, caplog):
    """§10.6"""
    mistakes.tell_refusal("/ws", GONE)
    [record] = caplog.records
    assert record.getMessage() == "'/ws': 503 Service Unavailable: it is dead. Look there"


def test_the_same_is_a_warning_once_in_a_while(mistakes, clock, caplog):
    """§10.6"""
    for _ in range(3):
        mistakes.tell_refusal("/ws", GONE)
    clock.advance(QUIET_SECONDS)
    mistakes.tell_refusal("/ws", GONE)
    assert levels(caplog) == [logging.WARNING, logging.INFO, logging.INFO, logging.WARNING]


def test_one_kind_does_not_hide_another(mistakes, caplog):
    """§10.6"""
    for refusal in (GONE, FOREIGN, GONE):
        mistakes.tell_refusal("/ws", refusal)
    assert levels(caplog) == [logging.WARNING, logging.WARNING, logging.INFO]


def test_a_client_s_own_mistake_is_no_warning(mistakes, caplog):
    """§3.2"""
    mistakes.tell_refusal("/ws", PLAIN)
    assert levels(caplog) == [logging.INFO]


@pytest.mark.parametrize("path", ["/a\nERROR forged", "/a\x1b[31m", "/a\0", "/a\x85b", None])
def test_a_path_is_quoted(mistakes, caplog, path):
    """§10.6"""
    mistakes.tell_refusal(path, GONE)
    assert caplog.records[0].getMessage().isprintable()


class Takeable(RequestSocket):
    """A socket of a server on which a view can stop every connection."""

    can_take = True


def test_a_server_whose_views_can_block_it_is_told_of_once(mistakes, caplog):
    """§10.6"""
    for _ in range(2):
        mistakes.look_at_server(Takeable())
    [record] = caplog.records
    assert record.getMessage().startswith("the standard library is not monkey-patched")


def test_a_server_that_relays_nothing_is_not_told_of(mistakes, caplog):
    """§10.6"""
    mistakes.look_at_server(RequestSocket())
    assert not caplog.records


def test_a_server_of_a_test_is_not_told_of(mistakes, caplog):
    """§10.6"""
    mistakes.note_test()
    mistakes.look_at_server(Takeable())
    assert not caplog.records
