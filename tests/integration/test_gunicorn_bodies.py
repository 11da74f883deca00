"""Request bodies of relays under gunicorn: its framing, our counting and patience (§8, §10.3)."""

import contextlib
import functools

import gevent
import pytest

from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.gunicorns import GEVENT, PYWSGI

APP = """
import json
from greenrelay import RelayMiddleware, process
from greenrelay.web.quota import Quota

def stream_app(environ, start_response):
    start_response("200 OK", [("X-SSE-Relay", json.dumps({"target_pid": process.spawn(wait)}))])
    return []

def wait():
    for _ in process.inbox():
        pass

app = RelayMiddleware(stream_app, quota=Quota(per_node=2), body_timeout=1)
"""


@pytest.fixture(params=[GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
def served(request, tmp_path, run_gunicorn):
    (tmp_path / "site_app.py").write_text(APP)
    return run_gunicorn(*request.param, "site_app:app")


post = functools.partial(raw.post, "/events")


def test_bodies_on_their_way_take_no_room(served):
    """§8"""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(raw.RawClient(served.url)) for _ in range(3)]
        for client in waiting:
            client.send(post(b"Content-Length: 5") + b"ab")
        for _ in range(2):
            client = stack.enter_context(raw.RawClient(served.url))
            client.send(post(b"Content-Length: 5") + b"abcde")
            assert client.read_answer().status == 200
        for client in waiting:
            assert client.read_answer().status == 408
            assert client.read_rest() == b""
    assert "Traceback" not in served.text


CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("body", [b"1z\r\n", b"5\nabcde\r\n0\r\n\r\n", b"5\r\nabcdef\r\n0\r\n\r\n"])
def test_malformed_body_is_refused_and_ends_the_connection(served, body):
    """§3.2: nothing behind it is a request."""
    with raw.RawClient(served.url) as client:
        client.send(post(CHUNKED) + body + post(b"Content-Length: 0"))
        assert client.read_answer().status == 400
        with gevent.Timeout(5):
            assert client.read_rest() == b""
    assert "Traceback" not in served.text


def test_client_that_leaves_in_its_body_takes_no_room(served):
    """§8"""
    for _ in range(3):
        with raw.RawClient(served.url) as client:
            client.send(post(CHUNKED) + b"5\r\nab")

    def is_served():
        with raw.RawClient(served.url) as client:
            client.send(post(b"Content-Length: 0"))
            return client.read_answer().status == 200

    wait_until(is_served)
    assert "Traceback" not in served.text
