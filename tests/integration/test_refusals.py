"""What a relay answers instead of a 101 (§3.1, §3.2), on our server and on gevent's own."""

import json
import logging

import pytest
from flask import Flask

from greenrelay import GreenRelay, RelayMiddleware, process
from greenrelay.testing import leaks, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

DEAD = "proc@test/AAAAAAAAAAAAAAAA"


def app_that_answers(node, relay, status=200, body="the handler's own"):
    """Return an app whose view answers with a relay header of its own making.

    Args:
        relay: the header's value; `{pid}` in it stands for a target spawned in the request.
    """
    app = Flask("answers")
    GreenRelay(app, node=node)

    @app.route("/ws", methods=["GET", "POST"])
    def ws():
        value = relay.replace("{pid}", process.spawn(Recorder())) if "{pid}" in relay else relay
        return body, status, {"X-WS-Relay": value, "X-Own": "yes"}

    return app


def ask(server, request):
    """Send a request and return the answer, after which nothing comes unannounced."""
    with raw.RawClient(server.url) as client:
        client.send(request)
        answer = client.read_answer()
        client.socket.shutdown(1)
        assert client.read_rest() == b""
    return answer


GOOD = '{"target_pid": "{pid}"}'
POST = "POST /ws HTTP/1.1"
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
REQUESTS = [
    pytest.param(raw.head(upgrade=None), 426, UPGRADE, id="no upgrade"),
    pytest.param(raw.head(connection=None), 426, UPGRADE, id="no connection header"),
    pytest.param(raw.head(connection="notupgrade"), 426, UPGRADE, id="token only in a word"),
    pytest.param(raw.head(upgrade="websocket2"), 426, UPGRADE, id="another protocol"),
    pytest.param(raw.head(POST), 405, {"Allow": "GET"}, id="POST"),
    pytest.param(raw.head("GET /ws HTTP/1.0"), 400, {}, id="HTTP/1.0"),
    pytest.param(raw.head(sec_websocket_key=None), 400, {}, id="no key"),
    pytest.param(raw.head(sec_websocket_key=[raw.KEY] * 2), 400, {}, id="two keys"),
    pytest.param(raw.head(sec_websocket_key="c2hvcnQ="), 400, {}, id="short key"),
    pytest.param(raw.head(sec_websocket_key=raw.KEY[:-2]), 400, {}, id="key without padding"),
    pytest.param(
        raw.head(sec_websocket_version=None), 426, {"Sec-WebSocket-Version": "13"}, id="no version"
    ),
    pytest.param(
        raw.head(sec_websocket_version="8"), 426, {"Sec-WebSocket-Version": "13"}, id="version 8"
    ),
    pytest.param(raw.head(host=None), 400, {}, id="no Host"),
    pytest.param(raw.head(host=["a.org", "b.org"]), 400, {}, id="two Hosts"),
    pytest.param(raw.head(content_length="4") + b"body", 400, {}, id="body"),
    pytest.param(
        raw.head(transfer_encoding="chunked") + b"4\r\nbody\r\n0\r\n\r\n", 400, {}, id="chunks"
    ),
    pytest.param(raw.head(origin="https://evil.example"), 403, {}, id="foreign origin"),
    pytest.param(raw.head(origin="null"), 403, {}, id="null origin"),
]


@pytest.mark.parametrize(("request_bytes", "status", "headers"), REQUESTS)
def test_bad_handshake_is_refused(node, any_server, caplog, request_bytes, status, headers):
    """§3.2"""
    server = any_server(app_that_answers(node, GOOD))
    answer = ask(server, request_bytes)
    assert answer.status == status
    assert headers.items() <= answer.headers.items()
    assert answer.body.count(b"\n") == 1
    assert b"handler" not in answer.body
    assert "X-WS-Relay" not in answer.headers
    assert len([record for record in caplog.records if "greenrelay" in record.name]) <= 1


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "UPGRADE,x"])
def test_tokens_are_compared_without_regard_to_case(node, any_server, connection):
    """§3.2"""
    server = any_server(app_that_answers(node, GOOD))
    with raw.RawClient(server.url) as client:
        client.upgrade(connection=connection, upgrade="WebSocket")


CONFIGURATIONS = [
    pytest.param("{", "is no JSON", id="no JSON"),
    pytest.param("", "is no JSON", id="empty"),
    pytest.param("[1]", "must be an object", id="no object"),
    pytest.param("{}", '"target_pid" is missing', id="no target"),
    pytest.param('{"target": "x"}', '"target_pid" is missing', id="another name"),
    pytest.param('{"target_pid": "room"}', "not of the form", id="no PID"),
    pytest.param('{"target_pid": 7}', "a PID is a str", id="PID is a number"),
    pytest.param('{"target_pid": "{pid}", "metadata": []}', "metadata", id="metadata"),
    pytest.param('{"target_pid": "{pid}", "message_topic": ""}', "message_topic", id="topic"),
    pytest.param('{"target_pid": "{pid}", "heartbeat_interval": "soon"}', "soon", id="duration"),
    pytest.param('{"target_pid": "{pid}", "heartbeat_interval": "-1s"}', "negative", id="negative"),
    pytest.param('{"target_pid": "{pid}", "dialect": "french"}', "raw, envelope", id="dialect"),
    pytest.param('{"target_pid": "{pid}", "color": "red"}', "unknown field 'color'", id="field"),
]


@pytest.mark.parametrize(("relay", "fault"), CONFIGURATIONS)
def test_malformed_configuration_is_the_apps_mistake(node, any_server, caplog, relay, fault):
    """§3.2: 500, and the exact fault at ERROR."""
    answer = ask(any_server(app_that_answers(node, relay)), raw.head())
    assert (answer.status, answer.body) == (500, b"invalid relay configuration\n")
    assert "X-WS-Relay" not in answer.headers
    [record] = [record for record in caplog.records if "greenrelay" in record.name]
    assert record.levelno == logging.ERROR
    assert fault in record.getMessage()


def test_dead_target_is_503(node, any_server, caplog):
    """§3.2"""
    answer = ask(any_server(app_that_answers(node, json.dumps({"target_pid": DEAD}))), raw.head())
    assert (answer.status, answer.body) == (503, b"relay target is gone\n")
    assert len([record for record in caplog.records if "greenrelay" in record.name]) <= 1


@pytest.mark.parametrize("status", [199 + 2, 301, 400, 401, 403, 404, 500, 503])
def test_handlers_own_refusal_is_passed_on(node, any_server, status):
    """§3.2: the header removed, unless the status is 2xx, where it relays."""
    server = any_server(app_that_answers(node, GOOD, status))
    with raw.RawClient(server.url) as client:
        client.send(raw.head())
        answer = client.read_answer()
    assert "X-WS-Relay" not in answer.headers
    assert answer.headers["X-Own"] == "yes"
    if status == 201:
        assert answer.status == 101
    else:
        assert (answer.status, answer.body) == (status, b"the handler's own")


def test_relay_header_of_a_request_means_nothing(node, any_server):
    """§3.1"""
    server = any_server(relay_app(node, Recorder()))
    pid = node.spawn(Recorder())
    request = raw.head("GET / HTTP/1.1", x_ws_relay=json.dumps({"target_pid": pid}))
    assert ask(server, request)[::2] == (200, b"ordinary")


def test_error_in_the_handler_is_a_500(node, relay_server):
    """§3.2"""
    app = Flask("broken")
    GreenRelay(app, node=node)
    app.logger.disabled = True

    @app.get("/ws")
    def ws():
        raise RuntimeError("on purpose")

    assert ask(relay_server(app), raw.head()).status == 500


def test_header_that_would_break_out_of_its_line_is_a_500(node, relay_server, caplog):
    """§3.3: nothing of it reaches the wire."""
    pid = node.spawn(Recorder())
    relay = json.dumps({"target_pid": pid})

    def app(environ, start_response):
        start_response("200 OK", [("X-WS-Relay", relay), ("X-Bad", "a\r\nSet-Cookie: b")])
        return []

    answer = ask(relay_server(RelayMiddleware(app, node=node)), raw.head())
    assert (answer.status, answer.body) == (500, b"invalid relay configuration\n")
    assert "'X-Bad' has a line break" in caplog.text


def test_server_without_a_way_to_its_socket_is_501(node, any_server):
    """§3.2: here a middleware has replaced the input."""
    inner = relay_app(node, Recorder())

    def app(environ, start_response):
        environ.pop("greenrelay.socket", None)
        return inner({**environ, "wsgi.input": object()}, start_response)

    answer = ask(any_server(app), raw.head())
    assert answer.status == 501
    assert b"greenrelay serve" in answer.body
    assert b"gevent.pywsgi" in answer.body
    wait_until(lambda: not leaks(node))


# -- too many (§8)


@pytest.mark.parametrize("key", ["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS"])
def test_one_connection_too_many_is_503_until_another_ends(node, any_server, key):
    """§8"""
    app = Flask("small")
    app.config[f"GREENRELAY_{key}"] = 2
    relay = GreenRelay(app, node=node)
    target = node.spawn(Recorder())
    app.add_url_rule("/ws", view_func=lambda: relay.websocket(target))
    server = any_server(app)
    with server.connect_ws("/ws") as first, server.connect_ws("/ws"):
        answer = ask(server, raw.head())
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        first.close()
        server.connect_ws("/ws").close()


# -- a target that the refused request has spawned -----------------------------


def test_orphan_of_a_refused_request_is_cancelled(node, any_server, caplog):
    """§3.2"""
    server = any_server(app_that_answers(node, GOOD))
    assert ask(server, raw.head(origin="https://evil.example")).status == 403
    wait_until(lambda: not leaks(node))


def room_app(node, room):
    """Return an app whose view spawns the room by its name, or finds it."""
    app = Flask("rooms")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(room, name="room"))

    return app


def test_room_that_others_use_survives_a_refused_request(node, relay_server, target):
    """§3.2"""
    server = relay_server(room_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert ask(server, raw.head(upgrade=None)).status == 426
        ws.send("still there")
        assert target.wait_for("ws.message") == "still there"


def test_room_that_another_request_has_spawned_survives(node, relay_server, target):
    """§3.2: though nobody is connected to it."""
    server = relay_server(room_app(node, target))
    pid = node.spawn(target, name="room")
    assert ask(server, raw.head(upgrade=None)).status == 426
    with server.connect_ws("/ws"):
        target.wait_for("ws.join")
    assert node.is_alive(pid)


def test_process_that_is_not_the_target_survives(node, relay_server):
    """§3.2"""
    other = []
    app = Flask("two")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        other.append(process.spawn(Recorder()))
        return relay.websocket(process.spawn(Recorder()))

    assert ask(relay_server(app), raw.head(upgrade=None)).status == 426
    wait_until(lambda: [entity.pid for entity in node] == other)


# -- what is no relay at all ---------------------------------------------------


def test_ordinary_responses_go_their_way(node, any_server):
    server = any_server(relay_app(node, Recorder()))
    with raw.RawClient(server.url) as client:
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_answer()[::2] == (200, b"ordinary")


def test_connection_goes_on_after_a_refusal(node, any_server):
    """§3.2: the body has the length that is announced."""
    server = any_server(relay_app(node, Recorder()))
    with raw.RawClient(server.url) as client:
        client.send(raw.head(sec_websocket_version="8"))
        assert client.read_answer().status == 426
        client.send(raw.head())
        assert client.read_answer().status == 101


def test_refusal_of_a_head_request_has_no_body(node, any_server):
    """§3.2"""
    server = any_server(app_that_answers(node, GOOD))
    with raw.RawClient(server.url) as client:
        client.send(raw.head("HEAD /ws HTTP/1.1", upgrade=None, connection="close"))
        assert client.file.readline().startswith(b"HTTP/1.1 426")
        assert client.read_rest().endswith(b"\r\n\r\n")
