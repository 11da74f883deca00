"""What goes out: the app's answer, or a refusal, on a server that the test plays (§3.1, §3.2)."""

import pytest

from greenrelay.errors import RefusedError
from greenrelay.protocol.frames import encode_close
from greenrelay.protocol.origins import OriginPolicy
from greenrelay.relay.config import Limits
from greenrelay.web.answer import Answer, refuse
from greenrelay.web.direct import DirectStream
from greenrelay.web.opening import read_opening
from greenrelay.web.routers import Router, Rule
from greenrelay.web.servers import TEST_CLIENT
from greenrelay.web.taking import END_CONNECTION, RequestSocket

WS, SSE = "X-WS-Relay", "X-SSE-Relay"
RULE = Rule(Limits(), OriginPolicy(), is_checked_first=False)
UPGRADE = RefusedError("426 Upgrade Required", "größe", (("Upgrade", "websocket"),))
GONE = RefusedError("503 Service Unavailable", "relay target is gone")
TORN = RefusedError("400 Bad Request", "the request body is malformed", END_CONNECTION)
NO_SOCKET = RefusedError("501 Not Implemented", "no socket")
ENDED = RefusedError("200 OK", "event: sse.done\n\n", (("Content-Type", "text/event-stream"),))


class Socket(RequestSocket):
    """Records what is asked of it.

    Args:
        is_upgraded: by somebody else.
    """

    is_upgraded = False

    def __init__(self, is_upgraded=False):
        self.is_upgraded = is_upgraded
        self.is_ended = False
        self.frames = []

    def end_connection(self):
        self.is_ended = True

    def close_upgraded(self, frame):
        self.frames.append(frame)


class Server:
    """Keeps what it is told to answer."""

    def __init__(self):
        self.status = self.headers = None

    def start_response(self, status, headers, exc_info=None):
        self.status, self.headers = status, headers


def refused(refusal, sock=None, **changes):
    """Return status, headers and body of the answer to a refused request."""
    server = Server()
    opening = read_opening({"REQUEST_METHOD": "GET", "PATH_INFO": "/ws", **changes})
    opening = opening._replace(socket=sock or Socket())
    body = b"".join(refuse(refusal, opening, server.start_response))
    return server.status, dict(server.headers or ()), body


# -- a refusal -----------------------------------------------------------------------


def test_refusal_has_one_line_and_its_length():
    """§3.2"""
    status, headers, body = refused(UPGRADE)
    assert (status, body) == ("426 Upgrade Required", "größe\n".encode())
    assert headers["Content-Length"] == str(len(body))
    assert headers["Upgrade"] == "websocket"


def test_refused_head_announces_the_body_that_it_has_not():
    """RFC 9110 §9.3.2"""
    _, headers, body = refused(GONE, REQUEST_METHOD="HEAD")
    assert (headers["Content-Length"], body) == ("21", b"")


def test_ended_stream_is_no_line_of_text():
    """§5.4: it has its own headers, and a browser comes back."""
    answer = refused(ENDED)
    assert answer == ("200 OK", {"Content-Type": "text/event-stream"}, b"event: sse.done\n\n")


def test_upgraded_connection_gets_a_close_frame():
    """§10.4"""
    sock = Socket(is_upgraded=True)
    assert refused(GONE, sock) == (None, {}, b"")
    assert sock.frames == [encode_close(1013, "relay target is gone")]


@pytest.mark.parametrize(("refusal", "is_ended"), [(TORN, True), (GONE, False)])
def test_connection_ends_where_nobody_knows_the_next_request(refusal, is_ended):
    """§3.2"""
    sock = Socket()
    refused(refusal, sock)
    assert sock.is_ended is is_ended


UPGRADING = {"HTTP_CONNECTION": "Upgrade", "HTTP_UPGRADE": "websocket"}


@pytest.mark.parametrize(
    ("refusal", "changes", "told"),
    [
        (UPGRADE, {}, "relay_server(app).connect_ws('/ws')"),
        (NO_SOCKET, UPGRADING, "relay_server(app).connect_ws('/ws')"),
        (NO_SOCKET, {}, "relay_server(app).connect_sse('/ws')"),
    ],
)
def test_test_client_is_told_how_a_relay_is_tested(refusal, changes, told):
    """§10.6"""
    _, _, body = refused(refusal, TEST_CLIENT, **changes)
    assert told in body.decode()


def test_test_client_gets_other_refusals_as_they_are():
    assert refused(GONE, TEST_CLIENT)[2] == b"relay target is gone\n"


# -- the app's answer ------------------------------------------------------------------


def answer(status, *headers, rules=(WS, SSE)):
    """Return what an app's answer asks for, and what the server is told."""
    server = Server()
    stream = DirectStream(read_opening({}), server.start_response)
    router = Router("all", "", dict.fromkeys(rules, RULE))
    answer = Answer("/ws", server.start_response, stream, router)
    answer.start(status, list(headers))
    return answer.relay, server


PASSED = {
    # id: (status, headers, what goes out)
    "no relay": ("200 OK", [("A", "1")], [("A", "1")]),
    "an error": ("404 Not Found", [("A", "1"), (WS, "{}")], [("A", "1")]),
    "a redirect": ("302 Found", [(SSE, "{}"), ("A", "1")], [("A", "1")]),
}


@pytest.mark.parametrize(("status", "headers", "sent"), PASSED.values(), ids=PASSED.keys())
def test_answer_goes_out_without_a_relay_header(status, headers, sent):
    """§3.2"""
    relay, server = answer(status, *headers)
    assert relay is None
    assert (server.status, server.headers) == (status, sent)


@pytest.mark.parametrize("header", [WS, SSE])
def test_answer_that_asks_for_a_relay_is_withheld(header):
    """§3.1: and its other headers are kept for the connection's."""
    relay, server = answer("200 OK", ("A", "1"), (header.lower(), "{}"))
    assert relay == (header, "{}", RULE, [("A", "1")])
    assert server.status is None


def test_relay_that_no_router_switches_on_is_removed_and_told(caplog):
    """§6.1"""
    relay, server = answer("200 OK", (WS, "{}"), ("A", "1"), rules=[SSE])
    assert relay is None
    assert server.headers == [("A", "1")]
    assert "'/ws': X-WS-Relay is ignored" in caplog.text


def test_first_relay_that_is_on_wins():
    """§6.1"""
    relay, _ = answer("200 OK", (WS, "1"), (SSE, "2"), rules=[SSE])
    assert relay[:2] == (SSE, "2")
