"""Relay headers of apps that were never wrapped stay on our server (§10.6)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from greenrelay import RelayMiddleware
from tests.integration import raw

PID = "proc@a/AAAAAAAAAAAAAAAA"
HEADERS = ["X-WS-Relay", "x-sse-relay"]


def by_hand(header: str, status: int = 200, body: str = "secret") -> Flask:
    """Return an app that sets a relay header, and knows nothing of GreenRelay."""
    app = Flask("bare")
    answer = (body, status, {header: f'{{"target_pid": "{PID}"}}', "X-Other": PID})
    app.add_url_rule("/<path:rest>", "ws", lambda rest: answer)
    app.add_url_rule("/ws", "exact", lambda: answer, websocket=True)
    app.add_url_rule("/plain", "plain", lambda: "plain")
    return app


def get(client: raw.RawClient, first: str = "GET /x HTTP/1.1", **changes: Any) -> raw.Answer:
    client.send(raw.head(first, **{"upgrade": None, "connection": None, **changes}))
    return client.read_answer()


def told(caplog: Any, level: int = logging.ERROR) -> list[str]:
    records = [record for record in caplog.records if record.name == "greenrelay.relay"]
    return [record.getMessage() for record in records if record.levelno == level]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("body", ["", "secret"])
def test_a_header_by_hand_is_a_500_of_one_line(relay_server: Any, header: str, body: str) -> None:
    """§10.6: nothing of the answer that has it goes out."""
    with raw.RawClient(relay_server(by_hand(header, body=body)).url) as client:
        answer = get(client)
    assert (answer.status, answer.body) == (500, b"invalid relay configuration\n")
    assert PID not in str(answer.headers)


def test_an_upgrade_request_is_answered_likewise(relay_server: Any) -> None:
    """§10.6"""
    with raw.RawClient(relay_server(by_hand("X-WS-Relay")).url) as client:
        answer = get(client, "GET /ws HTTP/1.1", upgrade="websocket", connection="Upgrade")
    assert (answer.status, answer.body) == (500, b"invalid relay configuration\n")
    assert PID not in str(answer.headers)


def test_such_a_connection_goes_on(relay_server: Any) -> None:
    """§10.6: what the app has answered besides is not on it, nor anything after HEAD's headers."""
    with raw.RawClient(relay_server(by_hand("X-WS-Relay")).url) as client:
        client.send(raw.head("HEAD /x HTTP/1.1", upgrade=None, connection=None))
        assert client.file.readline().split()[1] == b"500"
        while client.file.readline() != b"\r\n":
            pass
        assert get(client).status == 500
        assert get(client, "GET /plain HTTP/1.1").body == b"plain"


@pytest.mark.parametrize("status", [204, 302, 404])
def test_an_answer_that_asks_for_no_relay_loses_its_header_only(
    relay_server: Any, caplog: Any, status: int
) -> None:
    """§3.1, §10.6"""
    app = by_hand("X-WS-Relay", status, body="")
    with raw.RawClient(relay_server(app).url) as client:
        answer = get(client)
    assert answer.status == (500 if status == 204 else status)
    assert "X-WS-Relay" not in answer.headers
    assert len(told(caplog)) == 1


def late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    yield b""
    start_response("200 OK", [("X-WS-Relay", PID)])
    yield b"se"
    yield b"cret"


def writing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [("X-WS-Relay", PID)])
    write(b"se")
    write(b"cret")
    return [b"more"]


@pytest.mark.parametrize("app", [late, writing])
def test_however_an_app_answers(relay_server: Any, app: Any) -> None:
    """PEP 3333"""
    with raw.RawClient(relay_server(app).url) as client:
        answer = get(client, connection="close")
        assert (answer.status, answer.body) == (500, b"invalid relay configuration\n")
        assert client.read_rest() == b""


def test_its_operator_is_told_once_what_to_write(relay_server: Any, caplog: Any) -> None:
    """§10.6: the others are at INFO, and the client's path is quoted."""
    caplog.set_level(logging.INFO)
    with raw.RawClient(relay_server(by_hand("X-WS-Relay")).url) as client:
        for _ in range(3):
            get(client, "GET /%0a%1b HTTP/1.1")
    [line] = told(caplog)
    assert line.startswith("'/\\n\\x1b': X-WS-Relay ")
    for word in ("GreenRelay(app)", "relay.init_app(app)", "RelayMiddleware(app)"):
        assert word in line
    assert line.isprintable()
    assert PID not in caplog.text
    assert len(told(caplog, logging.INFO)) == 2


def test_a_wrapped_app_is_told_nothing(relay_server: Any, node: Any, caplog: Any) -> None:
    """§6.1: where no relay is switched on its own middleware has dropped the header."""
    routers = [{"prefix": "/sse", "post_middleware": ["sse_relay"]}]
    app = RelayMiddleware(by_hand("X-WS-Relay"), node=node, routers=routers)
    with raw.RawClient(relay_server(app).url) as client:
        assert get(client).status == 200
    assert ["is ignored" in line for line in told(caplog)] == [True]
