"""Channels and mailboxes: order, waking, closing, turns (§2.2, §2.5, §2.7)."""

import time

import gevent
import greenlet
import pytest

from greenrelay import process
from greenrelay.errors import NotAProcess
from greenrelay.message import Cancel, Message
from greenrelay.processes.channel import Channel, ChannelClosed
from greenrelay.processes.mailbox import Mailbox
from greenrelay.testing import wait_until
from tests.processes.sample_mailboxes import an_exit, drain, fill, own_mailbox, soon

# -- taking ------------------------------------------------------------------------------


def test_messages_are_taken_in_the_order_they_came(mailbox):
    """§2.2"""
    fill(mailbox, "abc")
    assert drain(mailbox.inbox) == ["a", "b", "c"]


def test_receive_waits_for_a_message(mailbox):
    soon(mailbox.put, Message("late"))
    assert mailbox.inbox.receive(timeout=1).topic == "late"


def test_receive_gives_none_at_the_time_out(mailbox):
    before = time.monotonic()
    assert mailbox.inbox.receive(timeout=0.02) is None
    assert time.monotonic() - before >= 0.02


@pytest.mark.parametrize("timeout", [0, -1])
def test_receive_without_time_asks_only(mailbox, timeout):
    soon(mailbox.put, Message("late"))
    assert mailbox.inbox.receive(timeout) is None


def test_message_of_the_time_out_s_instant_is_not_lost(mailbox):
    """It came before the process ran again, so it is taken."""
    timer = gevent.get_hub().loop.timer(0.01)
    timer.start(mailbox.put, Message("just in time"), update=True)
    soon(burn, 0.03)  # so that both times have come when the loop looks next
    message = mailbox.inbox.receive(timeout=0.01)
    timer.close()
    assert message.topic == "just in time"


def test_time_out_of_somebody_else_passes_through_receive(mailbox):
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        mailbox.inbox.receive(timeout=5)


def test_late_wake_up_disturbs_no_other_wait(mailbox):
    owner = greenlet.getcurrent()

    def interrupt():
        mailbox.put(Message("a"))  # the wake-up is on its way now
        owner.throw(KeyError)

    soon(interrupt)
    with pytest.raises(KeyError):
        mailbox.inbox.receive()
    before = time.monotonic()
    gevent.sleep(0.02)
    assert time.monotonic() - before >= 0.02
    assert drain(mailbox.inbox) == ["a"]


@pytest.mark.parametrize(
    "take",
    [
        pytest.param(lambda mailbox: mailbox.inbox.receive(), id="receive"),
        pytest.param(lambda mailbox: next(iter(mailbox.inbox)), id="iterate"),
        pytest.param(lambda mailbox: mailbox.take((mailbox.inbox,), None), id="take"),
    ],
)
def test_only_the_owner_takes(take):
    mailbox = Mailbox()
    fill(mailbox, "a")
    with pytest.raises(NotAProcess, match=r"only the process that owns .* process.inbox\(\)"):
        take(mailbox)
    assert len(mailbox) == 1


def test_counting_from_elsewhere_keeps_the_owner_s_wake_up(node):
    """The message that was counted is still what it wakes up for."""
    channels, taken = [], []

    def receive():
        channels.append(process.inbox())
        taken.extend(message.topic for message in channels[0])

    pid = node.spawn(receive)
    gevent.sleep(0)
    node.send(pid, "a")
    assert (len(channels[0]), node.find(pid).info()["mailbox"]) == (1, 1)
    gevent.sleep(0)
    assert taken == ["a"]
    node.send(pid, "b")
    gevent.sleep(0)
    assert taken == ["a", "b"]
    node.cancel(pid)
    wait_until(lambda: not node.is_alive(pid))


def test_busy_owner_lets_others_run(mailbox):
    """A backlog must not stop every view and connection for as long as it takes."""
    has_run = []
    fill(mailbox, "a" * 1000)
    soon(has_run.append, True)
    for count, _ in enumerate(mailbox.inbox):  # noqa: B007  # how far it came
        burn(0.0005)
        if has_run:
            break
    assert count < 900


def burn(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


# -- several channels --------------------------------------------------------------------


def test_listener_gets_exactly_its_topic(mailbox):
    """§2.2: it wins over the inbox."""
    channel = mailbox.listen("a")
    fill(mailbox, ["a", "aa", "b", "a"])
    assert drain(channel) == ["a", "a"]
    assert drain(mailbox.inbox) == ["aa", "b"]


def test_listening_again_gives_the_same_channel(mailbox):
    assert mailbox.listen("a") is mailbox.listen("a")


def test_listener_leaves_earlier_messages_in_the_inbox(mailbox):
    fill(mailbox, "a")
    assert drain(mailbox.listen("a")) == []
    assert drain(mailbox.inbox) == ["a"]


def test_unlisten_moves_what_waits_to_the_inbox(mailbox):
    channel = mailbox.listen("a")
    fill(mailbox, "bab")
    mailbox.unlisten(channel)
    fill(mailbox, "a")
    assert drain(mailbox.inbox) == ["b", "b", "a", "a"]


def test_loop_over_a_channel_ends_with_unlisten(mailbox):
    channel = mailbox.listen("stop")
    fill(mailbox, ["stop", "stop"])
    for _ in channel:
        mailbox.unlisten(channel)
    assert len(mailbox.inbox) == 1


def test_receiving_from_an_unlistened_channel_says_what_to_do(mailbox):
    channel = mailbox.listen("a")
    mailbox.unlisten(channel)
    with pytest.raises(ValueError, match=r"unlisten\(\) has closed .* listen\(\) gives a new one"):
        channel.receive()


def test_unlisten_of_another_channel_does_nothing(mailbox):
    channel = mailbox.listen("a")
    mailbox.unlisten(mailbox.inbox)
    mailbox.unlisten(Mailbox().listen("a"))
    fill(mailbox, "ab")
    assert (drain(channel), drain(mailbox.inbox)) == (["a"], ["b"])


def test_channel_has_nothing_that_changes_its_mailbox():
    """A process holds it, and may hand it to anybody."""
    names = {name for name in dir(Channel) if not name.startswith("_")}
    assert names == {"mailbox", "receive", "topic"}


def test_channels_of_a_mailbox_that_was_let_go_are_empty(mailbox):
    channels = [mailbox.inbox, mailbox.events, mailbox.listen("a")]
    fill(mailbox, "ab")
    mailbox.put_event(an_exit())
    mailbox.unlisten(mailbox.listen("b"))  # sets all of it aside
    assert [len(channel) for channel in channels] == [1, 1, 1]
    mailbox.release()
    assert [len(channel) for channel in channels] == [0, 0, 0]


def test_first_channel_with_an_item_wins(mailbox):
    """The order of the arguments counts, not the order of arrival."""
    first, second = mailbox.listen("first"), mailbox.listen("second")
    fill(mailbox, ["second", "first"])
    assert mailbox.take((first, second), None)[0] is first
    assert mailbox.take((first, second), None)[0] is second


@pytest.mark.parametrize("index", [0, 1, 2])
def test_any_of_the_channels_wakes_the_owner(mailbox, index):
    channels = (mailbox.listen("a"), mailbox.listen("b"), mailbox.events)
    fillings = [(mailbox.put, Message("a")), (mailbox.put, Message("b"))]
    soon(*[*fillings, (mailbox.put_event, an_exit())][index])
    assert mailbox.take(channels, 1)[0] is channels[index]


def test_owner_who_waits_for_something_else_goes_on_waiting(mailbox):
    """What it does not ask for is set aside, and its time-out goes on counting."""
    channel, before = mailbox.listen("a"), time.monotonic()
    for delay in (0.01, 0.02, 0.03):
        gevent.spawn_later(delay, mailbox.put, Message("b"))
    assert channel.receive(timeout=0.04) is None
    assert time.monotonic() - before < 1
    assert drain(mailbox.inbox) == ["b", "b", "b"]


def test_events_wait_before_anybody_asks_for_them(mailbox):
    mailbox.put_event(an_exit())
    assert mailbox.open_events().receive(timeout=0) == an_exit()


def test_discarded_event_is_not_seen_by_a_loop_under_way(mailbox):
    for reason in ("normal", "killed", "shutdown"):
        mailbox.put_event(an_exit(reason))
    seen = []
    for event in mailbox.events:
        seen.append(event.reason)
        mailbox.discard(lambda event: event.reason == "killed")
        if event.reason == "shutdown":
            break
    assert seen == ["normal", "shutdown"]


# -- the end -----------------------------------------------------------------------------


def test_closed_channel_gives_what_it_has_and_ends(mailbox):
    """§2.5"""
    fill(mailbox, "ab")
    mailbox.close()
    assert [message.topic for message in mailbox.inbox] == ["a", "b"]


def test_closed_mailbox_takes_no_message(mailbox):
    """§2.1: `send` says so."""
    channel = mailbox.listen("a")
    mailbox.close()
    assert fill(mailbox, "ab") == [False, False]
    assert (len(channel), len(mailbox.inbox)) == (0, 0)


def test_closing_ends_a_loop_that_waits(mailbox):
    soon(mailbox.close)
    assert list(mailbox.inbox) == []


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_receive_from_a_closed_mailbox_ends_the_process(mailbox, timeout):
    """`None` is a time-out, and a loop that takes it for idle would spin."""
    mailbox.close()
    with pytest.raises(ChannelClosed):
        mailbox.inbox.receive(timeout)


def test_listener_of_a_closed_mailbox_is_closed(mailbox):
    mailbox.close()
    assert list(mailbox.listen("a")) == []


def test_events_stay_open_when_the_inbox_closes(mailbox):
    mailbox.close()
    soon(mailbox.put_event, an_exit())
    assert mailbox.events.receive(timeout=1) == an_exit()


def test_cancel_that_came_too_early_is_an_event(mailbox):
    """§2.5: the process was about to ask for its events."""
    mailbox.cancel(Cancel(None, "why", at=0.0))
    assert mailbox.open_events().receive(timeout=0).reason == "why"
    assert mailbox.open_events().receive(timeout=0) is None


def test_inbox_is_open_again_for_who_decides_on_its_cancel(mailbox):
    """§2.5"""
    channel = mailbox.listen("a")
    mailbox.cancel(Cancel(None, None, at=0.0))
    mailbox.open_events()
    assert fill(mailbox, "ab") == [True, True]
    assert (drain(channel), drain(mailbox.inbox)) == (["a"], ["b"])


def test_cancel_that_was_noticed_is_no_event(mailbox):
    """§2.5: its loop has ended, which is how it was told."""
    mailbox.cancel(Cancel(None, "why", at=0.0))
    assert list(mailbox.inbox) == []
    assert mailbox.open_events().receive(timeout=0) is None
    assert mailbox.is_closed


def test_kill_is_raised_by_every_take(mailbox):
    fill(mailbox, "a")
    mailbox.kill(KeyError("killed"))
    for _ in range(2):
        with pytest.raises(KeyError, match="killed"):
            mailbox.inbox.receive()


def test_killed_mailbox_takes_no_message(mailbox):
    """§2.1: nobody will read it, and `send` says so."""
    mailbox.kill(KeyError("killed"))
    assert fill(mailbox, "a") == [False]


# -- turns (§2.7) ------------------------------------------------------------------------


class Turns:
    """A turn that notes what happens to it."""

    def __init__(self):
        self.notes = []

    def enter(self):
        self.notes.append("enter")

    def leave(self):
        self.notes.append("leave")


def test_each_item_has_its_turn():
    """§2.7"""
    turns = Turns()
    mailbox = own_mailbox(turn=turns)
    fill(mailbox, "ab")
    mailbox.close()
    for message in mailbox.inbox:
        turns.notes.append(message.topic)
    assert turns.notes == ["leave", "enter", "a", "leave", "enter", "b", "leave", "enter"]


def test_turn_is_left_once_whatever_comes_while_the_owner_waits():
    """§2.7: what it has not asked for wakes it, and it waits on."""
    turns = Turns()
    mailbox = own_mailbox(turn=turns)
    soon(mailbox.put_event, an_exit())
    soon(gevent.spawn, mailbox.put, Message("a"))
    assert mailbox.inbox.receive().topic == "a"
    assert turns.notes == ["leave", "enter"]


def test_turn_is_entered_by_a_wait_that_is_broken_off():
    """§2.7"""
    turns = Turns()
    mailbox = own_mailbox(turn=turns)
    with gevent.Timeout(0.001, False):
        mailbox.inbox.receive()
    assert turns.notes == ["leave", "enter"]


def test_turn_that_a_kill_ends_is_not_left():
    """§2.7: it is closed with the kill, and so nothing half done is committed."""
    turns = Turns()
    mailbox = own_mailbox(turn=turns)
    fill(mailbox, "a")
    mailbox.kill(gevent.GreenletExit())
    with pytest.raises(gevent.GreenletExit):
        mailbox.inbox.receive()
    assert turns.notes == []


def test_no_turn_is_held_while_the_owner_waits():
    """§2.7"""
    turns = Turns()
    mailbox = own_mailbox(turn=turns)
    soon(lambda: turns.notes.append("elsewhere"))
    mailbox.inbox.receive(timeout=0.01)
    assert turns.notes == ["leave", "elsewhere", "enter"]
