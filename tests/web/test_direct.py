"""Events straight from a view, on a server that the test plays (§4)."""

import pytest
from flask import Flask, Response, request, session, stream_with_context
from werkzeug.test import create_environ

from greenrelay import ClientGone, GreenRelay, ResponseStarted, event_stream, write_event
from greenrelay.errors import NoEventStream
from greenrelay.web.servers import SOCKET_KEY
from greenrelay.web.taking import RequestSocket

STREAM_HEADERS = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),
]


class Server:
    """Calls the app as a WSGI server would, and keeps what it answers.

    Args:
        app: a Flask app.
        breaks_at: the write, counted from 0, that finds the client gone.
    """

    def __init__(self, app, breaks_at=None):
        self.app = app
        self.breaks_at = breaks_at
        self.starts = []
        self.written = []

    def get(self, path, method="GET"):
        """Return the body of the response, as far as the client has got it."""
        environ = create_environ(path, method=method)
        body = self.app(environ, self.start_response)
        try:
            self.written.extend(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        return b"".join(self.written)

    def start_response(self, status, headers, exc_info=None):
        self.starts.append((status, headers))
        return self.write

    def write(self, data):
        if len(self.written) == self.breaks_at:
            raise BrokenPipeError("gone")
        self.written.append(data)


@pytest.fixture
def app(node):
    app = Flask("direct")
    app.secret_key = "for the session cookie"
    GreenRelay(app, node=node)
    return app


def view(app, function):
    """Make `function` the view of `/`."""
    app.add_url_rule("/", "view", function)
    return app


def test_first_event_switches_the_response(app):
    """§4.1"""
    server = Server(view(app, lambda: write_event("progress", {"percent": 7}) or "dropped"))
    assert server.get("/") == b'event: progress\ndata: {"percent":7}\n\n'
    assert server.starts == [("200 OK", STREAM_HEADERS)]


def test_each_event_is_written_at_once(app):
    """§4.1"""
    seen = []

    def export():
        for number in range(3):
            write_event("progress", number)
            seen.append(len(server.written))
        return ""

    server = Server(view(app, export))
    server.get("/")
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("text", b'"text"'),
        ("a\nb", b'"a\\nb"'),
        (None, b"null"),
        ([1], b"[1]"),
        ("é", '"é"'.encode()),
    ],
)
def test_data_is_always_json(app, data, line):
    """§4.1"""
    server = Server(view(app, lambda: write_event("x", data) or ""))
    assert server.get("/") == b"event: x\ndata: " + line + b"\n\n"


def test_id_and_retry_are_sent(app):
    """§4.1"""
    server = Server(view(app, lambda: write_event("x", 1, id="7", retry=100) or ""))
    assert server.get("/") == b"event: x\nid: 7\nretry: 100\ndata: 1\n\n"


@pytest.mark.parametrize(
    ("event", "error"),
    [
        pytest.param({"name": ""}, ValueError, id="empty name"),
        pytest.param({"name": "a\nb"}, ValueError, id="LF in the name"),
        pytest.param({"name": "a\rb"}, ValueError, id="CR in the name"),
        pytest.param({"name": "a\0b"}, ValueError, id="NUL in the name"),
        pytest.param({"name": 7}, TypeError, id="name that is no text"),
        pytest.param({"name": "x", "id": "1\n2"}, ValueError, id="LF in the id"),
        pytest.param({"name": "x", "id": "1\r2"}, ValueError, id="CR in the id"),
        pytest.param({"name": "x", "id": "\0"}, ValueError, id="NUL in the id"),
        pytest.param({"name": "x", "id": 7}, TypeError, id="id that is no text"),
        pytest.param({"name": "x", "retry": -1}, ValueError, id="negative retry"),
        pytest.param({"name": "x", "data": {1}}, TypeError, id="no JSON"),
        pytest.param({"name": "x", "data": b"bytes"}, TypeError, id="bytes"),
        pytest.param({"name": "x", "data": float("inf")}, ValueError, id="not finite"),
        pytest.param({"name": "x", "data": "\ud800"}, ValueError, id="no UTF-8"),
    ],
)
def test_bad_event_is_refused_and_nothing_sent(app, event, error):
    """§4.1: the view may still answer with something else."""

    def export():
        with pytest.raises(error):
            write_event(**event)
        return "ordinary"

    server = Server(view(app, export))
    assert server.get("/") == b"ordinary"
    assert server.starts[0][0] == "200 OK"


def test_event_behind_ordinary_output_is_refused(app):
    """§4.1"""

    def body():
        yield "ordinary"
        with pytest.raises(ResponseStarted, match="call write_event\\(\\) before that"):
            write_event("x")

    server = Server(view(app, lambda: Response(stream_with_context(body()))))
    assert server.get("/") == b"ordinary"


def test_client_that_is_gone_ends_the_view(app):
    """§4.1"""
    seen = []

    def export():
        try:
            for number in range(5):
                write_event("x", number)
                seen.append(number)
        except ClientGone:
            with pytest.raises(ClientGone):
                write_event("x", "still gone")
            raise
        return ""

    Server(view(app, export), breaks_at=2).get("/")
    assert seen == [0, 1]


def test_client_that_is_gone_is_no_error_of_the_app(app, caplog):
    """§4.1: a view may let it through."""

    def export():
        while True:
            write_event("x")

    torn_down = []
    app.teardown_request(torn_down.append)
    Server(view(app, export), breaks_at=1).get("/")
    assert torn_down == [None]
    assert caplog.records == []


def test_own_handler_for_a_client_that_is_gone_is_kept(node):
    """§4.1"""
    app, seen = Flask("own"), []
    app.register_error_handler(ClientGone, lambda error: seen.append(error) or "")
    GreenRelay(app, node=node)

    def export():
        while True:
            write_event("x")

    Server(view(app, export), breaks_at=1).get("/")
    assert len(seen) == 1


def test_what_the_view_returns_or_raises_is_dropped(app, caplog):
    """§4.1"""

    def export():
        session["user"] = 7
        write_event("x")
        raise RuntimeError("on purpose")

    server = Server(view(app, export))
    assert server.get("/") == b"event: x\ndata: null\n\n"
    assert server.starts == [("200 OK", STREAM_HEADERS)]
    assert "on purpose" in caplog.text


def test_head_gets_the_headers_alone(app):
    """§4.1"""
    server = Server(view(app, lambda: write_event("x") or "dropped"))
    assert server.get("/", "HEAD") == b""
    assert server.starts == [("200 OK", STREAM_HEADERS)]


def test_there_is_no_event_without_a_request():
    """§4.1"""
    with pytest.raises(NoEventStream, match="works in a view of an app with GreenRelay"):
        write_event("x")


def test_there_is_no_event_without_a_greenrelay():
    """§4.1"""
    app = Flask("plain")
    with app.test_request_context(), pytest.raises(NoEventStream):
        write_event("x")


# -- generators (§4.2) ---------------------------------------------------------


def test_generator_becomes_events(app):
    """§4.2"""
    server = Server(view(app, lambda: event_stream(("n", n) for n in range(2))))
    assert server.get("/") == b"event: n\ndata: 0\n\nevent: n\ndata: 1\n\n"
    status, headers = server.starts[0]
    assert status == "200 OK"
    assert set(STREAM_HEADERS) <= set(headers)


def test_generator_runs_in_the_requests_context(app):
    """§4.2"""

    def events():
        yield "path", request.path

    server = Server(view(app, lambda: event_stream(events())))
    assert server.get("/") == b'event: path\ndata: "/"\n\n'


def test_generator_that_others_hold_is_closed_too(app):
    """§4.2"""
    held = []

    def events():
        try:
            while True:
                yield "x", 1
        finally:
            held.append("closed")

    def export():
        held.append(events())
        return event_stream(held[0])

    body = view(app, export)(create_environ("/"), lambda status, headers: None)
    assert next(iter(body)) == b"event: x\ndata: 1\n\n"
    body.close()
    assert held[1:] == ["closed"]


def test_list_of_events_needs_no_closing(app):
    """§4.2"""
    server = Server(view(app, lambda: event_stream([("a", 1), ("b", 2)])))
    assert server.get("/").count(b"event:") == 2


class LeftClient(RequestSocket):
    """Whose client has left."""

    def is_client_gone(self):
        return True


def test_stream_looks_at_the_socket_that_was_found_at_the_door(app):
    """§4.2: whatever has become of the environ since."""

    def export():
        del request.environ[SOCKET_KEY]
        return event_stream([("a", 1)])

    environ = {**create_environ("/"), SOCKET_KEY: LeftClient()}
    body = view(app, export)(environ, lambda status, headers: None)
    assert b"".join(body) == b""
