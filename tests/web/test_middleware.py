"""The WSGI middleware, without a server (§3.1 to §3.3)."""

import base64
import contextlib
import json
import socket
import sys

import gevent
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from greenrelay.process import current_node, spawn
from greenrelay.relay.config import Limits
from greenrelay.testing import wait_until
from greenrelay.web.middleware import RelayMiddleware
from greenrelay.web.quota import Quota
from greenrelay.web.servers import SOCKET_KEY
from greenrelay.web.taking import RequestSocket, Taken

KEY = base64.b64encode(b"0123456789abcdef").decode()


class FakeSocket(RequestSocket):
    """Hands a connection over.

    Args:
        taken: the connection.
    """

    can_take = True

    def __init__(self, taken):
        self.taken = taken

    def take(self, status):
        return self.taken


class Server:
    """Calls an app as a server would; its client's end is `client`.

    Args:
        app: any WSGI app.
        early: what the client has sent behind its request.
    """

    def __init__(self, app, early=b"", **taken):
        self.app = app
        self.sock, self.client = socket.socketpair()
        for sock in (self.sock, self.client):
            sock.setblocking(False)
        self.taken = Taken(self.sock, early, **taken)
        self.status = self.headers = self.exc_info = None
        self.written = b""

    def start_response(self, status, headers, exc_info=None):
        self.status, self.headers, self.exc_info = status, dict(headers), exc_info
        return self.write

    def write(self, data):
        self.written += data

    def request(self, **changes):
        """Return the body of the answer to an upgrade request."""
        environ = {
            "REQUEST_METHOD": "GET",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "PATH_INFO": "/ws",
            "REMOTE_ADDR": "192.0.2.1",
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "example.org",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_KEY": KEY,
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            SOCKET_KEY: FakeSocket(self.taken),
        }
        return self.app({**environ, **changes}, self.start_response)

    def read(self):
        """Return what the client has got so far."""
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self):
        self.sock.close()
        self.client.close()


@pytest.fixture
def serve(node):
    """Return a server for an app behind the middleware."""
    servers = []

    def serve(app, early=b"", must_wait=False, must_stop=False, **options):
        middleware = RelayMiddleware(app, node=node, **options)
        servers.append(Server(middleware, early, must_wait=must_wait, must_stop=must_stop))
        return servers[-1]

    yield serve
    for entity in node:
        entity.kill("killed")
    for server in servers:
        server.close()


class View:
    """An app that answers with a relay header.

    Args:
        target: PID of the target.
        fields: further fields of the header.
    """

    def __init__(self, target, status="200 OK", **fields):
        self.relay = json.dumps({"target_pid": target, **fields})
        self.status = status
        self.is_closed = False

    def __call__(self, environ, start_response):
        start_response(self.status, [("X-WS-Relay", self.relay), ("X-Own", "yes")])
        return self

    def __iter__(self):
        return iter([b"its own"])

    def close(self):
        self.is_closed = True


# -- what is passed on ---------------------------------------------------------


def test_ordinary_answer_is_passed_on_untouched(serve):
    def app(environ, start_response):
        start_response("418 Teapot", [("X-Own", "yes")])
        return [b"short", b" and stout"]

    server = serve(app)
    assert server.request() == [b"short", b" and stout"]
    assert (server.status, server.headers) == ("418 Teapot", {"X-Own": "yes"})


def test_write_callable_is_passed_on(serve):
    def app(environ, start_response):
        start_response("200 OK", [])(b"written")
        return []

    server = serve(app)
    server.request()
    assert server.written == b"written"


def test_exception_information_is_passed_on(serve):
    """PEP 3333"""

    def app(environ, start_response):
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())
        return []

    server = serve(app)
    server.request()
    assert server.exc_info[0] is ValueError


def test_error_of_the_app_is_the_servers_affair(serve):
    with pytest.raises(ZeroDivisionError):
        serve(lambda environ, start_response: 1 / 0).request()


@pytest.mark.parametrize("status", ["100 Continue", "301 Moved", "404 Not Found", "500 Oops"])
def test_relay_header_of_another_status_is_removed(serve, recorder, status):
    """§3.2"""
    view = View(recorder.pid, status)
    server = serve(view)
    assert list(server.request()) == [b"its own"]
    assert server.headers == {"X-Own": "yes"}
    assert recorder.messages == []


@pytest.mark.parametrize("name", ["X-WS-Relay", "x-ws-relay", "X-Ws-RELAY"])
def test_header_is_known_in_any_case(serve, recorder, name):
    """§3.1"""
    relay = json.dumps({"target_pid": recorder.pid})

    def app(environ, start_response):
        start_response("200 OK", [(name, relay)])
        return []

    serve(app).request()
    assert recorder.topics == ["ws.join"]


def test_lazy_app_is_asked_for_no_more_than_it_needs(serve):
    """So that a stream of its own begins when it does."""
    asked = []

    def app(environ, start_response):
        start_response("200 OK", [])
        for number in range(3):
            asked.append(number)
            yield b"%d" % number

    body = serve(app).request()
    assert asked == [0]
    assert b"".join(body) == b"012"


# -- what is relayed -----------------------------------------------------------


def test_request_ends_before_the_101_is_sent(serve, recorder):
    """§3.1, §3.3: join, then the end of the request, then the 101."""
    server = serve(View(recorder.pid))
    assert list(server.request()) == []
    assert recorder.topics == ["ws.join"]
    assert server.status is None
    assert server.read() == b""
    gevent.sleep(0)
    assert server.read().startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


def test_body_of_the_app_is_dropped_and_closed(serve, recorder):
    """PEP 3333"""
    view = View(recorder.pid)
    serve(view).request()
    assert view.is_closed


def test_early_bytes_come_behind_the_join(serve, recorder):
    """§3.3"""
    server = serve(View(recorder.pid), early=b"\x81\x82\0\0\0\0hi")
    server.request()
    wait_until(lambda: recorder.topics == ["ws.join", "ws.message"])


def test_tls_elsewhere_holds_the_request_until_the_end(serve, recorder, node):
    """§10.3: an SSL socket can't be detached."""
    server = serve(View(recorder.pid), must_wait=True)
    request = gevent.spawn(server.request)
    wait_until(lambda: server.read())
    assert not request.ready()
    node.terminate(recorder.messages[0].sender)
    request.join(5)
    assert request.ready()


def test_gunicorn_is_told_to_stop(serve, recorder):
    """§10.3"""
    server = serve(View(recorder.pid), must_stop=True)
    with pytest.raises(StopIteration):
        server.request()
    assert recorder.topics == ["ws.join"]


def test_limits_hold_where_the_header_says_nothing(serve, recorder, node):
    """§8"""
    server = serve(View(recorder.pid), limits=Limits(max_rate=7.0, dialect="envelope"))
    server.request()
    config = node.find(recorder.messages[0].sender).config
    assert (config.max_rate, config.dialect) == (7.0, "envelope")


def test_header_overrides_the_limits(serve, recorder, node):
    """§3.1, §8"""
    serve(View(recorder.pid, max_rate=9), limits=Limits(max_rate=7.0)).request()
    assert node.find(recorder.messages[0].sender).config.max_rate == 9.0


# -- what is refused -----------------------------------------------------------


def test_foreign_origin_is_refused_with_the_fix_in_the_log(serve, recorder, caplog):
    """§6.2"""
    server = serve(View(recorder.pid))
    assert list(server.request(HTTP_ORIGIN="https://evil.example")) == [b"origin not allowed\n"]
    assert server.status == "403 Forbidden"
    assert "'https://evil.example' is not allowed" in caplog.text
    assert "GREENRELAY_TRUSTED_PROXIES" in caplog.text


def test_listed_origin_is_let_in(serve, recorder):
    """§6.2"""
    server = serve(View(recorder.pid), origins="https://*.example.net")
    server.request(HTTP_ORIGIN="https://app.example.net")
    assert recorder.topics == ["ws.join"]


def test_trusted_proxy_says_which_site_this_is(serve, recorder):
    """§6.2"""
    server = serve(View(recorder.pid), trusted_proxies="192.0.2.0/24")
    forwarded = {"HTTP_X_FORWARDED_HOST": "site.example", "HTTP_X_FORWARDED_PROTO": "https"}
    server.request(HTTP_ORIGIN="https://site.example", **forwarded)
    assert recorder.topics == ["ws.join"]


def test_proxy_fix_inside_says_who_asks_and_for_which_site(serve, recorder):
    """§6.2, §8: it writes so into the environ, when the app is called."""
    app = ProxyFix(View(recorder.pid), x_host=1)
    server = serve(app, quota=Quota(per_address=1))
    forwarded = {
        "HTTP_ORIGIN": "https://site.example",
        "HTTP_X_FORWARDED_HOST": "site.example",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    }
    assert list(server.request(**forwarded)) == []
    assert recorder.topics == ["ws.join"]
    assert list(server.request(**forwarded)) == [b"this address has too many connections\n"]
    with contextlib.closing(Server(server.app)) as other:
        assert list(other.request(**{**forwarded, "HTTP_X_FORWARDED_FOR": "203.0.113.8"})) == []


def test_refused_body_is_closed_as_well(serve, recorder):
    """PEP 3333"""
    view = View(recorder.pid)
    serve(view).request(HTTP_UPGRADE="h2c")
    assert view.is_closed


def test_draining_node_takes_no_relays(serve, recorder, node):
    """§9"""
    node.is_draining = True
    server = serve(View(recorder.pid))
    assert list(server.request()) == [b"server is stopping\n"]
    assert server.status == "503 Service Unavailable"
    node.is_draining = False


def test_target_that_this_request_has_not_spawned_survives(serve, recorder, node):
    """§3.2"""
    serve(View(recorder.pid)).request(HTTP_UPGRADE="h2c")
    assert node.is_alive(recorder.pid)


def test_orphan_is_asked_to_end(serve, node):
    """§3.2"""
    spawned = []

    def app(environ, start_response):
        spawned.append(spawn(gevent.sleep, 60))
        return View(spawned[0])(environ, start_response)

    serve(app).request(HTTP_UPGRADE="h2c")
    assert node.find(spawned[0]).mailbox.is_closed


# -- whose node ----------------------------------------------------------------


def test_app_means_the_middlewares_node(serve, node):
    """§10.1"""
    seen = []

    def app(environ, start_response):
        seen.append(current_node())
        start_response("200 OK", [])
        return []

    serve(app).request()
    assert seen == [node]
