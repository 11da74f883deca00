"""The process API: spawning, sending, receiving, ending, names, groups (§2)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import (
    InvalidPID,
    NameNotRegistered,
    NameTaken,
    NotAProcess,
    ProcessDown,
)
from greenrelay.pid import PID
from greenrelay.processes.current import on_node
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.sample_processes import collect, crash, idle

UNKNOWN = PID("proc@test/0123456789abcdef")


@pytest.fixture
def messages():
    return []


@pytest.fixture
def receiver(node, messages):
    """The PID of a process that keeps its messages."""
    return node.spawn(collect, (messages,), name="receiver")


# -- spawn -------------------------------------------------------------------------------


def test_spawn_runs_a_function_with_its_arguments(node):
    """§2"""
    seen = []
    process.spawn(lambda *args, **kwargs: seen.append((args, kwargs)), 1, 2, a=3)
    assert seen == []  # not before the caller waits
    wait_until(lambda: seen)
    assert seen == [((1, 2), {"a": 3})]


def test_pid_says_what_it_is(node, in_process):
    """§1.1"""
    pid = process.spawn(idle, host="app:rooms")
    assert (pid.host, pid.node, type(pid)) == ("app:rooms", "test", PID)
    assert in_process(process.pid).host == "proc"


def test_function_may_be_named(node):
    """§2"""
    pid = process.spawn("tests.sample_processes:idle", name="idle")
    assert process.is_alive(pid)
    assert process.is_alive("idle")


def test_taken_name_spawns_nothing(node):
    """§2: a room per name, race-free."""
    ran = []
    pid = process.spawn(idle, name="room")
    assert process.spawn(ran.append, "never", name="room") == pid
    gevent.idle()
    assert ran == []
    assert len(node) == 1


def test_name_is_free_as_soon_as_its_holder_is_terminated(node):
    """§2.8: who is not alive is nobody's room any more."""
    first = process.spawn(idle, name="room")
    process.group("rooms").join(first)
    process.terminate(first)
    second = process.spawn(idle, name="room")
    assert second != first
    assert process.group("rooms").members() == []
    assert process.send("room", "hello") is True


def test_name_is_free_again_after_the_end(node):
    """§2"""
    first = process.spawn(idle, name="room")
    process.terminate(first)
    wait_until(lambda: process.registry.lookup("room") is None)
    assert process.spawn(idle, name="room") != first


def test_name_of_a_process_that_is_asked_to_end_is_still_its_own(node):
    """§2: decided by the table; its PID is given, and a monitor tells the rest."""
    pid = process.spawn(idle, name="room")
    process.cancel(pid)
    assert process.spawn(idle, name="room") == pid


def test_crowd_that_opens_one_room_gets_one(node):
    """§2"""
    pids = set()
    for _ in range(50):
        process.spawn(lambda: pids.add(process.spawn(idle, name="room")))
    gevent.idle()
    assert len(pids) == 1


def test_processes_end_with_nothing_of_the_request_around_them(node):
    """A process does not see the context variables of who spawned it."""
    with on_node(Node("request")):
        pid = process.spawn(lambda: process.current_node().name)
    assert pid.node == "request"
    assert process.current_node() is node


def test_plain_code_means_the_interpreter_s_node():
    assert process.current_node() is default_node()
    assert default_node(default_node().name) is default_node()
    assert default_node("another").name == "another"


# -- send --------------------------------------------------------------------------------


@pytest.mark.parametrize("dest", [str, PID, lambda pid: "receiver"], ids=["text", "PID", "name"])
def test_message_reaches_its_destination(node, receiver, messages, dest):
    """§2"""
    assert process.send(dest(receiver), "topic", {"a": 1})
    (message,) = wait_until(lambda: messages)
    assert (message.topic, message.payload, message.sender) == ("topic", {"a": 1}, None)


def test_message_names_its_sender(in_process, receiver, messages):
    """§2.1"""
    pid = in_process(lambda: process.send(receiver, "topic") and process.pid())
    assert wait_until(lambda: messages)[0].sender == pid


def test_payload_is_the_object_itself(receiver, messages):
    """§2.1: any Python object locally."""
    payload = object()
    process.send(receiver, "topic", payload)
    assert wait_until(lambda: messages)[0].payload is payload


def test_message_has_a_readable_text(receiver, messages):
    process.send(receiver, "topic", 1)
    assert repr(wait_until(lambda: messages)[0]) == "Message('topic', 1, sender=None)"


@pytest.mark.parametrize("end", [process.cancel, process.terminate])
def test_send_says_when_nobody_is_there(node, receiver, end):
    """§2: and never raises for that."""
    end(receiver)
    wait_until(lambda: not process.is_alive(receiver))
    assert process.send(receiver, "topic") is False


def test_order_is_kept_between_any_two(node, receiver, messages):
    """§2.2"""
    for sender in range(5):
        node.spawn(send_numbers, (receiver, sender))
    wait_until(lambda: len(messages) == 500)
    for sender in range(5):
        numbers = [m.payload[1] for m in messages if m.payload[0] == sender]
        assert numbers == list(range(100))


def send_numbers(receiver, sender):
    for number in range(100):
        process.send(receiver, "number", (sender, number))
        if number % (sender + 3) == 0:
            gevent.sleep(0)


def test_process_may_send_to_itself(in_process):
    def body():
        process.send(process.pid(), "note", 1)
        return process.inbox().receive().payload

    assert in_process(body) == 1


def test_two_that_flood_each_other_do_not_stop(node):
    """§8: sends between processes never block."""
    node.max_mailbox, done = 100, []
    one, other = (node.spawn(flood, (done,)) for _ in range(2))
    process.send(one, "other", other)
    process.send(other, "other", one)
    wait_until(lambda: len(done) == 2)


def flood(done, count=200):
    """Send so many to the other one, and take as many."""
    other = process.inbox().receive().payload
    for number in range(count):
        process.send(other, "number", number)
    taken = [process.inbox().receive().payload for _ in range(count)]
    done.append(taken == list(range(count)))


def test_broadcast_counts_those_who_live(node, receiver, messages):
    """§2"""
    dead = node.spawn(crash)
    wait_until(lambda: not node.is_alive(dead))
    assert process.broadcast([receiver, dead, "receiver", "nobody"], "topic") == 2
    wait_until(lambda: len(messages) == 2)


# -- receive -----------------------------------------------------------------------------


def test_listener_wins_over_the_inbox(in_process):
    """§2.2"""

    def body():
        news = process.listen("news")
        for topic in ("letter", "news", "letter"):
            process.send(process.pid(), topic)
        return len(news), len(process.inbox()), news.receive().topic

    assert in_process(body) == (1, 2, "news")


def test_unlisten_gives_the_topic_back_to_the_inbox(in_process):
    def body():
        news = process.listen("news")
        process.send(process.pid(), "news", 1)
        process.unlisten(news)
        process.send(process.pid(), "news", 2)
        return [process.inbox().receive().payload for _ in range(2)]

    assert in_process(body) == [1, 2]


def test_select_takes_from_the_first_that_has_something(in_process):
    """§2"""

    def body():
        news, events, inbox = process.listen("news"), process.events(), process.inbox()
        process.send(process.pid(), "letter")
        process.monitor(UNKNOWN)
        taken = [process.select(news, events, inbox, timeout=0.01) for _ in range(3)]
        return [one and (one[0] in (events, inbox), one[1].__class__.__name__) for one in taken]

    assert in_process(body) == [(True, "Exit"), (True, "Message"), None]


def test_loop_over_the_inbox_ends_with_the_process(node, observer):
    """§2"""
    notes = []
    pid = node.spawn(lambda: (idle(), notes.append("after the loop")))
    gevent.sleep(0)
    process.cancel(pid)
    assert observer.reason_of(pid) == "cancelled"
    assert notes == ["after the loop"]


# -- ends --------------------------------------------------------------------------------


def test_cancel_carries_sender_and_reason(node, in_process):
    """§2.5"""
    events = []
    pid = node.spawn(lambda: events.append(process.events().receive()))
    gevent.sleep(0)
    sender = in_process(lambda: process.cancel(pid, "enough") and process.pid())
    event = wait_until(lambda: events)[0]
    assert (event.kind, event.sender, event.reason) == ("pid.cancel", sender, "enough")
    assert abs(event.at - time.time()) < 5


@pytest.mark.parametrize("end", [process.cancel, process.terminate])
def test_who_asks_is_told_whether_anybody_was_there(node, end):
    """§2.5"""
    pid = node.spawn(idle)
    assert end(pid) is True
    wait_until(lambda: node.find(pid) is None)
    assert end(pid) is False


def test_process_that_terminates_itself_goes_no_further(node, observer):
    """§2.5"""
    notes = []
    pid = node.spawn(lambda: (process.terminate(process.pid()), notes.append("further")))
    assert observer.reason_of(pid) == "killed"
    assert notes == []


# -- info --------------------------------------------------------------------------------


@pytest.fixture
def busy(node):
    """The PIDs of a process that is in all tables, and of another that it watches."""
    other = node.spawn(idle)

    def watch():
        process.link(other)
        process.monitor(other)
        process.send(process.pid(), "unread")
        gevent.sleep(60)

    pid = node.spawn(watch, name="busy")
    process.group("workers").join(pid)
    gevent.sleep(0)
    return pid, other


def test_info_tells_what_a_process_has_to_do_with(busy):
    """§2"""
    pid, other = busy
    info = process.info("busy")
    assert (info["pid"], info["names"], info["groups"]) == (pid, ["busy"], ["workers"])
    assert (info["links"], info["monitors"], info["watchers"]) == ([other], [other], 0)


def test_info_tells_what_a_process_does(busy):
    """§2"""
    info = process.info(busy[0])
    assert info["function"].endswith("test_process:watch")
    assert info["mailbox"] == 1
    assert 0 <= info["uptime"] < 5


@pytest.mark.parametrize("target", [idle, process.Supervisor([])], ids=["function", "object"])
def test_info_of_a_process_that_has_not_begun(node, target):
    assert ":" in process.info(process.spawn(target))["function"]


def test_info_of_the_dead_is_none(node):
    """§2"""
    assert process.info(UNKNOWN) is None


# -- names and groups --------------------------------------------------------------------


def test_process_registers_itself_or_another(node, in_process):
    """§2"""
    pid = node.spawn(idle)
    process.registry.register("other", str(pid))
    assert process.registry.lookup("other") == pid

    def body():
        process.registry.register("self")
        process.registry.register("self")
        return process.registry.lookup("self") == process.pid()

    assert in_process(body)
    assert process.registry.lookup("self") is None


def test_unregistered_name_reaches_nobody(node):
    """§2"""
    node.spawn(idle, name="name")
    assert process.registry.unregister("name")
    assert not process.registry.unregister("name")
    with pytest.raises(NameNotRegistered):
        process.send("name", "topic")


def test_group_reaches_its_members(node, messages):
    """§2"""
    group = process.group("room")
    pids = [node.spawn(collect, (messages,)) for _ in range(3)]
    for pid in pids:
        group.join(str(pid))
    assert group.members() == pids
    assert group.leave(pids[0])
    assert process.group("room").broadcast("topic", 1) == 2
    wait_until(lambda: len(messages) == 2)


def test_process_joins_and_leaves_itself(in_process):
    """§2"""

    def body():
        group = process.group("room")
        group.join()
        members = group.members()
        return members == [process.pid()], group.leave(), group.leave(), group.members()

    assert in_process(body) == (True, True, False, [])


def test_members_leave_when_they_end(node):
    """§2"""
    group = process.group("room")
    pids = [node.spawn(idle) for _ in range(2)]
    for pid in pids:
        group.join(pid)
    process.terminate(pids[0])
    wait_until(lambda: group.members() == pids[1:])


# -- bad use -----------------------------------------------------------------------------

CHANNEL = Mailbox().inbox

NEEDS_A_PROCESS = {
    "pid()": process.pid,
    "inbox()": process.inbox,
    "events()": process.events,
    "listen()": lambda: process.listen("topic"),
    "unlisten()": lambda: process.unlisten(CHANNEL),
    "select()": lambda: process.select(CHANNEL),
    "monitor()": lambda: process.monitor(UNKNOWN),
    "unmonitor()": lambda: process.unmonitor(UNKNOWN),
    "link()": lambda: process.link(UNKNOWN),
    "unlink()": lambda: process.unlink(UNKNOWN),
    "trap_links()": process.trap_links,
    "exit()": process.exit,
    "spawn(link=True)": lambda: process.spawn(idle, link=True),
    "spawn(monitor=True)": lambda: process.spawn(idle, monitor=True),
    "registry.register(name)": lambda: process.registry.register("name"),
    "group(name).join()": lambda: process.group("name").join(),
    "group(name).leave()": lambda: process.group("name").leave(),
}


@pytest.mark.parametrize("call", NEEDS_A_PROCESS)
def test_what_needs_a_process_says_how_to_get_one(node, call):
    """§2"""
    with pytest.raises(NotAProcess) as caught:
        NEEDS_A_PROCESS[call]()
    text = str(caught.value)
    assert text.startswith(
        f"process.{call} needs a process around it; start one with process.spawn"
    )
    assert len(node) == 0


def misuse(title, call, error, text):
    return pytest.param(call, error, text, id=title)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        misuse("no topic", lambda: process.send(UNKNOWN, ""), ValueError, "topic is not empty"),
        misuse("reserved", lambda: process.send(UNKNOWN, "@x"), ValueError, "no '@' first"),
        misuse("topic no text", lambda: process.send(UNKNOWN, 7), TypeError, "a topic is a str"),
        misuse("no PID", lambda: process.send("a@b", "t"), InvalidPID, "host@node/id"),
        misuse("none", lambda: process.send(None, "t"), InvalidPID, "got NoneType"),
        misuse("no name", lambda: process.send("x", "t"), NameNotRegistered, "nobody holds .*'x'"),
        misuse("one PID", lambda: process.broadcast(UNKNOWN, "t"), TypeError, "takes several PIDs"),
        misuse("listen", lambda: process.listen(""), ValueError, "topic is not empty"),
        misuse("select", lambda: process.select(), ValueError, r"select\(inbox, events\)"),
        misuse(
            "no channel",
            lambda: process.select(process.inbox),
            TypeError,
            r"takes channels like process.inbox\(\), got <function",
        ),
        misuse(
            "another's channel",
            lambda: process.select(process.inbox(), CHANNEL),
            NotAProcess,
            "only the process that owns this channel",
        ),
        misuse("monitor", lambda: process.monitor("x"), NameNotRegistered, "nobody holds"),
        misuse("unmonitor", lambda: process.unmonitor("a@b"), InvalidPID, "host@node/id"),
        misuse("link", lambda: process.link("a@b"), InvalidPID, "host@node/id"),
        misuse("cancel", lambda: process.cancel("x"), NameNotRegistered, "nobody holds"),
        misuse("terminate", lambda: process.terminate(7), InvalidPID, "got int"),
        misuse("exit code", lambda: process.exit(1), TypeError, "got 1; return a value"),
        misuse("no reason", lambda: process.exit(""), ValueError, "without any it is 'normal'"),
        misuse("register", lambda: process.registry.register("a@b"), ValueError, "has no '@'"),
        misuse(
            "taken",
            lambda: process.registry.register("receiver"),
            NameTaken,
            "the name 'receiver' is taken by proc@test/",
        ),
        misuse(
            "dead holder",
            lambda: process.registry.register("x", UNKNOWN),
            ProcessDown,
            "is down: noproc",
        ),
        misuse("group", lambda: process.group(""), ValueError, "a group's name is a string"),
        misuse(
            "dead member", lambda: process.group("x").join(UNKNOWN), ProcessDown, "down: noproc"
        ),
        misuse("spawn", lambda: process.spawn(None), TypeError, "takes a function or"),
        misuse("host", lambda: process.spawn(idle, host="a b"), InvalidPID, "the host 'a b'"),
        misuse("info", lambda: process.info("x"), NameNotRegistered, "nobody holds"),
    ],
)
def test_bad_use_is_an_error_with_the_fix(in_process, receiver, call, error, text):
    with pytest.raises(error, match=text):
        in_process(call)


def test_view_does_not_take_from_a_process(node):
    channels = []
    node.spawn(lambda: channels.append(process.inbox()) or idle())
    wait_until(lambda: channels)
    with pytest.raises(NotAProcess, match=r"call process.inbox\(\) in the function that you spawn"):
        channels[0].receive()
