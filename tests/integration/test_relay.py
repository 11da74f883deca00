"""A relayed WebSocket from the handshake to its target's end, over real servers (§3.1 to §3.7)."""

import pytest
from flask import Flask, session

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

# -- the order of things (§3.3) ------------------------------------------------


def test_client_talks_to_the_target(node, any_server):
    """§3.3"""
    server = any_server(relay_app(node, echo))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_join_is_the_first_and_leave_the_last_message(node, any_server, target):
    """§3.3"""
    server = any_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        ws.send("two")
    target.wait_for("ws.leave")
    assert target.topics == ["ws.join", "ws.message", "ws.message", "ws.leave"]


def test_join_names_the_client_and_its_metadata(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target, metadata={"user": 7}))
    with server.connect_ws("/ws"):
        join = target.wait_for("ws.join")
    assert join == {"client_pid": target.client, "metadata": {"user": 7}}
    assert target.messages[0].sender == target.client
    assert target.client.host == "ws"


def test_leave_says_how_the_client_closed(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target, metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        ws.close(4001, "enough")
    leave = target.wait_for("ws.leave")
    assert leave == {
        "client_pid": target.client,
        "reason": "enough",
        "code": 4001,
        "metadata": {"user": 7},
    }


def test_answer_to_the_join_comes_behind_the_101(node, any_server):
    """§3.3"""

    def greet(message):
        if message.topic == "ws.join":
            send_frame(message.sender, "welcome")

    server = any_server(relay_app(node, Recorder(greet)))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        assert client.read_frame() == (raw.TEXT, b"welcome")


EARLY = raw.text("one") + raw.text("two") + raw.text("three" * 5000)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([raw.head() + EARLY], id="one segment"),
        pytest.param([raw.head(), EARLY], id="right behind"),
        pytest.param([raw.head() + EARLY[:3], EARLY[3:]], id="cut in a frame"),
        pytest.param([raw.head()[:-2], raw.head()[-2:] + EARLY], id="cut in the head"),
    ],
)
def test_early_frames_are_not_lost(node, any_server, target, pieces):
    """§3.3: what is sent together with the handshake."""
    server = any_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.send(*pieces)
        wait_until(lambda: len(target.payloads()) == 3)
    assert target.payloads() == ["one", "two", "three" * 5000]


def test_client_that_is_gone_before_the_101_has_joined_and_left(node, any_server, target):
    """§3.3"""
    server = any_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.send(raw.head() + raw.text("last words"))
    target.wait_for("ws.leave")
    assert target.topics == ["ws.join", "ws.message", "ws.leave"]


# -- the 101 (§3.3) ------------------------------------------------------------


def app_with_headers(node, **headers):
    """Return an app whose handler sets headers on its relay response."""
    app = Flask("headers")
    app.secret_key = "for the session cookie"
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        session["user"] = 7
        response = relay.websocket(process.spawn(echo))
        response.set_cookie("seen", "yes")
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return app


def test_cookies_and_own_headers_travel_on_the_101(node, any_server):
    """§3.3"""
    server = any_server(app_with_headers(node, X_Room="7"))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade()
    assert answer.headers["X-Room"] == "7"
    assert "seen=yes" in answer.headers["Set-Cookie"]
    assert "session=" in answer.headers["Set-Cookie"]


def test_101_has_nothing_of_a_body_and_no_relay_header(node, any_server):
    """§3.1, §3.3"""
    server = any_server(app_with_headers(node, Content_Language="de", Keep_Alive="5", TE="x"))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade()
    assert set(answer.headers) == {
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Set-Cookie",
        "Vary",
    }
    assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("offered", "chosen", "expected"),
    [
        pytest.param(["chat", "v2"], "v2", "v2", id="offered"),
        pytest.param(["chat"], "v2", None, id="not offered"),
        pytest.param(None, "v2", None, id="nothing offered"),
        pytest.param(["chat"], None, None, id="none chosen"),
    ],
)
def test_subprotocol_is_one_that_the_client_offered(node, relay_server, offered, chosen, expected):
    """§3.3"""
    headers = {"Sec_WebSocket_Protocol": chosen} if chosen else {}
    server = relay_server(app_with_headers(node, **headers))
    with server.connect_ws("/ws", subprotocols=offered) as ws:
        assert ws.response.headers.get("Sec-WebSocket-Protocol") == expected


def test_upgrade_reaches_a_view_that_has_a_post_beside_it(node, relay_server):
    """§3.1: Werkzeug answers 405 when no rule of the URL has both the method and the upgrade."""
    app = relay_app(node, echo)
    app.add_url_rule("/ws", "say", lambda: "said", methods=["POST"])
    with relay_server(app).connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


# -- the target's end (§3.7) ---------------------------------------------------


def crash():
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        pytest.param(lambda: None, 1000, "target process exited", id="returns"),
        pytest.param(lambda: process.exit(), 1000, "target process exited", id="exits"),
        pytest.param(lambda: process.exit("bored"), 1011, "target process failed", id="abnormal"),
        pytest.param(crash, 1011, "target process failed", id="crashes"),
        pytest.param(
            lambda: process.terminate(process.pid()), 1011, "target process failed", id="killed"
        ),
    ],
)
def test_end_of_the_target_closes_behind_what_it_sent(node, relay_server, end, code, reason):
    """§3.7"""

    def target():
        client = process.inbox().receive().sender
        for number in range(100):
            send_frame(client, str(number))
        end()

    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert [ws.receive() for _ in range(100)] == [str(number) for number in range(100)]
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (code, reason)


def test_cancelled_target_closes(node, relay_server, target):
    """§3.7, §2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        [pid] = [entity.pid for entity in node if entity.pid != target.client]
        process.cancel(pid)
        assert ws.wait_closed().reason == "target process exited"
