"""What senders get wrong is told in the log, once, and hurts nobody (§3.4, §5.3)."""

import pytest

from greenrelay import process
from greenrelay.relay.delivery import State
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.sse import EventCache
from greenrelay.testing import fake_event_stream, fake_websocket, wait_until
from tests.targets import RecordingTarget


class Mute:
    """Raises even when it is asked what it is."""

    def __repr__(self):
        raise SystemError

    __str__ = __repr__


class MuteError(Exception):
    def __str__(self):
        raise RecursionError


class Bottomless(dict):
    """Raises what can't be put into words."""

    def items(self):
        raise MuteError

    __iter__ = __getitem__ = get = items


BAD = [
    pytest.param("news", {"a": float("nan")}, id="NaN"),
    pytest.param("news", {1, 2}, id="set"),
    pytest.param("news", "\ud800", id="surrogate"),
    pytest.param("news", Bottomless(a=1), id="raises what can't be shown"),
    pytest.param("news", {"a": Mute()}, id="can't be shown"),
]


@pytest.fixture(params=["WebSockets", "event streams"])
def crowd(request, node):
    """Twenty connections of one relay."""
    make = {"WebSockets": fake_websocket, "event streams": fake_event_stream}[request.param]
    fields = {} if make is fake_websocket else {"message_topic": "*"}
    frames = FrameCache() if make is fake_websocket else EventCache()
    crowd = [make(node, RecordingTarget(node).pid, **fields) for _ in range(20)]
    for session in crowd:
        session.frames = frames
        session.transport.flush()
    return crowd


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(("topic", "payload"), BAD)
def test_bad_payload_of_a_broadcast_is_one_line(node, crowd, caplog, in_process, topic, payload):
    """§3.4: with both PIDs; the connections live."""
    pids = [session.pid for session in crowd]
    sender = in_process(lambda: process.broadcast(pids, topic, payload) and process.pid())
    wait_until(lambda: errors(caplog))
    [line] = errors(caplog)
    assert f"{pids[0]}: bad {topic} from {sender}: " in line
    assert {session.state for session in crowd} == {State.OPEN}


def test_next_message_is_encoded_again(node, crowd, caplog):
    """§3.4: and the next mistake has a line of its own."""
    pids = [session.pid for session in crowd]
    process.broadcast(pids, "news", {1})
    process.broadcast(pids, "news", "good")
    process.broadcast(pids, "news", {1})
    wait_until(lambda: len(errors(caplog)) == 2)
    assert all(session.transport.written.count(b"good") == 1 for session in crowd)


def test_bad_payload_for_both_relays_is_one_line(node, caplog):
    """§3.4, §5.3: the mistake is one, however many ways there are to encode it."""
    streams = [
        fake_event_stream(node, RecordingTarget(node).pid, message_topic="*") for _ in range(3)
    ]
    sockets = [fake_websocket(node, RecordingTarget(node).pid) for _ in range(3)]
    assert process.broadcast([each.pid for each in (*streams, *sockets)], "news", {1, 2}) == 6
    wait_until(lambda: errors(caplog))
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize("topic", ["ws.close", "sse.close"])
def test_close_that_is_none_is_one_line(crowd, caplog, topic):
    """§3.5"""
    process.broadcast([session.pid for session in crowd], topic, Mute())
    wait_until(lambda: len(errors(caplog)) == 1)
    assert {session.state for session in crowd} == {State.OPEN}


def test_close_code_that_may_not_be_sent_is_one_line(node, caplog):
    """§3.5"""
    frames = FrameCache()
    crowd = [fake_websocket(node, RecordingTarget(node).pid) for _ in range(5)]
    for session in crowd:
        session.frames = frames
    process.broadcast([session.pid for session in crowd], "ws.close", {"code": 1005})
    assert [session.transport.frames[-1].code for session in crowd] == [1011] * 5
    wait_until(lambda: len(errors(caplog)) == 1)


def test_line_about_a_topic_that_a_client_chose_stays_a_line(node, caplog):
    """§10.6"""
    session = fake_event_stream(node, message_topic="*")
    process.send(session.pid, "news\nERROR all is lost\x1b[0m", "x")
    wait_until(lambda: errors(caplog))
    [line] = errors(caplog)
    assert line.isprintable()


@pytest.mark.parametrize("make", [fake_websocket, fake_event_stream])
@pytest.mark.parametrize("reason", ["bye \ud800", "\udfff" * 200])
def test_reason_that_is_no_unicode_is_told_as_far_as_it_goes(node, make, reason):
    """§3.5, §2.5: whoever gives it, and nobody is hurt."""
    closed, cancelled = [make(node, RecordingTarget(node).pid) for _ in range(2)]
    process.send(closed.pid, f"{closed.JOIN[:-5]}.close", reason)
    process.cancel(cancelled.pid, reason)
    for session in (closed, cancelled):
        assert session.state > State.OPEN
        assert b"?" in session.transport.written


def test_message_that_a_stream_does_not_want_is_no_mistake(node, caplog):
    """§5.4"""
    session = fake_event_stream(node)
    assert process.send(session.pid, "other", {1})
    assert session.transport.written.count(b"event: ") == 1  # ready
    assert errors(caplog) == []
