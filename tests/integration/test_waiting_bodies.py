"""A relay whose request has a body on its way: it counts for nothing, and not for ever (§8)."""

import contextlib
import functools
import json

import gevent
import pytest

from greenrelay import RelayMiddleware, process
from greenrelay.testing import leaks, wait_until
from greenrelay.web.quota import Quota
from tests.integration import raw
from tests.integration.apps import echo

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

CHUNKED = b"Transfer-Encoding: chunked"


def stream_app(environ, start_response):
    """Relay whatever comes to a process of its own, without a look at the body."""
    start_response("200 OK", [("X-SSE-Relay", json.dumps({"target_pid": process.spawn(echo)}))])
    return []


@pytest.fixture
def server(any_server, node, request):
    """Our server, or gevent's, with room for two streams and little patience."""
    app = RelayMiddleware(stream_app, node=node, quota=Quota(per_node=2), body_timeout=0.3)
    ours = request.node.callspec.params["any_server"] == "greenrelay"
    return any_server(app, **({"body_timeout": 0.3} if ours else {}))


post = functools.partial(raw.post, "/events")


def test_bodies_on_their_way_take_no_room(server, node):
    """§8: those who have sent theirs get in, and it is them who fill it."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(raw.RawClient(server.url)) for _ in range(5)]
        for client in waiting:
            client.send(post(b"Content-Length: 5") + b"ab")
        wait_until(lambda: len(list(node)) == 5)  # their targets
        for _ in range(2):
            client = stack.enter_context(raw.RawClient(server.url))
            client.send(post(b"Content-Length: 5") + b"abcde")
            assert client.read_answer().status == 200
        waiting[0].send(b"cde")
        assert waiting[0].read_answer().status == 503


ENDINGS = [
    pytest.param(post(b"Content-Length: 5") + b"ab", 408, id="it stops"),
    pytest.param(post(CHUNKED) + b"5\r\nab", 408, id="it stops in a chunk"),
    pytest.param(post(CHUNKED) + b"1z\r\n", 400, id="it is malformed"),
    pytest.param(post(CHUNKED) + b"5\nabcde\r\n0\r\n\r\n", 400, id="a bare LF"),
]


@pytest.mark.parametrize(("request_bytes", "status"), ENDINGS)
def test_body_that_does_not_arrive_is_refused(server, node, caplog, request_bytes, status):
    """§8: the connection ends, its target is cancelled, the log has one line and no traceback."""
    with raw.RawClient(server.url) as client:
        client.send(request_bytes)
        answer = client.read_answer()
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        with gevent.Timeout(5):
            assert client.read_rest() == b""
    wait_until(lambda: not leaks(node))
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_in_its_body_leaves_nothing(server, node, caplog, leave):
    """§8"""
    client = raw.RawClient(server.url)
    client.send(post(b"Content-Length: 5") + b"ab")
    wait_until(lambda: len(list(node)) == 1)
    getattr(client, leave)()
    wait_until(lambda: caplog.records and not leaks(node))
    assert [record.exc_info for record in caplog.records] == [None]


def test_slow_body_that_goes_on_is_relayed(server):
    """§8: the time runs from the last progress."""
    with raw.RawClient(server.url) as client:
        client.send(post(b"Content-Length: 10"))
        for _ in range(10):
            gevent.sleep(0.06)
            client.send(b"x")
        assert client.read_answer().status == 200


def test_target_that_ends_meanwhile_is_gone(server, node):
    """§3.2: what was true before the body came is looked at again."""
    with raw.RawClient(server.url) as client:
        client.send(post(b"Content-Length: 5") + b"ab")
        [target] = wait_until(lambda: list(node))
        node.terminate(target.pid)
        client.send(b"cde")
        assert client.read_answer()[::2] == (503, b"relay target is gone\n")


def test_client_that_asks_may_send_its_body(server):
    """RFC 9110 §10.1.1: and gets its stream then."""
    with raw.RawClient(server.url) as client:
        client.send(post(b"Content-Length: 5", b"Expect: 100-continue"))
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        client.file.readline()
        client.send(b"abcde")
        assert client.read_answer().status == 200
