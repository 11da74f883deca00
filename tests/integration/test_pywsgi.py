"""Apps of every kind, without greenrelay's server and without Flask (§3.2, §10.1, §10.3)."""

import json

import pytest
from flask import Flask, abort
from werkzeug.routing import Rule

from greenrelay import GreenRelay, RelayMiddleware, process
from greenrelay.testing import UpgradeRefused, leaks, wait_until
from tests.integration import raw
from tests.integration.apps import Lines, Recorder, echo, relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")


# -- apps without Flask --------------------------------------------------------


class Body:
    """A response body that knows whether it was closed."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.is_closed = False

    def __iter__(self):
        return iter(self.chunks)

    def close(self):
        self.is_closed = True


def header(target):
    """Return the response headers that relay to `target`."""
    return [("X-WS-Relay", json.dumps({"target_pid": target})), ("X-Own", "yes")]


def eager(environ, start_response):
    start_response("200 OK", header(process.spawn(echo)))
    return [b"dropped"]


def lazy(environ, start_response):
    start_response("200 OK", header(process.spawn(echo)))
    yield b"dropped"


def lazier(environ, start_response):
    yield b""
    start_response("200 OK", header(process.spawn(echo)))
    yield b"dropped"


def empty(environ, start_response):
    start_response("204 No Content", header(process.spawn(echo)))
    return
    yield


def writing(environ, start_response):
    write = start_response("200 OK", header(process.spawn(echo)))
    write(b"dropped")
    return []


@pytest.mark.parametrize("app", [eager, lazy, lazier, empty, writing])
def test_any_wsgi_app_relays(node, any_server, app):
    """§10.1"""
    server = any_server(RelayMiddleware(app, node=node))
    with server.connect_ws("/") as ws:
        assert ws.response.headers["X-Own"] == "yes"
        ws.send("hello")
        assert ws.receive() == "hello"


def late(environ, start_response):
    yield b""
    start_response("200 OK", [("X-Own", "yes")])
    yield b"or"
    yield b"dinary"


def in_pieces(environ, start_response):
    write = start_response("200 OK", [])
    write(b"or")
    return [b"din", b"ary"]


def corrected(environ, start_response):
    start_response("200 OK", header(process.spawn(echo)))
    start_response("500 Oops", [], (ValueError, ValueError(), None))
    return [b"ordinary"]


@pytest.mark.parametrize("app", [late, in_pieces, corrected])
def test_ordinary_answers_of_any_app_go_their_way(node, any_server, app):
    """§3.1"""
    server = any_server(RelayMiddleware(app, node=node))
    with raw.RawClient(server.url) as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        answer = client.read_answer()
        assert "X-WS-Relay" not in answer.headers
        assert answer.body + client.read_rest() == b"ordinary"


@pytest.mark.parametrize("relays", [True, False])
def test_body_is_closed_in_any_case(node, relay_server, relays):
    """PEP 3333"""
    body = Body(b"one", b"two")
    target = node.spawn(echo)

    def app(environ, start_response):
        start_response("200 OK", header(target) if relays else [])
        return body

    server = relay_server(RelayMiddleware(app, node=node))
    with raw.RawClient(server.url) as client:
        client.send(raw.head())
        assert client.read_answer().status == (101 if relays else 200)
        wait_until(lambda: body.is_closed)


def test_processes_of_a_view_belong_to_the_node_of_its_app(node, relay_server):
    """§10.1"""
    spawned = []

    def app(environ, start_response):
        spawned.append(process.spawn(process.inbox))
        start_response("200 OK", [])
        return []

    server = relay_server(RelayMiddleware(app, node=node))
    with raw.RawClient(server.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_answer().status == 200
    assert spawned[0].node == node.name


# -- routes --------------------------------------------------------------------


def routed_app(node):
    """Return an app with a view for WebSockets, one for others, and both for one URL."""
    app = Flask("routed")
    relay = GreenRelay(app, node=node)

    def relayed():
        return relay.websocket(process.spawn(echo))

    app.add_url_rule("/ordinary", view_func=relayed, endpoint="ordinary")
    app.url_map.add(Rule("/websocket", endpoint="websocket", websocket=True))
    app.view_functions["websocket"] = relayed
    app.add_url_rule("/both", view_func=lambda: "a page", endpoint="page")
    app.url_map.add(Rule("/both", endpoint="websocket", websocket=True))
    app.add_url_rule("/forbidden", view_func=lambda: abort(403), endpoint="forbidden")
    return app


@pytest.mark.parametrize("path", ["/ordinary", "/websocket", "/both"])
def test_upgrade_reaches_views_of_both_kinds(node, any_server, path):
    """§10.1: a WebSocket rule wins over an ordinary one."""
    server = any_server(routed_app(node))
    with server.connect_ws(path) as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_ordinary_request_reaches_the_ordinary_view(node, any_server):
    """§10.1"""
    server = any_server(routed_app(node))
    with raw.RawClient(server.url) as client:
        client.send(b"GET /both HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_answer()[::2] == (200, b"a page")


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/forbidden", 403)])
def test_upgrade_that_a_view_refuses_has_its_status(node, any_server, path, status):
    """§3.2"""
    server = any_server(routed_app(node))
    with pytest.raises(UpgradeRefused) as refused:
        server.connect_ws(path)
    assert refused.value.status == status


# -- gevent's own server -------------------------------------------------------


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade", "upgrade"])
def test_input_of_either_shape_is_taken(node, pywsgi_server, connection):
    """§10.3: pywsgi gives a raw file for some upgrades, and an `Input` around it for others."""
    server = pywsgi_server(relay_app(node, echo))
    with raw.RawClient(server.url) as client:
        client.upgrade(connection=connection, upgrade="WebSocket")
        client.send(raw.text("hello"))
        assert client.read_frame() == (raw.TEXT, b"hello")


def test_pywsgi_logs_a_refusal_with_its_status(node, pywsgi_server):
    """§10.2"""
    log = Lines()
    server = pywsgi_server(relay_app(node, echo), log=log)
    with raw.RawClient(server.url) as client:
        client.send(raw.head(sec_websocket_version="8"))
        assert client.read_answer().status == 426
        wait_until(lambda: log.lines)
    assert '"GET /ws HTTP/1.1" 426 ' in log.lines[0]


def test_relay_holds_no_greenlet_of_the_server(node, any_server):
    """§3.1: the request has ended."""
    server = any_server(relay_app(node, Recorder()))
    pool = server.server.pool
    with server.connect_ws("/ws"), server.connect_ws("/ws"):
        wait_until(lambda: pool is None or not len(pool))
        assert len([each for each in node if each.pid.host == "ws"]) == 2


def test_stopped_pywsgi_leaves_relays_open(node, pywsgi_server):
    """§10.3: its sockets are not the server's any more."""
    server = pywsgi_server(relay_app(node, echo))
    with server.connect_ws("/ws") as ws:
        server.server.stop()
        ws.send("hello")
        assert ws.receive() == "hello"
        server.stop()
        assert ws.wait_closed().code == 1012
    wait_until(lambda: not leaks(node))
