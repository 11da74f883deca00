"""The way from one node to another: what shares an envelope, and what does not fit (§7.3, §7.4)."""

import pytest

from greenrelay.cluster.backend import Member
from greenrelay.cluster.peer import Peer
from greenrelay.errors import NotPortable

ONE, TWO = Member("one", "1" * 16), Member("two", "2" * 16)


class Wire:
    """A backend that keeps what it gets."""

    def __init__(self):
        self.envelopes, self.is_open = [], True

    def publish(self, member, data):
        if self.is_open:
            self.envelopes.append(data)
        return self.is_open

    def pending(self, member):
        return sum(map(len, self.envelopes))


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def due():
    """What the loop is asked to call."""
    return []


@pytest.fixture
def peer(wire, due):
    return Peer(ONE, TWO, wire, due.append, max_bytes=16 * 1024)


@pytest.fixture
def other(wire, due):
    """The same way, from its other end."""
    return Peer(TWO, ONE, wire, due.append, max_bytes=16 * 1024)


def test_what_is_sent_in_one_turn_shares_an_envelope(peer, other, wire, due):
    for operation in (b"a", b"b", b"c"):
        assert peer.send(operation)
    (flush,) = due
    flush()
    (envelope,) = wire.envelopes
    assert other.open(envelope) == [b"a", b"b", b"c"]


def test_more_than_an_envelope_holds_takes_several_in_order(peer, other, wire):
    sent = [bytes([65 + number]) * 4000 for number in range(9)]
    for operation in sent:
        peer.send(operation)
    peer.flush()
    assert len(wire.envelopes) > 1
    assert [operation for data in wire.envelopes for operation in other.open(data)] == sent


def test_what_fits_in_no_envelope_is_refused(peer, wire):
    with pytest.raises(NotPortable, match="too many"):
        peer.send(b"x" * 16 * 1024)


def test_the_largest_that_is_taken_fits(peer, other, wire):
    size = peer._room
    peer.send(b"x" * size)
    peer.flush()
    assert other.open(wire.envelopes[0]) == [b"x" * size]


def test_what_is_missing_is_counted(peer, other, wire):
    for operation in (b"a", b"b", b"c"):
        peer.send(operation)
        peer.flush()
    other.open(wire.envelopes[0])
    assert other.missing == 0
    other.open(wire.envelopes[2])
    assert other.missing == 1


def test_what_the_backend_does_not_take_is_counted(peer, wire):
    wire.is_open = False
    peer.send(b"a")
    peer.flush()
    assert (peer.sent, peer.undelivered) == (0, 1)


def test_a_lost_one_is_sent_nothing(peer, wire):
    peer.send(b"a")
    peer.lose()
    assert not peer.send(b"b")
    peer.flush()
    assert wire.envelopes == []
