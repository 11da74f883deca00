"""What asks for a relayed event stream, and how it is answered (§3.2, §5.1, §6.2)."""

import pytest
from flask import Flask, request, session

from greenrelay import GreenRelay, process
from greenrelay.testing import UpgradeRefused, leaks, wait_until
from tests.integration import raw
from tests.integration.streams import detached, get, stream_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

# -- request and response (§5.1) -----------------------------------------------


def test_head_of_the_response(node, any_server, recorder):
    """§4.1, §5.1"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-cache"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "x-sse-relay" not in stream.headers
        assert "content-length" not in stream.headers


def test_own_headers_of_the_handler_win(node, any_server):
    """§5.1"""
    app = stream_app(node)

    @app.after_request
    def add_headers(response):
        session["user"] = 7
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Own"] = "yes"
        response.headers["Content-Language"] = "de"
        return response

    with any_server(app).connect_sse("/sse") as stream:
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Own"] == "yes"
        assert stream.headers["Set-Cookie"].startswith("session=")
        assert "Content-Language" not in stream.headers


def test_relay_header_is_removed_from_every_response(node, any_server):
    """§3.1: also where it asks for nothing."""
    app = Flask("failing")
    GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: ("no", 404, {"X-SSE-Relay": "{}"}))
    with pytest.raises(UpgradeRefused) as refused:
        any_server(app).connect_sse("/sse")
    assert (refused.value.status, refused.value.body) == (404, b"no")
    assert "X-SSE-Relay" not in refused.value.headers


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_any_method_of_the_route_may_have_a_body(node, any_server, method):
    """§5.1: the view reads it, or nobody does."""
    app = stream_app(node)
    read = []
    app.before_request(lambda: read.append(request.get_data()))
    server = any_server(app)
    with server.connect_sse("/sse", method=method, body=b"x" * 100_000) as stream:
        process.send(detached(stream), "sse.message", "hello")
        assert stream.receive().data == "hello"
    assert read == [b"x" * 100_000]


def test_body_that_nobody_reads_is_no_nuisance(node, any_server):
    """§5.1"""
    with any_server(stream_app(node)).connect_sse("/sse", method="POST", body=b"x" * 9) as stream:
        process.send(detached(stream), "sse.close")
        assert stream.receive().event == "done"


def test_head_request_gets_the_headers_alone(node, any_server, recorder):
    """§5.1: and its target is not left behind."""
    server = any_server(stream_app(node, recorder))
    with raw.RawClient(server.url) as client:
        client.send(get(first="HEAD {} HTTP/1.1"))
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    wait_until(lambda: not leaks(node))
    assert recorder.messages == []


def test_client_of_an_older_http_gets_events(node, any_server, recorder):
    """§5.1: the end of the connection is the end of the body."""
    server = any_server(stream_app(node, recorder))
    with raw.RawClient(server.url) as client:
        client.send(get(first="GET {} HTTP/1.0"))
        assert "Transfer-Encoding" not in client.read_answer().headers
        recorder.send("hello")
        recorder.send("", "sse.close")
        assert client.read_rest().startswith(b"event: sse.message\ndata: hello\n\nevent: done\n")


def test_event_stream_over_tls(node, any_server, recorder, tls, trust):
    """§10.2"""
    server = any_server(stream_app(node, recorder), **tls)
    with server.connect_sse("/sse", ssl_context=trust) as stream:
        recorder.send("x" * 100_000)
        assert stream.receive().data == "x" * 100_000
    assert recorder.wait_for("sse.leave")["reason"] == "connection_lost"


# -- origins (§6.2) ------------------------------------------------------------

ORIGINS = {"GREENRELAY_ALLOWED_ORIGINS": "https://app.example.com"}


def app_with_origins(node, **settings):
    """Return an app that other origins than its own may talk to."""
    app = Flask("origins")
    app.config.update(settings)
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: relay.sse())
    return app


def test_listed_origin_may_read_the_stream_with_its_cookies(node, any_server):
    """§6.2"""
    server = any_server(app_with_origins(node, **ORIGINS))
    with server.connect_sse("/sse", origin="https://app.example.com") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert stream.headers["Access-Control-Allow-Credentials"] == "true"
        assert stream.headers["Vary"] == "Origin"


def test_any_origin_may_read_the_stream_without_cookies(node, any_server):
    """§6.2"""
    server = any_server(app_with_origins(node, GREENRELAY_ALLOWED_ORIGINS="*"))
    with server.connect_sse("/sse", origin="https://evil.example") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://evil.example"
        assert "Access-Control-Allow-Credentials" not in stream.headers


@pytest.mark.parametrize("origin", [None, "same"])
def test_own_origin_needs_no_permission(node, any_server, origin):
    """§6.2"""
    server = any_server(app_with_origins(node))
    with server.connect_sse("/sse", origin=origin and server.url) as stream:
        assert "Access-Control-Allow-Origin" not in stream.headers


def test_own_permission_of_the_handler_wins(node, any_server):
    """§6.2: and what else its answer depends on is not forgotten."""
    app = app_with_origins(node, **ORIGINS)

    @app.after_request
    def permit(response):
        response.headers["Access-Control-Allow-Origin"] = "https://own.example"
        response.headers["Vary"] = "Cookie"
        return response

    with any_server(app).connect_sse("/sse", origin="https://app.example.com") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://own.example"
        assert "Access-Control-Allow-Credentials" not in stream.headers
        assert stream.headers.get_all("Vary") == ["Origin", "Cookie"]


# -- refusals (§3.2) -----------------------------------------------------------


def header_app(node, value):
    """Return an app that answers with a relay header set by hand."""
    app = Flask("by hand")
    GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: ("", {"X-SSE-Relay": value}))
    return app


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"target_pid": "x"}', id="no PID"),
        pytest.param('{"colour": "red"}', id="unknown field"),
        pytest.param('{"dialect": "raw"}', id="field of the other relay"),
        pytest.param('{"heartbeat_interval": "soon"}', id="no duration"),
        pytest.param('{"idle_timeout": "-1s"}', id="negative duration"),
        pytest.param('{"metadata": 7}', id="no metadata"),
    ],
)
def test_malformed_configuration_is_refused(node, any_server, caplog, value):
    """§3.2"""
    with pytest.raises(UpgradeRefused) as refused:
        any_server(header_app(node, value)).connect_sse("/sse")
    assert refused.value.status == 500
    assert refused.value.body == b"invalid relay configuration\n"
    assert "X-SSE-Relay" in caplog.text


def test_dead_target_is_refused(node, any_server):
    """§3.2"""
    dead = node.make_pid("proc")
    with pytest.raises(UpgradeRefused) as refused:
        any_server(stream_app(node, dead)).connect_sse("/sse")
    assert (refused.value.status, refused.value.body) == (503, b"relay target is gone\n")


def test_foreign_origin_is_refused_and_its_target_cancelled(node, any_server, recorder):
    """§3.2, §6.2"""
    with pytest.raises(UpgradeRefused) as refused:
        any_server(stream_app(node, recorder)).connect_sse("/sse", origin="https://evil.example")
    assert (refused.value.status, refused.value.body) == (403, b"origin not allowed\n")
    wait_until(lambda: not leaks(node))


@pytest.mark.parametrize(("retry", "line"), [({}, b""), ({"retry": "2s"}, b"retry: 2000\n")])
def test_stopping_server_answers_with_a_stream_that_has_ended(node, any_server, retry, line):
    """§9, §3.2: after any other answer a browser would stay away for good."""
    server = any_server(stream_app(node, **retry))
    node.is_draining = True
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET /sse HTTP/1.1", upgrade=None, connection=None))
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert answer.body == b"event: done\n" + line + b'data: {"reason":"shutdown"}\n\n'
    wait_until(lambda: not leaks(node))


def test_server_whose_sockets_stay_its_own_is_refused(node):
    """§3.2"""
    response = stream_app(node).test_client().get("/sse")
    assert response.status_code == 501
    assert "greenrelay serve" in response.text
