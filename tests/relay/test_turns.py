"""How much of what a client sends is taken at once: a turn, up to the mark (§2.10, §8)."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.processes.node import Node
from greenrelay.protocol.frames import OP_CLOSE, OP_CONT, OP_PING, OP_PONG, OP_TEXT
from greenrelay.relay.config import relay_config
from greenrelay.relay.delivery import State
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.testing import FakeClock, FakeTransport, fake_websocket
from greenrelay.wire import FRAME_COST_BYTES, TURN_BYTES
from tests.integration.raw import frame
from tests.targets import RecordingTarget

FRAMES_PER_TURN = TURN_BYTES // FRAME_COST_BYTES
MEBIBYTE = 1 << 20


class Sink(RecordingTarget):
    """A recorder that is full from `mark` messages on, and takes more all the same."""

    def __init__(self, node, mark):
        super().__init__(node)
        self.mark = mark

    def deliver(self, message):
        super().deliver(message)
        self.is_full = len(self.messages) >= self.mark
        return True

    def drain(self):
        """Throw everything away."""
        self.mark += len(self.messages)
        super().drain()


@pytest.fixture
def session(node, recorder):
    session = fake_websocket(node, recorder.pid)
    session.transport.holds_turns = True
    return session


def turns(session):
    """Take turns until the client is read again, and return how many it took."""
    count = 0
    while session.transport.is_deferred:
        session.transport.turn()
        count += 1
    assert session.transport.is_reading
    return count


def deflated(payload):
    """Return a client's compressed text message."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(OP_TEXT, data[:-4], first=0xC0)


@pytest.fixture
def inflating(node, recorder):
    config = relay_config({"target_pid": recorder.pid, "compression": True})
    session = WebSocketSession(node, FakeClock().wheel, config, FrameCache(), 15)
    session.use(FakeTransport(session))
    session.transport.holds_turns = True
    session.join()
    session.begin(b"")
    return session


# -- a turn (§2.10) ------------------------------------------------------------

FLOODS = [
    pytest.param(frame(OP_PONG) * 1000, id="pongs"),
    pytest.param(frame(OP_PING) * 1000, id="pings"),
    pytest.param(frame(OP_TEXT) * 1000, id="empty messages"),
    pytest.param(frame(OP_TEXT, first=0) + frame(OP_CONT, first=0) * 999, id="empty fragments"),
]


@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_tiny_frames_takes_many_turns(session, flood):
    """§2.10"""
    session.on_bytes(flood)
    assert 1000 / FRAMES_PER_TURN <= turns(session) + 1 <= 1000 / FRAMES_PER_TURN + 2


def test_nothing_is_read_until_the_last_turn(session, recorder):
    """§2.10"""
    session.on_bytes(frame(OP_TEXT, b"x") * (2 * FRAMES_PER_TURN + 1))
    assert not session.transport.is_reading
    assert len(recorder.payloads("ws.message")) == FRAMES_PER_TURN
    assert turns(session) == 2
    assert len(recorder.payloads("ws.message")) == 2 * FRAMES_PER_TURN + 1


def test_ordinary_read_is_one_turn(session):
    """§2.10: many small messages, or a large one in pieces."""
    session.on_bytes(frame(OP_TEXT, b"x" * 100) * 20)
    session.on_bytes(frame(OP_TEXT, b"x" * 300_000)[:65_000])
    assert session.transport.is_reading


def test_compressed_messages_are_inflated_one_in_a_turn(inflating, recorder):
    """§2.10, §8: a read may hold sixty of a mebibyte each."""
    inflating.on_bytes(deflated(b"x" * MEBIBYTE) * 5)
    assert len(recorder.payloads("ws.message")) == 1
    assert turns(inflating) == 5
    assert [len(text) for text in recorder.payloads("ws.message")] == [MEBIBYTE] * 5


def test_connection_that_ends_between_turns_takes_no_more(session, recorder):
    """§3.3: leave is the last message."""
    session.on_bytes(frame(OP_TEXT, b"x") * 1000)
    session.on_eof()
    session.on_turn()
    assert recorder.topics[-1] == "ws.leave"
    assert len(recorder.payloads("ws.message")) == FRAMES_PER_TURN


def test_fault_is_found_in_its_turn(session, recorder):
    """§3.9: after what came before it."""
    session.on_bytes(frame(OP_TEXT, b"x") * 100 + b"\xff\xff")
    turns(session)
    assert len(recorder.payloads("ws.message")) == 100
    assert session.transport.frames[-1].code == 1002


def test_what_follows_a_breach_in_a_later_turn_is_dropped(node, recorder):
    """§8"""
    session = fake_websocket(node, recorder.pid, max_rate=100)
    session.on_bytes(frame(OP_TEXT, b"x") * 1000)
    assert len(recorder.payloads("ws.message")) == 100
    assert session.transport.frames[-1].code == 1008
    assert session.transport.is_reading  # to the end, so that the close is not lost


# -- the target's mark (§8) ----------------------------------------------------


def test_parsing_stops_at_the_mark(node):
    """§8"""
    sink = Sink(node, mark=5)
    session = fake_websocket(node, sink.pid)
    session.on_bytes(b"".join(frame(OP_TEXT, b"%d" % number) for number in range(20)))
    assert sink.payloads("ws.message") == ["0", "1", "2", "3"]  # behind the join
    assert not session.transport.is_reading


def test_each_of_many_connections_overshoots_by_one_message(node):
    """§8"""
    sink = Sink(node, mark=200 + 10)
    sessions = [fake_websocket(node, sink.pid) for _ in range(200)]
    for session in sessions:
        session.on_bytes(frame(OP_TEXT, b"x") * 25)
    assert len(sink.messages) <= sink.mark + 200
    full = len(sink.messages)
    for call in [*sink.on_drained_calls.values()]:  # all at once, and it is full again at once
        call()
    assert len(sink.messages) <= full + 200


def test_compressed_messages_stop_at_the_mark_too(node, inflating, recorder):
    """§8"""
    recorder.is_full = True
    inflating.on_bytes(deflated(b"x" * MEBIBYTE) * 5)
    assert len(recorder.payloads("ws.message")) == 1


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=200), st.integers(1, 50), st.data())
def test_marks_and_turns_lose_nothing_and_keep_the_order(texts, mark, data):
    """§2.2, §8: wherever the client's bytes are cut, and the target is full."""
    node = Node("test")
    sink = Sink(node, mark)
    session = fake_websocket(node, sink.pid)
    stream = b"".join(frame(OP_TEXT, text.encode()) for text in texts)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        session.on_bytes(stream[:size])
        stream = stream[size:]
        while not session.transport.is_reading:
            sink.drain()
    assert sink.payloads("ws.message") == texts
    session.kill()


def test_close_behind_what_a_full_target_leaves_is_found(node):
    """§3.5, §8: the messages before it are dropped, as we have closed."""
    sink = Sink(node, mark=3)
    session = fake_websocket(node, sink.pid)
    session.on_bytes(frame(OP_TEXT, b"x") * 50 + frame(OP_CLOSE, b"\x03\xe8"))
    session.cancel()
    assert session.state is State.LINGERING
    assert session.transport.is_shut
    assert len(sink.payloads("ws.message")) == 2


def test_move_away_from_a_full_target_takes_the_rest_along(node, recorder):
    """§3.6: lost by neither, seen by one."""
    sink = Sink(node, mark=3)
    session = fake_websocket(node, sink.pid)
    session.on_bytes(b"".join(frame(OP_TEXT, b"%d" % number) for number in range(5)))
    session.control({"target_pid": recorder.pid})
    assert sink.payloads("ws.message") == ["0", "1"]
    assert recorder.payloads("ws.message") == ["2", "3", "4"]
    assert sink.on_drained_calls == {}


def test_idle_timeout_spares_a_client_that_we_do_not_read(node, recorder):
    """§8: what it has sent waits for a busy target."""
    clock = FakeClock()
    session = fake_websocket(node, recorder.pid, clock, idle_timeout="10s", ping_interval="0s")
    recorder.is_full = True
    session.on_bytes(frame(OP_TEXT, b"x") * 2)
    clock.advance(60)
    assert session.state is State.OPEN
    recorder.drain()
    clock.advance(21)
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")


# -- what a mailbox may count (§8) ---------------------------------------------

SIZES = [
    pytest.param(OP_TEXT, b"hello", 5, id="ASCII"),
    pytest.param(OP_TEXT, "größe".encode(), 7, id="text"),
    pytest.param(2, b"\x00\xff", 2, id="bytes"),
]


@pytest.mark.parametrize(("opcode", "payload", "size"), SIZES)
@pytest.mark.parametrize("dialect", ["raw", "envelope"])
def test_message_knows_what_its_client_has_sent(node, recorder, opcode, payload, size, dialect):
    """§8"""
    session = fake_websocket(node, recorder.pid, dialect=dialect)
    session.on_bytes(frame(opcode, payload))
    session.on_bytes(frame(opcode, payload) * 2)
    assert [message.size for message in recorder.messages] == [0, size, size, size]
