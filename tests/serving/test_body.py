"""A request's body: the same bytes however they come, and nothing behind them."""

import io

import gevent.socket
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.serving.body import MAX_DISCARD_BYTES, MAX_FRAMING_BYTES, RequestBody, send_all
from greenrelay.web.taking import BodyFault

NEXT = b"GET / HTTP/1.1\r\n"


class Pieces(io.RawIOBase):
    """A connection on which bytes come in pieces, and end, stop, or break."""

    def __init__(self, pieces, end=None):
        self.pieces = list(pieces)
        self.end = end

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.pieces:
            if self.end is not None:
                raise self.end
            return 0
        piece = self.pieces.pop(0)
        if len(piece) > len(buffer):
            self.pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


class FakeSocket:
    """A socket that keeps what is sent, and takes a few bytes at once."""

    def __init__(self):
        self.sent = b""
        self.timeout = None

    def settimeout(self, seconds):
        self.timeout = seconds

    def send(self, data):
        self.sent += bytes(data[:3])
        return min(3, len(data))


def body_of(*pieces, length=None, end=None, is_awaited=False):
    """Return a body whose bytes come in pieces; chunked unless it has a length."""
    file = io.BufferedReader(Pieces([piece for piece in pieces if piece], end))
    return RequestBody(file, FakeSocket(), length, 1, is_awaited)


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def cut(data, places):
    """Return the data in pieces, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


# -- reading -----------------------------------------------------------------------------------

chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
places = st.lists(st.integers(0, 10_000), max_size=8)


@settings(deadline=None)
@given(chunks, places, st.integers(1, 50))
def test_chunks_cut_anywhere_give_the_same_data(parts, places, size):
    """RFC 9112 §7.1: and the next request begins behind them."""
    body = body_of(*cut(chunked(*parts) + NEXT, places))
    assert b"".join(iter(lambda: body.read(size), b"")) == b"".join(parts)
    assert body.is_over
    assert body.rfile.read() == NEXT


@settings(deadline=None)
@given(st.binary(max_size=200), places, st.integers(-1, 50))
def test_length_is_kept(data, places, size):
    """RFC 9112 §6.2"""
    body = body_of(*cut(data + NEXT, places), length=len(data))
    if size:
        assert b"".join(iter(lambda: body.read(size), b"")) == data
    assert body.discard()
    assert body.rfile.read() == NEXT


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\n", b"a\n", b"bb", b"c" * 30]), max_size=9), places)
def test_lines_are_those_of_the_data(parts, places):
    """PEP 3333: whatever the chunks are."""
    data = b"".join(parts)
    body = body_of(*cut(chunked(*parts), places))
    assert body.readlines() == io.BytesIO(data).readlines()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 100])
def test_line_has_the_size_that_is_asked_for(size):
    body = body_of(chunked(b"ab", b"c\nde"))
    assert body.readline(size) == b"abc\n"[:size]


def test_read_gives_what_is_asked_for_across_chunks():
    body = body_of(chunked(b"ab", b"cde", b"f"))
    assert [body.read(0), body.read(4), body.read(-1), body.read()] == [b"", b"abcd", b"ef", b""]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), places)
def test_any_bytes_are_a_body_or_a_fault(data, places):
    """§3.2: the same, wherever they are cut; a fault stays one."""
    whole, pieces = body_of(data), body_of(*cut(data, places))
    results = []
    for body in (whole, pieces):
        try:
            results.append(body.read())
        except BodyFault as fault:
            results.append(fault.refusal.body)
            with pytest.raises(BodyFault):
                body.readline()
            assert not body.discard()
    assert results[0] == results[1]


# -- faults ------------------------------------------------------------------------------------

ENDS = {
    "nothing": (None, 400),
    "a reset": (ConnectionResetError(104, "reset"), 400),
    "silence": (TimeoutError("timed out"), 408),
}


@pytest.mark.parametrize(("end", "code"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("data", [b"", b"5", b"5\r\nab", b"5\r\nabcde", b"0\r\n", b"0\r\nX: "])
def test_body_that_does_not_go_on_is_a_fault(data, end, code):
    """§8: with the status that says why, to Flask too."""
    with pytest.raises(BodyFault) as raised:
        body_of(data, end=end).read()
    assert raised.value.code == code == int(raised.value.refusal.status[:3])
    assert isinstance(raised.value, OSError)


def test_interrupted_line_is_not_read_on():
    """§3.2: an app may give up waiting in the middle of a size line, and `5f` is not `f`."""

    class GivesUp(BaseException):
        pass

    body = body_of(b"5", end=GivesUp())
    with pytest.raises(GivesUp):
        body.read()
    body.rfile.raw.pieces = [b"f\r\n"]
    assert not body.discard()
    with pytest.raises(BodyFault, match="middle of a line"):
        body.read()


# -- what the app has left ---------------------------------------------------------------------


def test_little_is_read_and_much_is_not():
    """§3.2: as in Go's server."""
    little = body_of(b"x" * MAX_DISCARD_BYTES, length=MAX_DISCARD_BYTES)
    much = body_of(b"x" * (MAX_DISCARD_BYTES + 1), length=MAX_DISCARD_BYTES + 1)
    assert (little.is_worth_reading(), little.discard()) == (True, True)
    assert (much.is_worth_reading(), much.discard()) == (False, False)


def test_endless_chunks_are_not_read_to_their_end():
    body = body_of(*[b"400\r\n" + b"x" * 1024 + b"\r\n"] * 400)
    assert not body.discard()
    assert body.rfile.raw.pieces


def test_framing_is_paid_for_by_data():
    """§3.2: long uploads sign each chunk in an extension."""
    signed = b"1000;signature=" + b"0" * 64 + b"\r\n" + b"x" * 0x1000 + b"\r\n"
    count = 2 * MAX_FRAMING_BYTES // 80
    assert len(body_of(*[signed] * count, b"0\r\n\r\n").read()) == count * 0x1000
    idle = b"1;" + b"0" * 1000 + b"\r\nx\r\n"
    with pytest.raises(BodyFault, match="too long"):
        body_of(*[idle] * (MAX_FRAMING_BYTES // 900), b"0\r\n\r\n").read()


# -- Expect: 100-continue ----------------------------------------------------------------------


def test_client_is_told_to_continue_once_and_when_it_is_read():
    """RFC 9110 §10.1.1"""
    body = body_of(b"ab", length=2, is_awaited=True)
    assert not body.is_worth_reading()
    assert body.read(1) + body.read(1) == b"ab"
    assert body._sock.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_client_that_has_its_answer_is_not_told_to_continue():
    """RFC 9110 §10.1.1: it would take the 100 for what comes behind the answer."""
    body = body_of(b"ab", length=2, is_awaited=True)
    body.answer_instead()
    assert (body.read(2), body._sock.sent) == (b"ab", b"")


def test_nobody_waits_for_an_empty_body():
    body = body_of(length=0, is_awaited=True)
    assert body.is_worth_reading()
    assert (body.read(), body._sock.sent) == (b"", b"")


# -- sending -----------------------------------------------------------------------------------


def test_everything_is_sent_however_little_is_taken():
    sock = FakeSocket()
    send_all(sock, bytearray(b"0123456789"), 7)
    assert (sock.sent, sock.timeout) == (b"0123456789", None)


def test_peer_that_takes_nothing_is_given_up():
    """§8: and what the kernel holds of it is dropped when the socket is closed."""
    ours, theirs = gevent.socket.socketpair()
    with ours, theirs:
        with pytest.raises(TimeoutError):
            send_all(ours, b"x" * 50_000_000, 0.05)
        assert ours.getsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, 8)[0] == 1
