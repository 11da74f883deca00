"""Plain requests to a server under test, and to none: Flask's test client (§10.8)."""

import gevent
import pytest
from flask import Flask, request, session

from greenrelay import GreenRelay, process
from greenrelay.testing import UpgradeRefused
from tests.integration.apps import echo, relay_app
from tests.testing.sample_app import make_app


@pytest.mark.parametrize("own_thread", [True, False])
def test_get_and_post_answer_as_flasks_test_client_does(relay_server, own_thread):
    """§10.8."""
    app = make_app()

    @app.post("/echo/<word>")
    def post(word):
        found = {"args": request.args, "form": request.form}
        return {"word": word, **found, "json": request.get_json(silent=True)}

    server = relay_server(app, own_thread=own_thread)
    assert server.get("/nowhere").status_code == 404
    form = server.post("/echo/ä%23b c?x=1", data={"name": "Ada & Bob"})
    assert form.json["form"] == {"name": "Ada & Bob"}
    assert (form.json["word"], form.json["args"]) == ("ä#b c", {"x": "1"})
    answer = server.post("/echo/t", json={"a": [1]}, query_string={"y": "ü"})
    assert answer.json == {"word": "t", "args": {"y": "ü"}, "form": {}, "json": {"a": [1]}}
    assert answer.headers["Content-Type"] == "application/json"


def test_a_session_keeps_its_cookies(relay_server):
    """§10.8."""
    server = relay_server(make_app())
    visitor, other = server.session(), server.session()
    assert [visitor.post("/visits").json["count"] for _ in range(3)] == [1, 2, 3]
    assert other.get("/visits").json == {"count": 1}
    assert server.get("/visits").json == server.get("/visits").json == {"count": 1}


def test_a_session_opens_connections_with_its_cookies(relay_server):
    """§10.8."""
    app = make_app()

    @app.get("/mine")
    def mine():
        return ("", 200 if session.get("count") else 401)

    visitor = relay_server(app).session()
    for is_known, status in ((False, 401), (True, 200)):
        if is_known:
            visitor.post("/visits")
        for connect in (visitor.connect_ws, visitor.connect_sse):
            with pytest.raises(UpgradeRefused) as refused:
                connect("/mine")
            assert refused.value.status == status


def test_a_response_that_does_not_come_is_a_timeout(relay_server):
    """§10.8."""
    app = make_app()
    app.add_url_rule("/slow", view_func=lambda: gevent.sleep(30) or "late")
    visitor = relay_server(app).session(timeout=0.05)
    with pytest.raises(TimeoutError, match=r"GET /slow: no whole response in 0\.05 s"):
        visitor.get("/slow")


# -- Flask's test client -------------------------------------------------------------------------


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "x" * 22 + "==",
    "Sec-WebSocket-Version": "13",
}


@pytest.mark.parametrize(
    ("kind", "headers", "status", "connect"),
    [
        ("websocket", {}, 426, "connect_ws"),
        ("websocket", UPGRADE, 501, "connect_ws"),
        ("sse", {}, 501, "connect_sse"),
    ],
)
def test_a_test_client_is_told_how_a_relay_is_tested(node, kind, headers, status, connect):
    """§10.8."""
    app = Flask("tested")
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/relay", view_func=lambda: getattr(relay, kind)(process.spawn(echo)))
    answer = app.test_client().get("/relay", headers=headers)
    assert answer.status_code == status
    assert f"relay_server(app).{connect}('/relay')" in answer.text
    assert answer.text.count("\n") == 1


def test_a_test_client_is_told_other_refusals_as_they_are(node):
    app = relay_app(node, "nobody")
    assert app.test_client().get("/ws").text == "invalid relay configuration\n"
