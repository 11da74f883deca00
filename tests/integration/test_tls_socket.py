"""A transport on a real TLS connection: records, drops, and close_notify (§8, §3.6)."""

import time

import gevent
import gevent.socket
import gevent.ssl
import pytest

from greenrelay.relay.tls import RECORD_BYTES, TlsSocket
from greenrelay.relay.transport import Transport
from greenrelay.testing import wait_until

HEAD = b"head "
FRAME_BYTES = 1000


def frame(number, size=FRAME_BYTES):
    """Return a write that shows whether it has arrived whole."""
    return b"<" + f"{number:06}".encode() * ((size - 4) // 6) + b"..>"


def numbers(data):
    """Return the numbers of the writes in `data`, each of which has to be whole."""
    pieces = data.split(b"<")[1:]
    assert all(piece.endswith(b"..>") for piece in pieces)
    assert all(len(set(zip(*[iter(piece[:-3])] * 6, strict=True))) == 1 for piece in pieces)
    return [int(piece[:6]) for piece in pieces]


def fill(plain):
    """Send what nobody can decrypt until the kernel takes no more."""
    with pytest.raises(BlockingIOError):
        while True:
            plain.send(b"x")


def drain(plain):
    """Take out what the kernel holds."""
    with pytest.raises(BlockingIOError):
        while True:
            plain.recv(1 << 16)


class Receiver:
    def __init__(self):
        self.pieces = []
        self.events = []

    def on_bytes(self, data):
        self.pieces.append(data)

    def on_eof(self):
        self.events.append("eof")

    def on_flushed(self):
        self.events.append("flushed")


class Pair:
    """A transport on one end of a TLS connection, and its peer."""

    def __init__(self, ours, theirs):
        sock, other = gevent.socket.socketpair()
        shaking = gevent.spawn(ours.wrap_socket, sock, server_side=True)
        self.peer = theirs.wrap_socket(other, server_hostname="127.0.0.1")
        self.peer.settimeout(0.0)
        self.sock = shaking.get()
        self.sock.settimeout(0.0)
        self.receiver = Receiver()
        self.transport = Transport(self.sock, self.receiver, HEAD)
        self.transport.start()
        self.seen = b""

    def read(self, size=1 << 20):
        """Return what the peer has got so far, `size` bytes more at most; `None` at the end."""
        try:
            while size > 0 and (data := self.peer.recv(min(size, 1 << 16))):
                self.seen += data
                size -= len(data)
        except gevent.ssl.SSLWantReadError:
            pass
        return self.seen

    def read_all(self, end):
        """Read until `end` has come; return the rest of it all, without the head."""
        wait_until(lambda: self.read().endswith(end))
        return self.seen.removeprefix(HEAD)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def pair(request, tls, trust):
    trust.maximum_version = getattr(gevent.ssl.TLSVersion, request.param)
    pair = Pair(tls["ssl_context"], trust)
    yield pair
    pair.transport.close()
    pair.peer.close()


def write_until_full(transport, size=FRAME_BYTES):
    """Write numbered frames until 300,000 bytes wait; return how many."""
    number = 0
    while transport.unsent < 300_000:
        transport.write(frame(number, size))
        number += 1
    return number


def test_full_socket_raises_as_a_plain_one_does(pair):
    sock = TlsSocket(pair.sock)
    taken = sock.send(b"x" * 1_000_000)
    assert 0 < taken < 1_000_000
    assert taken % RECORD_BYTES == 0
    assert sock.begun == RECORD_BYTES
    with pytest.raises(BlockingIOError):
        sock.send(b"x" * (1_000_000 - taken))


@pytest.mark.parametrize("size", [40, FRAME_BYTES, 100_000])
def test_everything_arrives_whole_and_in_order(pair, size):
    count = write_until_full(pair.transport, size)
    pair.transport.write(b"end")
    assert numbers(pair.read_all(b"end")[:-3]) == list(range(count))


@pytest.mark.parametrize("size", [208, FRAME_BYTES, 30_004])
def test_dropped_writes_are_dropped_whole_and_the_others_arrive(pair, size):
    """§8: also while several records of one send have been begun."""
    dropped, count = 0, 4_000_000 // size
    for number in range(count):
        if pair.transport.unsent > 400_000:
            dropped += pair.transport.drop_oldest(size)
        pair.transport.write(frame(number, size))
        if number % (count // 12) == 0:
            pair.read(200_000)
            gevent.sleep(0.001)  # so that the loop looks at the socket
    pair.transport.write(b"end")
    arrived = numbers(pair.read_all(b"end")[:-3])
    assert dropped > 0
    assert len(arrived) == count - dropped
    assert arrived == sorted(arrived)


def test_fast_lane_may_stop_in_the_middle_of_a_frame(pair):
    """One send of it is several records."""
    large = frame(0, 1_000_000)
    pair.transport.keep(large, pair.transport.sink.send(large))
    pair.transport.write(frame(1))
    assert pair.transport.drop_oldest(1) == 1
    pair.transport.write(b"end")
    assert numbers(pair.read_all(b"end")[:-3]) == [0]


def test_what_fast_lane_has_begun_is_kept(pair):
    write = frame(0)
    with pytest.raises(BlockingIOError):
        while True:
            pair.transport.sink.send(write)
    pair.transport.keep(write, 0)
    assert pair.transport.drop_oldest(1) == 0
    pair.transport.write(b"end")
    assert set(numbers(pair.read_all(b"end")[:-3])) == {0}


def test_discarding_leaves_what_has_begun(pair):
    write_until_full(pair.transport)
    pair.transport.discard_unsent()
    assert 0 < pair.transport.unsent < RECORD_BYTES + FRAME_BYTES
    pair.transport.write(b"end")
    arrived = numbers(pair.read_all(b"end")[:-3])
    assert arrived == list(range(len(arrived)))


# -- the end -------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shutdown_write", "close"])
def test_peer_is_told_the_end(pair, end):
    """§3.6: `close_notify`, so that nobody else can have cut the connection."""
    pair.transport.write(b"bye")
    getattr(pair.transport, end)()
    pair.peer.suppress_ragged_eofs = False
    assert pair.read() == HEAD + b"bye"
    assert pair.peer.recv(1) == b""
    assert pair.peer.unwrap() is pair.peer


def test_end_without_room_for_close_notify_blocks_nobody(pair):
    """§3.6"""
    write_until_full(pair.transport)
    begun = time.monotonic()
    pair.transport.close()
    assert time.monotonic() - begun < 1
    assert pair.transport.receiver is None


def test_close_notify_waits_until_there_is_room(pair):
    """§3.6"""
    fill(pair.sock._sock)
    pair.transport.shutdown_write()
    gevent.sleep(0.01)
    assert pair.sock._sslobj is not None  # not said yet, so not shut either
    drain(pair.peer._sock)
    wait_until(lambda: pair.sock._sslobj is None)


def test_peer_may_go_on_sending_behind_our_end(pair):
    """§3.6: nobody decrypts it, and it does no harm."""
    pair.transport.shutdown_write()
    pair.peer.send(b"too late" * 1000)
    wait_until(lambda: pair.receiver.pieces)
    assert pair.receiver.events == ["flushed"]
    pair.peer.close()
    wait_until(lambda: pair.receiver.events == ["flushed", "eof"])


def test_peer_that_ends_with_close_notify_may_still_be_sent_to(pair):
    """§3.6"""
    wait_until(lambda: pair.read() == HEAD)
    with pytest.raises(gevent.ssl.SSLWantReadError):
        pair.peer.unwrap()
    wait_until(lambda: pair.receiver.events == ["flushed", "eof"])
    pair.transport.write(b"last words")
    wait_until(lambda: pair.read() == HEAD + b"last words")


def test_peer_that_ends_without_close_notify_has_ended(pair):
    pair.peer.close()
    wait_until(lambda: pair.receiver.events == ["flushed", "eof"])
    pair.transport.write(b"nobody reads this")
    pair.transport.close()
