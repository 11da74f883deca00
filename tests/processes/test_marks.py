"""Marks of a mailbox: when it is full, and who is told when that it has drained (§8)."""

import pytest

from greenrelay.message import Message
from tests.processes.sample_mailboxes import an_exit, drain, fill, own_mailbox


def test_mailbox_is_full_from_its_mark_down_to_half_of_it(mailbox):
    """§8"""
    levels = []
    for _ in range(5):
        fill(mailbox, "a")
        levels.append(mailbox.is_full)
    for _ in range(5):
        mailbox.inbox.receive(timeout=0)
        levels.append(mailbox.is_full)
    up, down = [False, False, False, True, True], [True, True, False, False, False]
    assert levels == up + down


def test_full_mailbox_still_takes_messages(mailbox):
    """§8: sends between processes never block."""
    assert fill(mailbox, "a" * 100) == [True] * 100


def test_messages_of_listeners_count(mailbox):
    mailbox.listen("a")
    fill(mailbox, "aabb")
    assert mailbox.is_full


def test_events_do_not_count(mailbox):
    for _ in range(10):
        mailbox.put_event(an_exit())
    assert not mailbox.is_full


def test_mark_of_zero_is_off():
    mailbox = own_mailbox(max_messages=0)
    fill(mailbox, "a" * 20_000)
    assert not mailbox.is_full


def test_drained_mailbox_tells_one_for_each_message_taken(mailbox):
    """A thousand connections at once would fill it again in one turn of the loop."""
    told = []
    fill(mailbox, "a" * 6)
    for name in "xyz":
        mailbox.on_drained(name, lambda name=name: told.append(name))
    counts = []
    for _ in range(6):
        mailbox.inbox.receive(timeout=0)
        counts.append(len(told))
    assert (counts, told) == ([0, 0, 0, 1, 2, 3], ["x", "y", "z"])


def test_waiting_owner_tells_all_when_it_has_drained(mailbox):
    """There will be no further message to tell them at."""
    told = []
    for name in "xy":
        mailbox.on_drained(name, lambda name=name: told.append(name))
    mailbox.inbox.receive(timeout=0.01)
    assert told == ["x", "y"]


def test_owner_who_waits_for_something_else_holds_clients_back(mailbox):
    """§8: a full inbox stays full, whatever its owner waits for meanwhile."""
    told, channel = [], mailbox.listen("something else")
    fill(mailbox, "aaaa")
    mailbox.on_drained("x", lambda: told.append("x"))
    channel.receive(timeout=0.01)
    assert (told, mailbox.is_full) == ([], True)


def test_client_that_is_told_may_hold_back_at_once_again(mailbox):
    """§8: told all at once, the first may have filled the mailbox."""
    told = []
    mailbox.on_drained("x", lambda: (told.append("x"), mailbox.on_drained("x", told.clear)))
    assert mailbox.inbox.receive(timeout=0.01) is None
    assert told == ["x"]


@pytest.mark.parametrize("size", [16, 40])
def test_bytes_of_clients_count(size):
    """§8"""
    mailbox, levels = own_mailbox(max_messages=100, max_bytes=40), []
    for _ in range(3):
        mailbox.put(Message("a", size=size))
        levels.append(mailbox.is_full)
    drain(mailbox.inbox)
    assert levels == ([False, False, True] if size == 16 else [True] * 3)
    assert not mailbox.is_full


def test_mailbox_is_full_down_to_half_of_its_bytes():
    """§8"""
    mailbox = own_mailbox(max_messages=0, max_bytes=4)
    for _ in range(5):
        mailbox.put(Message("a", size=1))
    levels = [mailbox.is_full and mailbox.inbox.receive(timeout=0) is not None for _ in range(4)]
    assert levels == [True, True, True, False]


def test_released_mailbox_tells_all(mailbox):
    """Its owner has ended: whoever holds back for it would do so for ever."""
    told = []
    fill(mailbox, "aaaaa")
    mailbox.on_drained("x", lambda: told.append("x"))
    mailbox.release()
    assert (told, len(mailbox), mailbox.is_full) == (["x"], 0, False)


def test_who_is_forgotten_is_not_told(mailbox):
    told = []
    mailbox.on_drained("x", lambda: told.append("x"))
    mailbox.marks.forget_drained("x")
    mailbox.marks.forget_drained("never there")
    mailbox.inbox.receive(timeout=0.01)
    assert told == []


def test_drained_mailbox_is_quick_again(mailbox):
    fill(mailbox, "aaaa")
    mailbox.on_drained("x", lambda: None)
    drain(mailbox.inbox)
    assert mailbox._may_pop
