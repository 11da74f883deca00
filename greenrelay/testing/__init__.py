"""What an app's authors need to test relayed views, over a real server on loopback.

def test_echo(relay_server):
    server = relay_server(app)
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
"""

from __future__ import annotations

from greenrelay.protocol.eventstream import ServerSentEvent
from greenrelay.testing.checks import leaks, wait_until
from greenrelay.testing.clients import UpgradeRefused
from greenrelay.testing.factory import ServerFactory, serving
from greenrelay.testing.fakes import FakeClock, FakeTransport, fake_event_stream, fake_websocket
from greenrelay.testing.httpclient import HttpSession
from greenrelay.testing.served import ServedApp
from greenrelay.testing.sseclient import EventStreamClient
from greenrelay.testing.wsclient import ConnectionClosed, WebSocketClient

__all__ = [
    "ConnectionClosed",
    "EventStreamClient",
    "FakeClock",
    "FakeTransport",
    "HttpSession",
    "ServedApp",
    "ServerFactory",
    "ServerSentEvent",
    "UpgradeRefused",
    "WebSocketClient",
    "fake_event_stream",
    "fake_websocket",
    "leaks",
    "serving",
    "wait_until",
]
