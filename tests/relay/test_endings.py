"""Every way to end, row by row: what monitors, target, client and operators are told (§3.7, §3.8).

The first table is of WebSockets, the second of event streams (§5.3).
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from greenrelay.logs import log_soon
from greenrelay.message import LinkDown
from greenrelay.protocol.frames import OP_TEXT
from greenrelay.relay import endings
from greenrelay.relay.delivery import State
from greenrelay.testing import wait_until
from tests.integration.raw import frame
from tests.relay.actions import close_frame, done, events, send

TEXT = frame(OP_TEXT, b"four")
CRASH = "error: X: y"


class Way(NamedTuple):
    """A row of the table, and how it comes about."""

    end: Callable[..., object]
    """Ends a session."""
    exit_reason: str
    told: object
    """What the client is told: code and text, or the text of `done`; `None`: nothing."""
    left: tuple[str, int] | None
    """Reason and code of the target's leave; `None`: there is nobody to tell."""
    noted: str = ""
    """Whether it is logged and counted."""
    fields: dict[str, object] = {}
    """Of the relay header."""


def reads_no_more(session):
    session.transport.unsent = 10
    send(session, f"{session.HOST}.send", {"type": "text", "data": "x"})


def target_ends(reason):
    return lambda session: session.target.entity.kill(reason)


def link_fails(session):
    session.on_link_down(LinkDown(session.node.make_pid("proc"), CRASH, time.time()))


def waits(session):
    session.wheel.clock.advance(3)


def stops(session):
    session.drain()


def is_cancelled(session):
    session.cancel(None, "moving")


def is_gone(session):
    session.on_eof()


def is_killed(session):
    session.kill()


def sends(data):
    return lambda session: session.on_bytes(data)


def is_closed(session):
    send(session, "ws.close", {"code": 4001, "reason": "out"})


BAD_TEXT = (1007, b"text is not valid UTF-8")
WEBSOCKETS = {
    "CLIENT_CLOSED": Way(sends(close_frame(1001, b"bye")), "normal", (1001, b""), ("bye", 1001)),
    "CLIENT_FAILED": Way(
        sends(close_frame(4000)), "connection_lost", (4000, b""), ("connection_lost", 4000), "count"
    ),
    "CLIENT_GONE": Way(is_gone, "connection_lost", None, ("connection_lost", 1006), "count"),
    "RULE_BROKEN": Way(
        sends(frame(OP_TEXT, b"\xff")),
        "protocol_error",
        BAD_TEXT,
        ("protocol_error", 1007),
        "count",
    ),
    "TOO_BIG": Way(
        sends(TEXT),
        "message_too_big",
        (1009, b"messages hold 3 bytes at most"),
        ("message_too_big", 1009),
        "count",
        {"max_message_size": 3},
    ),
    "RATE_LIMITED": Way(
        sends(TEXT * 2),
        "rate_limited",
        (1008, b"rate limited"),
        ("rate_limited", 1008),
        "log count",
        {"max_rate": 1},
    ),
    "SLOW_CONSUMER": Way(
        reads_no_more,
        "slow_consumer",
        (1013, b"slow consumer"),
        ("slow_consumer", 1013),
        fields={"max_backlog": 10},
    ),
    "PING_TIMEOUT": Way(
        waits,
        "ping_timeout",
        (1011, b"ping timeout"),
        ("ping_timeout", 1011),
        "log count",
        {"ping_interval": "1s"},
    ),
    "IDLE_TIMEOUT": Way(
        waits,
        "idle_timeout",
        (1000, b"idle timeout"),
        ("idle_timeout", 1000),
        "log count",
        {"idle_timeout": "1s"},
    ),
    "CLOSED_BY_SERVER": Way(is_closed, "normal", (4001, b"out"), ("out", 4001)),
    "ASKED": Way(is_cancelled, "cancelled", (1001, b"moving"), ("moving", 1001)),
    "STOPPED": Way(stops, "shutdown", (1012, b"shutdown"), ("shutdown", 1012)),
    "TERMINATED": Way(is_killed, "killed", None, ("killed", 1006)),
    "LINK_FAILED": Way(link_fails, CRASH, (1011, b"linked process failed"), (CRASH, 1011)),
    "TARGET_DONE": Way(target_ends("normal"), "normal", (1000, b"target process exited"), None),
    "TARGET_BROKEN": Way(target_ends(CRASH), CRASH, (1011, b"target process failed"), None),
    "TARGET_LOST": Way(
        target_ends("noconnection"), "noconnection", (1012, b"target process failed"), None
    ),
}
STREAMS = {
    "CLIENT_GONE": Way(is_gone, "connection_lost", None, ("connection_lost", 1006), "count"),
    "SLOW_CONSUMER": Way(
        reads_no_more,
        "slow_consumer",
        "slow consumer",
        ("slow_consumer", 1013),
        fields={"max_backlog": 10, "message_topic": "sse.send"},
    ),
    "IDLE_TIMEOUT": Way(
        waits, "idle_timeout", "idle timeout", ("idle_timeout", 1000), "log count",
        {"idle_timeout": "1s"},
    ),
    "HARD_TIMEOUT": Way(
        waits, "hard_timeout", "hard timeout", ("hard_timeout", 1000), "log count",
        {"hard_timeout": "1s"},
    ),
    "CLOSED_BY_SERVER": Way(
        lambda session: send(session, "sse.close", "out"), "normal", "out", ("normal", 1000)
    ),
    "ASKED": Way(is_cancelled, "cancelled", "moving", ("cancelled", 1001)),
    "STOPPED": Way(stops, "shutdown", "shutdown", ("shutdown", 1012)),
    "TERMINATED": Way(is_killed, "killed", None, ("killed", 1006)),
    "LINK_FAILED": Way(link_fails, CRASH, "linked process failed", (CRASH, 1011)),
    "TARGET_DONE": Way(target_ends("shutdown"), "shutdown", "target process exited", None),
    "TARGET_BROKEN": Way(target_ends(CRASH), CRASH, "target process failed", None),
    "TARGET_LOST": Way(target_ends("noconnection"), "noconnection", "target process failed", None),
}  # fmt: skip


def test_no_row_is_missing():
    assert WEBSOCKETS.keys() | STREAMS.keys() == endings.TABLE.keys()


def end(session, way, watcher, caplog):
    """End a session; return what its monitor, its target and operators are told."""
    node, recorder = session.node, session.target.entity
    node.monitor(watcher, session.pid)
    way.end(session)
    if session.state is not State.CLOSED:
        session.on_eof()  # the client's answer
    log_soon(logging.getLogger("greenrelay"), logging.INFO, "behind it")
    wait_until(lambda: "behind it" in caplog.messages)
    [exit] = watcher.exits
    leaves = recorder.payloads(session.LEAVE)
    noted = [word for word, is_so in (
        ("log", f"{session.pid} ended: {exit.reason}" in caplog.messages),
        ("count", node.counts[exit.reason] == 1),
    ) if is_so]  # fmt: skip
    left = [(leave["reason"], leave["code"]) for leave in leaves]
    return exit.reason, left, " ".join(noted)


def expected(way):
    return way.exit_reason, [way.left] if way.left else [], way.noted


@pytest.mark.parametrize("way", WEBSOCKETS.values(), ids=WEBSOCKETS)
def test_websocket_ends_as_its_row_says(connect, watcher, caplog, way):
    """§3.7, §3.8, §8"""
    caplog.set_level(logging.INFO)
    session = connect(**way.fields)
    assert end(session, way, watcher, caplog) == expected(way)
    closes = [each[1:] for each in session.transport.frames if each[0] == 8]
    assert closes == ([way.told] if way.told else [])


@pytest.mark.parametrize("way", STREAMS.values(), ids=STREAMS)
def test_event_stream_ends_as_its_row_says(open_stream, watcher, caplog, way):
    """§5.3, §5.6, §8"""
    caplog.set_level(logging.INFO)
    stream = open_stream(heartbeat_interval="0s", **way.fields)
    assert end(stream, way, watcher, caplog) == expected(way)
    assert events(stream) == ([done(way.told)] if way.told else [])


@pytest.mark.parametrize(
    ("reason", "noted"),
    [
        pytest.param("idle_timeout", (True, True), id="logged and counted"),
        pytest.param("connection_lost", (False, True), id="counted"),
        pytest.param("normal", (False, False), id="neither"),
        pytest.param(CRASH, (False, False), id="no row's"),
    ],
)
def test_what_is_noted_depends_on_the_exit_reason_alone(reason, noted):
    """A connection whose target was a connection ends with that one's reason."""
    ending = endings.target_ended(reason)
    assert (ending.exit_reason, ending.is_logged, ending.is_counted) == (reason, *noted)
