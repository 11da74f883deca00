"""What a client sends can't forge a line of log, and a log's failure can't change an answer."""

import functools
import logging

import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Lines, echo

EVIL = "%0a%0dERROR%20root:%20forged%1b[31m%00%7f%c2%9b%e2%80%ae"


def site(node):
    """Return an app whose every path is a WebSocket relay, or asks for one in vain."""
    app = Flask("site")
    relay = GreenRelay(app, node=node)

    @app.get("/bad/<path:rest>")
    def bad(rest):
        return relay.websocket(process.spawn(echo), heartbeat_interval="never")

    @app.get("/<path:rest>")
    def ws(rest):
        return relay.websocket(process.spawn(echo))

    @app.post("/<path:rest>")
    def post(rest):
        return relay.sse(process.spawn(echo))

    return app


post = functools.partial(raw.post, f"/{EVIL}")


def get(target="/" + EVIL, **changes):
    return raw.head(f"GET {target} HTTP/1.1", **changes)


REQUESTS = {
    "no upgrade": get(upgrade=None),
    "a bad key": get(sec_websocket_key="\x1b[31m"),
    "a foreign origin": get(origin="https://evil.example\x1b[31m"),
    "a malformed Host": get(host="a\x1b[31m"),
    "a mistake of the app's": get("/bad/" + EVIL),
    "a line of control characters": b'\x1b[31m\0\x7f\x9b\x85 forged "\r\n\r\n',
    "eight-bit controls in the target": b"GET /\x9b31m\x85 HTTP/1.1\r\nHost: a\r\n\r\n",
    "quotes in the target": b'GET /"%20200%20- HTTP/1.1\r\nHost: a\r\n\r\n',
    "a method of its own": b"GET'X / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a version of its own": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "a body that is malformed": post(b"Transfer-Encoding: chunked") + b"\x1b[31m\r\n",
}


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS.keys())
def test_client_can_not_forge_a_line(node, any_server, caplog, request_bytes):
    """§3.2: neither in the access log nor in any other."""
    caplog.set_level(logging.DEBUG, logger="greenrelay")
    access = Lines()
    server = any_server(site(node), log=access, error_log=Lines())
    with raw.RawClient(server.url) as client:
        client.send(request_bytes)
        client.file.readline()
        wait_until(lambda: access.lines)
    ours = [record.getMessage() for record in caplog.records if "greenrelay" in record.name]
    if type(server.server).__name__ == "RelayServer":  # pywsgi's own log is its own
        ours += access.lines
        assert all(line.count('"') == 2 for line in access.lines)
    assert [line for line in ours if not line.removesuffix("\n").isprintable()] == []


class Failing(logging.Handler):
    """A handler whose destination is gone."""

    def handle(self, record):
        raise RuntimeError("nowhere to log")


@pytest.fixture
def failing():
    """Everything that anybody logs raises."""
    handler = Failing()
    logging.getLogger("greenrelay").addHandler(handler)
    logging.getLogger("greenrelay").setLevel(logging.DEBUG)
    yield handler
    logging.getLogger("greenrelay").setLevel(logging.NOTSET)
    logging.getLogger("greenrelay").removeHandler(handler)


ANSWERS = {
    "an upgrade": (get("/ws"), b"101"),
    "no upgrade": (get("/ws", upgrade=None), b"426"),
    "a foreign origin": (get("/ws", origin="https://evil.example"), b"403"),
    "a mistake of the app's": (get("/bad/ws"), b"500"),
    "a malformed head": (b"nonsense\r\n\r\n", b"400"),
    "a malformed body": (post(b"Transfer-Encoding: chunked") + b"x\r\n", b"400"),
    "a version of its own": (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"400"),
}


@pytest.mark.parametrize(("request_bytes", "status"), ANSWERS.values(), ids=ANSWERS.keys())
def test_failing_log_changes_no_answer(node, relay_server, failing, capfd, request_bytes, status):
    """§3.2: the access log's failure neither; each is told in one line."""
    server = relay_server(site(node), log=logging.getLogger("greenrelay.access"))
    with raw.RawClient(server.url) as client:
        client.send(request_bytes)
        assert client.file.readline().split()[1] == status
    wait_until(lambda: not len(server.server.pool))
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert all("a log handler failed" in line for line in errors.splitlines())


def test_failing_log_does_not_end_a_process(node, failing, capfd):
    """§2.6: its monitors hear of the crash all the same."""
    heard = []

    def watch():
        process.spawn(lambda: 1 / 0, monitor=True)
        heard.append(process.events().receive(timeout=5))

    node.spawn(watch)
    wait_until(lambda: heard)
    assert heard[0].reason == "error: ZeroDivisionError: division by zero"
    assert "Traceback" not in capfd.readouterr().err
