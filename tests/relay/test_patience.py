"""How long closing may take, and what a session does until then (§3.5, §3.6)."""

import pytest

from greenrelay.message import Message
from greenrelay.relay.connections import Connections
from greenrelay.relay.delivery import State
from greenrelay.relay.patience import Patience
from greenrelay.testing import fake_event_stream, fake_websocket


def seconds_until_it_ends(left_after):
    """Return how long a closing takes of which so many bytes are left after so many seconds."""
    now, patience = 0.0, Patience(0.0, left_after(0))
    while (due := patience.next_check(now, left_after(now))) > now:
        now = due
    return now


@pytest.mark.parametrize(
    ("left_after", "seconds"),
    [
        pytest.param(lambda now: 0, 5, id="nothing to send, no answer"),
        pytest.param(lambda now: 100, 5, id="nothing is taken"),
        pytest.param(lambda now: max(0, 1000 - 100 * now), 15, id="ten seconds of reading"),
        pytest.param(lambda now: 1000 - min(now, 3.5) * 10, 9, id="stops in the middle"),
        pytest.param(lambda now: 10**6 - now, 60, id="a trickle"),
        pytest.param(lambda now: 10**6 - now // 4, 60, id="a byte every four seconds"),
    ],
)
def test_five_seconds_count_from_the_last_progress(left_after, seconds):
    """§3.6"""
    assert seconds_until_it_ends(left_after) == pytest.approx(seconds, abs=0.6)


def test_our_own_stall_is_not_the_peers():
    """§8: as with pings."""
    patience = Patience(0.0, 100)
    assert patience.next_check(30.0, 100) > 30.0
    assert patience.next_check(61.0, 100) <= 61.0


def test_answer_of_the_peer_is_progress_but_only_up_to_the_deadline():
    patience = Patience(0.0, 0)
    patience.renew(58.0, 0)
    assert patience.next_check(58.0, 0) > 58.0
    assert patience.next_check(60.0, 0) <= 60.0


# Every way to close, and which connections know it.
CLOSINGS = {
    "close": lambda session, recorder: session.deliver(Message(f"{session.pid.host}.close", None)),
    "target": lambda session, recorder: recorder.kill("normal"),
    "crash": lambda session, recorder: recorder.kill("error: X: y"),
    "drain": lambda session, recorder: session.drain(),
    "cancel": lambda session, recorder: session.cancel(),
    "fault": lambda session, recorder: session.on_bytes(b"\x00\x00"),
    "client": lambda session, recorder: session.on_bytes(b"\x88\x80\0\0\0\0"),
}
WAYS = [(fake_websocket, name) for name in CLOSINGS] + [
    (fake_event_stream, name) for name in CLOSINGS if name not in ("fault", "client")
]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].__name__[5:]}-{way[1]}")
def leaving(request, node, recorder, clock):
    """Return a connection that closes while 1000 bytes are unsent."""
    connect, way = request.param
    session = (
        connect(node, recorder.pid, clock, ping_interval="0s")
        if connect is fake_websocket
        else (connect(node, recorder.pid, clock))
    )
    session.transport.unsent = 1000
    CLOSINGS[way](session, recorder)
    assert session.state in (State.CLOSING, State.LINGERING)
    return session


def read_slowly(session, clock, seconds):
    """Let the client take ten bytes a second."""
    for _ in range(seconds):
        clock.advance(1)
        session.transport.unsent -= 10


def test_client_that_goes_on_reading_is_waited_for(leaving, clock):
    """§3.6: 5 s from the last progress."""
    read_slowly(leaving, clock, 40)
    assert not leaving.transport.is_closed
    clock.advance(6.1)
    assert leaving.transport.is_closed


def test_client_that_trickles_is_cut_off(leaving, clock, node):
    """§3.6: 60 s in all."""
    read_slowly(leaving, clock, 59)
    assert not leaving.transport.is_closed
    clock.advance(1.2)
    assert leaving.transport.is_closed
    assert not node.shared(Connections)
    assert len(clock.wheel) == 0


def test_nothing_is_lost_by_a_client_that_only_stops_sending(leaving):
    """§3.6: it may listen still."""
    leaving.on_eof()
    assert leaving.state is State.LINGERING
    assert not leaving.transport.is_closed
    leaving.transport.flush()
    assert leaving.transport.is_shut
    leaving.on_eof()
    assert leaving.transport.is_closed


def test_side_is_shut_down_before_the_socket_is_closed(leaving):
    """§3.6: and never with a reset."""
    leaving.on_bytes(b"\x88\x80\0\0\0\0")
    leaving.transport.flush()
    if leaving.state is State.LINGERING:
        assert leaving.transport.is_shut
    leaving.on_bytes(b"\x89\x80\0\0\0\0")
    assert not leaving.transport.is_closed
    leaving.on_eof()
    assert leaving.transport.is_closed


def test_open_client_that_is_gone_is_not_waited_for(node, recorder, clock):
    """§3.8"""
    session = fake_websocket(node, recorder.pid, clock)
    session.transport.unsent = 1000
    session.on_eof()
    assert session.transport.is_closed
    assert not node.shared(Connections)


# -- control frames (§8) -------------------------------------------------------

PING = b"\x89\x80\0\0\0\0"


@pytest.mark.parametrize("policy", ["drop_old", "drop_new"])
def test_pong_gets_through_where_messages_are_dropped(node, recorder, clock, policy):
    """§8: or a slow client would believe that we are gone."""
    session = fake_websocket(node, recorder.pid, clock, max_backlog=1000, slow_consumer=policy)
    session.transport.unsent = 1
    for number in range(100):
        session.on_bytes(PING * (number < 3))
        session.deliver(Message("ws.send", {"type": "text", "data": f"{number:02}" * 49}))
    assert [frame.opcode for frame in session.transport.frames if len(frame) == 3] == [10] * 3
    assert session.transport.unsent <= 1000


@pytest.mark.parametrize("policy", ["drop_old", "drop_new"])
def test_flood_of_pings_is_bounded_whatever_is_dropped(node, recorder, clock, policy):
    """§8"""
    session = fake_websocket(node, recorder.pid, clock, max_backlog=1000, slow_consumer=policy)
    session.transport.unsent = 1
    for _ in range(40):
        session.on_bytes(PING * 1000)
    assert session.transport.frames[-1].code == 1013
