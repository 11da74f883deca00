"""The end of a mailbox's owner: what it is told, how often, and when it is given up (§2.5)."""

import time

import gevent
import pytest

from greenrelay.message import Cancel
from greenrelay.processes.channel import ChannelClosed
from greenrelay.processes.end import MAX_END_RAISES, End

NEWS = Cancel(None, "please", 0.0)


class Owner:
    """A greenlet and its process, which notes that it is given up."""

    is_given_up = False

    @property
    def process(self):
        return self

    def give_up(self):
        self.is_given_up = True


@pytest.fixture
def end():
    return End()


@pytest.fixture
def short_sleep(monkeypatch):
    monkeypatch.setattr("greenrelay.processes.end.GIVEN_UP_SECONDS", 0.02)


def swallow(end, owner, times):
    for _ in range(times):
        with pytest.raises(gevent.GreenletExit):
            end.raise_to(owner)


def test_end_without_a_kill_is_a_closed_channel(end):
    end.raise_kill(None)
    with pytest.raises(ChannelClosed):
        end.raise_to(None)


def test_kill_is_raised_by_every_take(end):
    end.kill(KeyError())
    for _ in range(2):
        with pytest.raises(KeyError):
            end.raise_kill(None)
        assert end.has_raised_kill


def test_kill_is_taken_once_and_once_more_after_another(end):
    first = KeyError()
    end.kill(first)
    assert [end.take_kill(), end.take_kill()] == [first, None]
    end.kill(ValueError())
    assert [end.take_kill(), end.take_kill()] == [first, None]


def test_no_kill_is_none_that_has_been_raised(end):
    assert (end.take_kill(), end.has_raised_kill) == (None, False)


def test_cancellation_is_taken_once(end):
    end.cancel(NEWS)
    assert [end.take_cancellation(), end.take_cancellation()] == [NEWS, None]


def test_cancellation_that_was_noticed_is_gone(end):
    end.cancel(NEWS)
    swallow(end, None, 1)
    assert end.take_cancellation() is None


def test_owner_that_catches_its_end_too_often_is_given_up(end, short_sleep):
    owner = Owner()
    swallow(end, owner, MAX_END_RAISES)
    assert not owner.is_given_up
    assert end.kill_exception is None
    swallow(end, owner, 1)
    assert owner.is_given_up
    assert isinstance(end.kill_exception, ChannelClosed)


def test_owner_that_was_given_up_sleeps_before_each_raise(end, short_sleep):
    swallow(end, None, MAX_END_RAISES)
    before = time.monotonic()
    swallow(end, None, 2)
    assert time.monotonic() - before >= 0.04


def test_traceback_is_dropped_with_the_owner(end):
    end.kill(KeyError())
    with pytest.raises(KeyError):
        end.raise_kill(None)
    end.let_go()
    assert end.kill_exception.__traceback__ is None
