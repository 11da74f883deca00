"""Request heads, one after the other, from a file: in time and checked (§8)."""

import io
import os
from types import SimpleNamespace

import gevent
import gevent.os
import pytest

from greenrelay.errors import RefusedError
from greenrelay.protocol.refusals import MAX_HEAD_LINES, MAX_REQUEST_LINE_BYTES
from greenrelay.serving.reading import HeadReader, IdleClients
from greenrelay.testing import wait_until
from greenrelay.wire import MAX_HEAD_BYTES

GOOD = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
LINES = [b"GET / HTTP/1.1\r\n", b"Host: example.org\r\n"]
TOO_LARGE = "431 Request Header Fields Too Large"


def server(**changes):
    given = {"idle": IdleClients(), "head_timeout": 5.0, "keep_alive": 5.0, "closed": False}
    return SimpleNamespace(**{**given, **changes})


def reader(data, **changes):
    return HeadReader(io.BufferedReader(io.BytesIO(data)), server(**changes))


class Pipe(io.RawIOBase):
    """A file in which something comes when a test says so; reading switches greenlets."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        gevent.os.make_nonblocking(self.read_end)

    def readable(self):
        return True

    def readinto(self, buffer):
        data = gevent.os.nb_read(self.read_end, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        if not self.closed:
            os.close(self.read_end)
            os.close(self.write_end)
        super().close()


@pytest.fixture
def pipe():
    with Pipe() as pipe:
        yield pipe


def test_heads_come_one_after_the_other():
    heads = reader(GOOD + b"\r\n" + GOOD)
    assert [heads.read(), heads.read(), heads.read()] == [LINES, LINES, None]


def test_the_fields_are_those_of_the_head_that_was_read_last():
    heads = reader(GOOD.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\n\r\n") + GOOD)
    heads.read()
    assert heads.fields.headers == ["Host: example.org\r\n", "X-A: 1\r\n"]
    heads.read()
    assert (heads.fields.get("HOST"), heads.fields.get("X-A")) == ("example.org", None)


def test_a_head_that_breaks_off_is_none():
    heads = reader(GOOD[:-2])
    assert heads.read() is None
    assert heads.has_spoken


def test_a_client_that_leaves_at_once_has_not_spoken():
    heads = reader(b"")
    assert heads.read() is None
    assert not heads.has_spoken


@pytest.mark.parametrize(
    ("data", "status", "request_line"),
    [
        (b"GET /\r\n\r\n", "400 Bad Request", "GET /"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "400 Bad Request", "GET / HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEAD_LINES + b"\r\n", TOO_LARGE, ""),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES, TOO_LARGE, ""),
    ],
    ids=["no version", "mixed line ends", "too many lines", "too many bytes"],
)
def test_a_bad_head_is_refused_and_its_line_kept_for_the_log(data, status, request_line):
    heads = reader(data)
    with pytest.raises(RefusedError) as refused:
        heads.read()
    assert (refused.value.status, heads.request_line) == (status, request_line)


def test_a_long_request_line_is_refused_before_it_is_parsed():
    heads = reader(b"\0" * MAX_REQUEST_LINE_BYTES + b"\r\n\r\n")
    with pytest.raises(RefusedError, match="8 KiB") as refused:
        heads.read()
    assert refused.value.status == "414 URI Too Long"


def test_the_line_of_a_head_is_not_taken_for_the_next_one():
    heads = reader(GOOD)
    heads.read()
    assert heads.request_line == "GET / HTTP/1.1"
    assert heads.read() is None
    assert heads.request_line == ""


def test_a_server_that_stops_reads_no_further_head():
    heads = reader(GOOD + GOOD, closed=True)
    assert heads.read() == LINES  # that connection was accepted before
    assert heads.read() is None


@pytest.mark.parametrize("sent", [b"", GOOD[:10]])
def test_a_first_head_that_is_late_is_refused(pipe, sent):
    os.write(pipe.write_end, sent)
    heads = HeadReader(io.BufferedReader(pipe), server(head_timeout=0.05))
    with pytest.raises(RefusedError, match="too long") as refused:
        heads.read()
    assert refused.value.status == "408 Request Timeout"
    assert heads.has_spoken == bool(sent)


@pytest.mark.parametrize(
    "sent", [GOOD[:-2], b"\r\n\r\n" + GOOD[:-2], b"\n\n", GOOD[:-4] + b"\n\r\n"]
)
def test_time_is_taken_where_the_end_of_a_head_is_not_there(pipe, sent):
    """What looks like one may be a relic before the request line."""
    os.write(pipe.write_end, sent)
    file = io.BufferedReader(pipe)
    heads = HeadReader(file, server(head_timeout=0.05), has_spoken=bool(file.peek(1)))
    with pytest.raises(RefusedError):
        heads.read()


def test_a_head_that_is_there_as_a_whole_has_all_the_time(pipe):
    os.write(pipe.write_end, GOOD)
    file = io.BufferedReader(pipe)
    heads = HeadReader(file, server(head_timeout=0.0), has_spoken=bool(file.peek(1)))
    assert heads.read() == LINES


def test_a_kept_connection_ends_without_a_refusal(pipe):
    os.write(pipe.write_end, GOOD)
    heads = HeadReader(io.BufferedReader(pipe), server(keep_alive=0.05))
    assert [heads.read(), heads.read()] == [LINES, None]


def test_idle_clients_are_ended_together_and_others_go_on(pipe):
    idle = IdleClients()
    waiting = gevent.spawn(idle.await_byte, io.BufferedReader(pipe), None)
    other = gevent.spawn(gevent.sleep, 0.01)
    wait_until(lambda: len(idle) == 1)
    gevent.get_hub().loop.run_callback(idle.end)
    assert waiting.get(timeout=5) is False
    assert len(idle) == 0
    other.get(timeout=5)
