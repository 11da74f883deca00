"""`wsgi.websocket` by itself: what it sends and gives for what comes (§10.4)."""

import io
from types import SimpleNamespace

import pytest
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import MSG_CLOSED

from greenrelay.processes.fairness import Rotation
from greenrelay.protocol.frames import OP_BINARY, OP_PONG, OP_TEXT, encode_close, encode_frame
from greenrelay.serving.legacy import LegacyRefused, LegacyWebSocket
from tests.integration.raw import BINARY, PING, close, frame, text


class Handler:
    """A request's handler, whose client sends some bytes and leaves."""

    rotation = Rotation()

    def __init__(self, data, error=None):
        self.rfile = io.BufferedReader(io.BytesIO(data))
        self.socket = self
        self.sent = []
        self.error = error
        self.closings = []
        app = SimpleNamespace(on_close=self.closings.append)
        self.server = SimpleNamespace(application=SimpleNamespace(current_app=app))

    def sendall(self, data):
        if self.error is not None:
            raise self.error
        self.sent.append(data)


def websocket_of(*frames, error=None, upgrade=lambda: 100):
    """Return a WebSocket to which these frames come; its messages may have 100 bytes."""
    return LegacyWebSocket({}, Handler(b"".join(frames), error), upgrade)


def test_it_is_upgraded_when_the_view_first_uses_it():
    """§10.4"""
    calls = []
    websocket = websocket_of(text("a"), upgrade=lambda: calls.append("101") or 100)
    assert not websocket.is_upgraded
    assert (websocket.receive(), websocket.is_upgraded) == ("a", True)
    websocket.send("b")
    assert calls == ["101"]


def test_a_request_that_was_refused_is_no_websocket():
    def refuse():
        raise LegacyRefused

    websocket = websocket_of(upgrade=refuse)
    with pytest.raises(WebSocketError):
        websocket.send("a")
    assert not websocket.is_upgraded


def test_messages_are_text_or_bytes():
    websocket = websocket_of(text("ä"), frame(BINARY, b"\xff"))
    assert websocket.receive() == "ä"
    assert websocket.receive() == bytearray(b"\xff")


def test_a_ping_is_answered_on_the_way_to_the_next_message():
    websocket = websocket_of(frame(PING, b"?"), text("a"))
    assert websocket.receive() == "a"
    assert websocket.handler.sent == [encode_frame(OP_PONG, b"?")]


@pytest.mark.parametrize(
    ("closing", "answer"),
    [(close(4000), 4000), (frame(8), 1000)],
    ids=["with a code", "without"],
)
def test_a_close_is_answered_and_ends_it(closing, answer):
    websocket = websocket_of(closing, text("behind it"))
    assert websocket.receive() is None
    assert websocket.handler.sent == [encode_close(answer, "")]
    with pytest.raises(WebSocketError):
        websocket.receive()


def test_a_frame_that_is_too_big_ends_it_with_1009():
    """§10.4: the limit is the router's."""
    websocket = websocket_of(text("x" * 101))
    assert websocket.receive() is None
    assert websocket.handler.sent[0][2:4] == (1009).to_bytes(2, "big")


def test_an_unmasked_frame_ends_it_with_1002():
    websocket = websocket_of(frame(1, b"x", mask=b""))
    assert websocket.receive() is None
    assert websocket.handler.sent[0][2:4] == (1002).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("message", "sent"),
    [("ä", encode_frame(OP_TEXT, "ä".encode())), (b"a", encode_frame(OP_BINARY, b"a"))],
)
def test_what_is_sent_is_text_or_bytes(message, sent):
    websocket = websocket_of()
    websocket.send(message)
    assert websocket.handler.sent == [sent]


def test_sending_to_a_client_that_has_left_is_gevent_websockets_error():
    with pytest.raises(WebSocketError):
        websocket_of(error=BrokenPipeError()).send("a")


def test_closing_before_it_was_used_sends_nothing():
    websocket = websocket_of()
    websocket.close()
    websocket.close()
    assert websocket.handler.sent == []


def test_a_client_that_leaves_without_a_close_ends_it():
    websocket = websocket_of()
    assert websocket.receive() is None
    assert websocket.closed
    assert websocket.handler.closings == [MSG_CLOSED]
