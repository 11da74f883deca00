"""An answer that nobody reads is not held for ever; one that is read slowly is sent whole (§8)."""

import gevent
import pytest
from flask import Flask

from greenrelay import GreenRelay, write_event
from greenrelay.testing import wait_until
from tests.integration import raw

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PIECE = b"x" * 100_000
PIECES = 300


class LargeApp(Flask):
    """Views whose answers no kernel buffers; `ended` has those that have come to their end."""

    def __init__(self, node):
        super().__init__("large")
        GreenRelay(self, node=node)
        self.ended = []
        for name in ("whole", "pieces", "events"):
            self.add_url_rule(f"/{name}", name, getattr(self, name))

    def whole(self):
        self.ended.append("whole")
        return PIECE * PIECES

    def pieces(self):
        def run():
            try:
                for _ in range(PIECES):
                    yield PIECE
            finally:
                self.ended.append("pieces")

        return run(), {"Content-Length": str(len(PIECE) * PIECES)}

    def events(self):
        try:
            for _ in range(PIECES):
                write_event("piece", PIECE.decode())
        finally:
            self.ended.append("events")
        return ""


@pytest.fixture(params=["plain", "tls"])
def connect(request, relay_server, node):
    """Return what connects to a server of that app with little patience, and the app."""
    app = LargeApp(node)
    options, context = {}, None
    if request.param == "tls":
        options = request.getfixturevalue("certificate")
        context = request.getfixturevalue("trust")
    server = relay_server(app, write_timeout=0.3, **options)
    return lambda: raw.RawClient(server.url, receive_buffer=4096, ssl_context=context), app, server


@pytest.mark.parametrize("path", ["whole", "pieces", "events"])
def test_answer_that_nobody_reads_is_given_up(connect, caplog, path):
    """§8: its view is ended, its socket closed, without a traceback."""
    open_client, app, server = connect
    with open_client() as client:
        client.send(GET % path.encode())
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        wait_until(lambda: app.ended == [path] and not len(server.server.pool))
    assert [record.exc_info for record in caplog.records if record.exc_info] == []
    assert len(caplog.records) <= 1


def test_answer_that_is_read_slowly_is_sent_whole(connect):
    """§8: the time runs from the last progress."""
    open_client, app, _ = connect
    with open_client() as client:
        client.send(GET % b"pieces")
        size = 0
        while data := client.file.read(2_000_000):
            size += len(data)
            gevent.sleep(0.05)
    assert size > len(PIECE) * PIECES
    assert app.ended == ["pieces"]


def test_pipelining_client_that_reads_nothing_is_given_up(connect):
    """§8: also when it is refused at last, and the refusal is what nobody reads."""
    open_client, app, server = connect
    with open_client() as client:
        client.send(GET.replace(b"Connection: close\r\n", b"") % b"whole" + b"nonsense\r\n\r\n")
        wait_until(lambda: app.ended == ["whole"] and not len(server.server.pool))
