"""Bad use of the API is an error that says what to write (§2)."""

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
from greenrelay.processes.mailbox import Mailbox
from greenrelay.testing import wait_until
from tests.sample_processes import idle

UNKNOWN = PID("proc@test/0123456789abcdef")

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
    "ready()": process.ready,
    "every(seconds, topic)": lambda: process.every(1, "topic"),
    "registry.register(name)": lambda: process.registry.register("name"),
    "group(name).join()": lambda: process.group("name").join(),
    "group(name).leave()": lambda: process.group("name").leave(),
    "group(name).watch()": lambda: process.group("name").watch(),
    "group(name).unwatch()": lambda: process.group("name").unwatch(),
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
