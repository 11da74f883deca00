"""Routers over a real server, from each place they can be given in (§6.1, §6.2)."""

import json

import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.errors import ConfigurationError
from greenrelay.testing import UpgradeRefused
from greenrelay.web.middleware import RelayMiddleware
from tests.integration import raw
from tests.integration.apps import echo

pytestmark = pytest.mark.usefixtures("no_socket_left")

FOREIGN = "https://evil.example"
LISTED = "https://app.example.com"


def entry(prefix="/ws", *middleware, **options):
    """Return a router's entry; options in snake case."""
    values = {name.replace("_", "."): value for name, value in options.items()}
    return {
        "name": f"router of {prefix}",
        "prefix": prefix,
        "post_middleware": list(middleware or ["websocket_relay"]),
        "post_options": values,
    }


class Site:
    """An app whose every path answers with the relay header that the query names."""

    def __init__(self, node, *routers, **config):
        self.calls = []
        self.app = Flask("routed")
        self.app.config["GREENRELAY_ROUTERS"] = list(routers)
        self.app.config.update(config)
        self.relay = GreenRelay(self.app, node=node)
        self.app.add_url_rule("/<kind>/<path:rest>", view_func=self.answer)

    def answer(self, kind, rest):
        self.calls.append(rest)
        if kind == "plain":
            return "ordinary"
        target = process.spawn(echo)
        fields = {"max_message_size": 5} if rest == "small" else {}
        return self.relay.websocket(target, **fields) if kind == "ws" else self.relay.sse(target)


def ask(server, path, **headers):
    """Return the answer to a request that is no upgrade."""
    with raw.RawClient(server.url) as client:
        headers = {"upgrade": None, "connection": "close", **headers}
        client.send(raw.head(f"GET {path} HTTP/1.1", **headers))
        return client.read_answer()


# -- where routers come from ---------------------------------------------------


def test_routers_of_a_file_named_in_the_configuration(node, relay_server, tmp_path):
    """§6.1, §10.1"""
    path = tmp_path / "routers.yaml"
    path.write_text(json.dumps([entry("/ws", wsrelay_max_message_size=3)]))  # JSON is YAML
    site = Site(node, GREENRELAY_ROUTERS=str(path))
    with relay_server(site.app).connect_ws("/ws/room") as ws:
        ws.send("four")
        assert ws.wait_closed().code == 1009


def test_mistake_in_a_router_ends_the_start(node):
    """§6.1"""
    with pytest.raises(ConfigurationError, match="router of /ws.*did you mean 'sse_relay'"):
        Site(node, entry("/ws", "sserelay"))


def test_any_wsgi_app_may_have_routers(node, relay_server):
    """§10.1"""

    def app(environ, start_response):
        target = json.dumps({"target_pid": process.spawn(echo)})
        start_response("200 OK", [("X-WS-Relay", target)])
        return [b"never seen"]

    server = relay_server(RelayMiddleware(app, node=node, routers=[entry("/ws")]))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert ask(server, "/other").status == 200


# -- what a router switches on and off -----------------------------------------


@pytest.mark.parametrize(
    ("path", "middleware"),
    [
        pytest.param("/sse/x", "websocket_relay", id="no router matches"),
        pytest.param("/ws/x", "sse_relay", id="the other relay is on"),
    ],
)
def test_relay_that_is_off_is_an_ordinary_answer(node, relay_server, caplog, path, middleware):
    """§6.1: without the header, and with a line in the log."""
    site = Site(node, entry("/ws", middleware))
    answer = ask(relay_server(site.app), path)
    assert answer.status == 200
    assert not {name for name in answer.headers if "relay" in name.lower()}
    assert "no router switches this relay on" in caplog.text


def test_ordinary_views_under_a_prefix_with_both_relays_work(node, relay_server):
    """§6.1: only an upgrade is known to be meant for a relay before the handler has run."""
    site = Site(node, entry("/", "websocket_relay", "sse_relay"))
    server = relay_server(site.app)
    assert ask(server, "/plain/x").body == b"ordinary"
    assert ask(server, "/plain/x", origin=FOREIGN).body == b"ordinary"


@pytest.mark.parametrize("middleware", ["websocket_relay", "sse_relay"])
def test_a_relay_for_the_whole_site_leaves_its_pages_alone(node, relay_server, middleware):
    """§6.1: under "/", a request that is no upgrade is an ordinary one until its answer."""
    server = relay_server(Site(node, entry("/", middleware)).app)
    assert ask(server, "/plain/x").body == b"ordinary"
    assert ask(server, "/plain/x", origin=FOREIGN).body == b"ordinary"


def test_both_relays_work_under_one_prefix(node, relay_server):
    """§6.1"""
    server = relay_server(Site(node, entry("/", "websocket_relay", "sse_relay")).app)
    with server.connect_ws("/ws/x") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET /sse/x HTTP/1.1", upgrade=None, connection=None))
        assert client.read_answer().headers["Content-Type"].startswith("text/event-stream")


def test_longest_prefix_has_its_own_limits(node, relay_server):
    """§6.1"""
    inner, outer = entry("/ws/in", wsrelay_max_rate=1), entry("/ws", wsrelay_max_message_size=9)
    server = relay_server(Site(node, outer, inner).app)
    with server.connect_ws("/ws/in/x") as ws:
        ws.send("longer than nine")
        assert ws.receive() == "longer than nine"
        ws.send("one too many")
        assert ws.wait_closed().code == 1008


def test_header_overrides_the_routers_limits(node, relay_server):
    """§8: router option → header field."""
    server = relay_server(Site(node, entry("/ws", wsrelay_max_message_size=20)).app)
    with server.connect_ws("/ws/small") as ws:
        ws.send("123456")
        assert ws.wait_closed().code == 1009
    with server.connect_ws("/ws/other") as ws:
        ws.send("123456")
        assert ws.receive() == "123456"


# -- before the handler runs ---------------------------------------------------

ONE = ["websocket_relay"]
BOTH = ["websocket_relay", "sse_relay"]
REFUSED_FIRST = [
    pytest.param(ONE, {"upgrade": None}, 426, id="no upgrade"),
    pytest.param(ONE, {"origin": FOREIGN}, 403, id="origin"),
    pytest.param(ONE, {"sec_websocket_key": "short"}, 400, id="key"),
    pytest.param(BOTH, {"sec_websocket_key": "short"}, 400, id="key, both relays"),
    pytest.param(BOTH, {"sec_websocket_version": "8"}, 426, id="version, both relays"),
    pytest.param(BOTH, {"origin": FOREIGN}, 403, id="origin, both relays"),
    pytest.param(["sse_relay"], {"upgrade": None, "origin": FOREIGN}, 403, id="origin of a stream"),
]


@pytest.mark.parametrize(("middleware", "headers", "status"), REFUSED_FIRST)
def test_handshake_and_origin_are_checked_before_the_handler_runs(
    node, relay_server, middleware, headers, status
):
    """§3.2, §6.1"""
    site = Site(node, entry("/ws", *middleware))
    with raw.RawClient(relay_server(site.app).url) as client:
        client.send(raw.head("GET /ws/x HTTP/1.1", **headers))
        assert client.read_answer().status == status
    assert site.calls == []


@pytest.mark.parametrize("slashes", ["/", "//", "///"])
def test_a_router_guards_its_prefix_however_many_slashes_lead(node, relay_server, slashes):
    """§6.2: Werkzeug routes "//ws/x" as "/ws/x", and so must the origin rule."""
    open_to_all = {**entry("/", **{"wsrelay_allowed_origins": "*"}), "name": "all"}
    server = relay_server(Site(node, open_to_all, entry("/ws")).app)
    with pytest.raises(UpgradeRefused, match="403"):
        server.connect_ws(f"{slashes}ws/x", origin=FOREIGN)


def test_origins_of_each_relay_are_checked_for_its_own_requests(node, relay_server):
    """§6.2: under a prefix with both, an upgrade is judged by the WebSocket's origins."""
    options = {"wsrelay_allowed_origins": LISTED, "sserelay_allowed_origins": FOREIGN}
    site = Site(node, entry("/", *BOTH, **options))
    server = relay_server(site.app)
    with server.connect_ws("/ws/x", origin=LISTED):
        pass
    with pytest.raises(UpgradeRefused, match="403"):
        server.connect_ws("/ws/x", origin=FOREIGN)
    assert ask(server, "/sse/x", origin=LISTED).status == 403
    assert site.calls == ["x", "x"]


def test_without_a_router_the_handler_runs_first(node, relay_server):
    """§3.2: only its answer says that a relay is meant."""
    site = Site(node)
    with pytest.raises(UpgradeRefused, match="403"):
        relay_server(site.app).connect_ws("/ws/x", origin=FOREIGN)
    assert site.calls == ["x"]


# -- origins (§6.2) ------------------------------------------------------------

ORIGINS = [
    pytest.param(None, True, id="no browser"),
    pytest.param("http://example.org", True, id="same"),
    pytest.param("HTTP://Example.ORG:80", True, id="same, written otherwise"),
    pytest.param("https://example.org", False, id="another scheme"),
    pytest.param("http://example.org:8080", False, id="another port"),
    pytest.param(LISTED, True, id="listed"),
    pytest.param("https://app.example.com.evil.example", False, id="longer than the listed"),
    pytest.param("https://a.b.wild.example", True, id="wildcard"),
    pytest.param("https://wild.example", False, id="bare domain of the wildcard"),
    pytest.param("https://evilwild.example", False, id="no label before it"),
    pytest.param("null", False, id="null"),
    pytest.param("", False, id="empty"),
]


@pytest.mark.parametrize(("origin", "is_allowed"), ORIGINS)
def test_foreign_page_needs_a_pattern(node, any_server, origin, is_allowed):
    """§6.2"""
    patterns = f"{LISTED},https://*.wild.example"
    server = any_server(Site(node, entry("/ws", wsrelay_allowed_origins=patterns)).app)
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET /ws/x HTTP/1.1", origin=origin))
        answer = client.read_answer()
    assert answer.status == (101 if is_allowed else 403)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_trusted_proxy_holds_under_routers_too(node, relay_server):
    """§6.2"""
    proxied = {"origin": "https://shop.example", "x_forwarded_proto": "https"}
    headers = {**proxied, "x_forwarded_host": "shop.example"}
    trusting = {"GREENRELAY_TRUSTED_PROXIES": "127.0.0.1"}
    for config, status in (({}, 403), (trusting, 101)):
        site = Site(node, entry("/ws"), **config)
        with raw.RawClient(relay_server(site.app).url) as client:
            client.send(raw.head("GET /ws/x HTTP/1.1", **headers))
            assert client.read_answer().status == status


def test_refusal_is_one_line_that_names_both_origins_in_the_log(node, relay_server, caplog):
    """§3.2"""
    server = relay_server(Site(node, entry("/ws")).app)
    with pytest.raises(UpgradeRefused) as refused:
        server.connect_ws("/ws/x", origin=FOREIGN)
    assert refused.value.body == b"origin not allowed\n"
    [record] = caplog.records
    assert FOREIGN in record.getMessage()
    assert "http://127.0.0.1:" in record.getMessage()
