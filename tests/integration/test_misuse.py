"""What a view's mistakes, and clients that leave in the middle, leave behind: nothing (§3.2)."""

import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.testing import UpgradeRefused, leaks, wait_until
from tests.integration import raw
from tests.sample_processes import idle


@pytest.fixture
def app(node):
    app = Flask("misuse")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(idle), heartbeat_interval="-5s")

    @app.route("/sse", methods=["POST"])
    def sse():
        return relay.sse(process.spawn(idle))

    return app


def test_a_field_that_is_none_is_the_apps_mistake(app, relay_server, caplog):
    """§3.2: the helper answers as the header set by hand does."""
    with pytest.raises(UpgradeRefused) as refused:
        relay_server(app).connect_ws("/ws")
    assert (refused.value.status, refused.value.body) == (500, b"invalid relay configuration\n")
    assert "'heartbeat_interval': a duration can't be negative" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


def test_the_target_of_such_a_view_is_cancelled(app, relay_server, node):
    with pytest.raises(UpgradeRefused):
        relay_server(app).connect_ws("/ws")
    wait_until(lambda: not leaks(node))


def test_a_body_that_breaks_off_leaves_nothing(app, relay_server, node, caplog, capfd):
    server = relay_server(app)
    with raw.RawClient(server.url) as client:
        client.send(b"POST /sse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    wait_until(lambda: "left in the middle" in caplog.text)
    wait_until(lambda: not leaks(node))
    assert "Traceback" not in capfd.readouterr().err
