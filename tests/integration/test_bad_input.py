"""Clients that break every rule get a clear answer and leave nothing behind (§3.2, §3.9, §8)."""

import os

import gevent
import pytest

from greenrelay.testing import leaks, wait_until
from tests.integration import raw
from tests.integration.apps import relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed", "no_traceback")

PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def no_traceback(caplog):
    """Nothing in the log has a traceback."""
    yield
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.fixture
def server(node, relay_server, target):
    """Our server, with little patience."""
    return relay_server(relay_app(node, target), head_timeout=0.2)


def is_well(server):
    """Tell whether the server goes on serving others."""
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        return client.read_answer()[::2] == (200, b"ordinary")


# -- heads ---------------------------------------------------------------------


def get(*lines, first=b"GET /ws HTTP/1.1", host=b"Host: a"):
    return b"\r\n".join((first, host, *lines, b"", b""))


HEADS = [
    pytest.param(b"\x80\x8f\x00\xff\r\n\r\n", "the request line", id="garbage"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the request line", id="another protocol"),
    pytest.param(get(first=b"GET /ws"), "the request line", id="HTTP/0.9"),
    pytest.param(get(first=b"GET /w s HTTP/1.1"), "the request line", id="space in the target"),
    pytest.param(get(first=b"G\tET /ws HTTP/1.1"), "the request line", id="tab in the method"),
    pytest.param(get(first=b"GET /ws\0 HTTP/1.1"), "the request line", id="NUL in the target"),
    pytest.param(get(first=b"GET /ws HTTP/2.0"), "version", id="HTTP/2.0"),
    pytest.param(get(b"A: \0"), "NUL", id="NUL"),
    pytest.param(get(b"A: b\rC: d"), "carriage return", id="bare CR"),
    pytest.param(get(b"no colon"), "no colon", id="no colon"),
    pytest.param(get(b"A : b"), "a header's name", id="space before the colon"),
    pytest.param(get(b": b"), "a header's name", id="no name"),
    pytest.param(get(b"A: b", b" folded"), "folded", id="folded"),
    pytest.param(get(b"Host: b"), "Host", id="two Hosts"),
    pytest.param(get(host=b"A: b"), "Host", id="no Host"),
    pytest.param(get(b"Content-Length: 1", b"Content-Length: 1"), "once", id="two lengths"),
    pytest.param(
        get(b"Content-Length: 1", b"Transfer-Encoding: chunked"), "once", id="length and chunks"
    ),
    pytest.param(get(b"Content-Length: -1"), "a number", id="negative length"),
    pytest.param(get(b"Content-Length: 1e3"), "a number", id="no length"),
    pytest.param(get(b"Transfer-Encoding: gzip"), "chunked", id="unknown coding"),
    pytest.param(
        get(b"Content-Length: 5", first=b"HEAD / HTTP/1.1"), "Content-Length", id="HEAD with a body"
    ),
    pytest.param(raw.head(content_length="5") + b"12345", "no body", id="upgrade with a body"),
]


@pytest.mark.parametrize(("head", "line"), HEADS)
def test_malformed_head_gets_a_400_that_says_why(server, head, line):
    """§3.2"""
    with raw.RawClient(server.url) as client:
        client.send(head)
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert answer.status == 400
    assert answer.headers["Connection"] == "close"
    assert line in answer.body.decode()
    assert answer.body.count(b"\n") == 1
    assert is_well(server)


BIG = [
    pytest.param(get(b"A: " + b"x" * 70_000), id="one line"),
    pytest.param(get(*[b"A: " + b"x" * 1000] * 70), id="many lines"),
    pytest.param(get(first=b"GET /" + b"x" * 70_000 + b" HTTP/1.1"), id="request line"),
    pytest.param(b"x" * 10_000_000, id="10 MB without a line's end"),
    pytest.param(get(*[b"A: b"] * 99), id="101 lines"),
]


@pytest.mark.parametrize("head", BIG)
def test_large_head_gets_a_431(server, head):
    """§8: though the client is still sending."""
    with raw.RawClient(server.url) as client:
        sender = gevent.spawn(client.send, head)
        answer = client.read_answer()
        sender.kill()
    assert answer.status == 431
    assert answer.body.count(b"\n") == 1
    assert is_well(server)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"A: " + b"x" * 30_000] * 2, id="60 KB"),
        pytest.param([b"A: b"] * 98, id="100 lines"),
    ],
)
def test_head_below_the_limits_is_taken(server, lines):
    """§8"""
    with raw.RawClient(server.url) as client:
        client.send(get(*lines, first=b"GET / HTTP/1.1"))
        assert client.read_answer().status == 200


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"GET /ws HT", id="half a line"),
        pytest.param(raw.head()[:-2], id="all but the last line"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="a TLS hello"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_half_a_head_gets_a_408_in_time(server, start):
    """§8"""
    with raw.RawClient(server.url) as client:
        client.send(start)
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert (answer.status, answer.body) == (408, b"the request head took too long\n")


def test_dripping_client_is_not_given_more_time(server):
    """§8"""
    with raw.RawClient(server.url) as client:

        def drip():
            for byte in raw.head():
                client.send(bytes([byte]))
                gevent.sleep(0.01)

        dripping = gevent.spawn(drip)
        assert client.read_answer().status == 408
        dripping.kill()


@pytest.mark.parametrize("start", [b"", b"GET /ws HT", raw.head()[:-2], b"\xff\r\n\r\n"], ids=len)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_in_its_head_costs_nothing(server, node, caplog, start, leave):
    """§8"""
    client = raw.RawClient(server.url)
    client.send(start)
    gevent.sleep(0)
    getattr(client, leave)()
    assert is_well(server)
    wait_until(lambda: not len(server.server.pool))
    assert caplog.records == []


def test_two_requests_in_one_segment_get_two_answers(server):
    with raw.RawClient(server.url) as client:
        client.send(PLAIN + PLAIN)
        assert [client.read_answer().body for _ in range(2)] == [b"ordinary"] * 2


def test_handshake_may_stand_behind_a_request(server, target):
    """§3.3: in the same segment, with its first frame."""
    with raw.RawClient(server.url) as client:
        client.send(PLAIN + raw.head() + raw.text("early"))
        assert client.read_answer().body == b"ordinary"
        assert client.read_answer().status == 101
        assert target.wait_for("ws.message") == "early"


# -- bodies --------------------------------------------------------------------


def reading_app(environ, start_response):
    """Read the whole body, then send a large answer."""
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [os.urandom(100_000)] * 100


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param({"content_length": "100"}, b"less", id="short body"),
        pytest.param({"transfer_encoding": "chunked"}, b"5\r\nab", id="half a chunk"),
    ],
)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_in_its_body_costs_nothing(relay_server, caplog, fields, body, leave):
    """§8"""
    server = relay_server(reading_app)
    client = raw.RawClient(server.url)
    client.send(raw.head("POST / HTTP/1.1", upgrade=None, connection=None, **fields) + body)
    gevent.sleep(0.01)
    getattr(client, leave)()
    wait_until(lambda: not len(server.server.pool))
    assert len(caplog.records) <= 1


def test_bad_chunk_gets_a_400(relay_server):
    """§3.2"""
    server = relay_server(reading_app)
    with raw.RawClient(server.url) as client:
        fields = {"upgrade": None, "connection": None, "transfer_encoding": "chunked"}
        client.send(raw.head("POST / HTTP/1.1", **fields) + b"no number\r\n\r\n")
        assert client.read_answer().status == 400


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("sent", [PLAIN, PLAIN + b"x" * 50_000], ids=["request", "and more"])
def test_client_that_leaves_in_its_answer_costs_nothing(relay_server, caplog, sent, leave):
    """§8"""
    server = relay_server(reading_app)
    client = raw.RawClient(server.url, receive_buffer=4096)
    client.send(sent)
    assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    getattr(client, leave)()
    wait_until(lambda: not len(server.server.pool))
    assert len(caplog.records) <= 1


# -- frames --------------------------------------------------------------------

TEXT_START = raw.frame(raw.TEXT, b"one", first=0)
FRAMES = [
    pytest.param(raw.frame(raw.BINARY, length=8 << 30), 1009, "message_too_big", id="8 GB"),
    pytest.param(raw.frame(raw.TEXT, length=(1 << 63) - 1), 1009, "message_too_big", id="8 EB"),
    pytest.param(raw.frame(raw.TEXT, b"x" * 2_000_000), 1009, "message_too_big", id="2 MB"),
    pytest.param(
        TEXT_START + raw.frame(0, length=1 << 20), 1009, "message_too_big", id="too much in pieces"
    ),
    pytest.param(raw.frame(raw.TEXT, b"hi", mask=b""), 1002, "protocol_error", id="unmasked"),
    pytest.param(raw.frame(raw.TEXT, b"hi", first=0xC0), 1002, "protocol_error", id="reserved bit"),
    pytest.param(raw.frame(3, b"hi"), 1002, "protocol_error", id="reserved opcode"),
    pytest.param(raw.frame(raw.PING, b"x" * 126), 1002, "protocol_error", id="long ping"),
    pytest.param(raw.frame(raw.PING, first=0), 1002, "protocol_error", id="fragmented ping"),
    pytest.param(raw.frame(0, b"hi"), 1002, "protocol_error", id="continues nothing"),
    pytest.param(TEXT_START * 2, 1002, "protocol_error", id="message in a message"),
    pytest.param(raw.frame(raw.CLOSE, b"x"), 1002, "protocol_error", id="close of one byte"),
    pytest.param(raw.close(1005), 1002, "protocol_error", id="close with 1005"),
    pytest.param(raw.close(2999), 1002, "protocol_error", id="close with 2999"),
    pytest.param(raw.frame(raw.TEXT, b"\xff"), 1007, "protocol_error", id="no UTF-8"),
    pytest.param(
        raw.frame(raw.TEXT, b"\xff", first=0), 1007, "protocol_error", id="no UTF-8, seen early"
    ),
    pytest.param(
        raw.frame(raw.TEXT, b"\xff" + b"x" * 9, length=100), 1007, "protocol_error", id="at once"
    ),
]


@pytest.mark.parametrize(("frames", "code", "reason"), FRAMES)
def test_bad_frame_ends_the_connection_with_its_code(
    server, node, target, witness, frames, code, reason
):
    """§3.8, §3.9: what came before it counts."""
    with raw.RawClient(server.url) as client:
        client.upgrade()
        witness.watch(target.client)
        wait_until(lambda: len(node.topology.watchers(target.client)) == 1)
        client.send(raw.text("good") + frames)
        assert client.read_close()[0] == code
        assert client.read_rest() == b""
    assert witness.wait_for_reason() == reason
    assert target.payloads() == ["good"]
    assert target.wait_for("ws.leave")["code"] == code


def test_announced_8_gb_are_not_waited_for(server, target):
    """§3.9: no memory is kept for it."""
    with raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(raw.frame(raw.BINARY, b"x" * 100, length=8 << 30))
        assert client.read_close()[0] == 1009


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="between frames"),
        pytest.param(raw.text("hello")[:4], id="in a header"),
        pytest.param(raw.text("hello")[:-2], id="in a payload"),
        pytest.param(TEXT_START, id="between fragments"),
    ],
)
def test_client_that_vanishes_leaves_nothing(server, node, target, witness, start, leave):
    """§3.8"""
    client = raw.RawClient(server.url)
    client.upgrade()
    witness.watch(target.client)
    wait_until(lambda: len(node.topology.watchers(target.client)) == 1)
    client.send(start)
    gevent.sleep(0)
    getattr(client, leave)()
    assert witness.wait_for_reason() == "connection_lost"
    assert target.wait_for("ws.leave")["code"] == 1006
    node.terminate(next(iter(node)).pid)
    wait_until(lambda: not leaks(node))


def test_frames_after_a_close_frame_mean_nothing(server, target):
    """§3.9"""
    with raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(raw.close(1000, "bye") + raw.text("too late") + b"garbage")
        assert client.read_close() == (1000, "")
        assert client.read_rest() == b""
    assert target.wait_for("ws.leave")["reason"] == "bye"
    assert target.payloads() == []


def test_hundred_bad_clients_do_no_harm_to_a_good_one(server, target):
    """§8"""
    with server.connect_ws("/ws") as ws:
        for param in FRAMES * 6:
            client = raw.RawClient(server.url)
            client.send(raw.head() + param.values[0][:100_000])
            client.reset()
        ws.send("still there")
        wait_until(lambda: "still there" in target.payloads())


def test_target_is_not_told_of_a_client_that_is_refused(server, node):
    """§3.2"""
    with raw.RawClient(server.url) as client:
        client.send(raw.head(sec_websocket_key="short"))
        assert client.read_answer().status == 400
    wait_until(lambda: not leaks(node))
