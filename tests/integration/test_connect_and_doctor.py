"""`greenrelay connect` and `greenrelay doctor`, as a person runs them (§10.2)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent.subprocess
import pytest
from flask import Flask

from greenrelay import GreenRelay, process, write_event
from greenrelay.processes.node import Node


def run(*args: str, stdin: str = "", cwd: Path | None = None) -> Any:
    command = [sys.executable, "-m", "greenrelay", *args]
    root = Path(__file__).parents[2]
    return gevent.subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        cwd=cwd or root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
    )


def echo() -> None:
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})
            if message.payload == "enough":
                process.send(message.sender, "ws.close", {"code": 4000, "reason": "as you wish"})
        elif message.topic == "ws.leave":
            return


@pytest.fixture
def url(node: Node, relay_server: Any) -> str:
    app = Flask("connect")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws() -> Any:
        return relay.websocket(process.spawn(echo))

    @app.get("/events")
    def events() -> str:
        write_event("progress", {"percent": 50})
        write_event("progress", {"percent": 100})
        return ""

    return str(relay_server(app).url)


def test_connect_sends_lines_and_prints_messages(url: str) -> None:
    done = run("connect", url.replace("http", "ws") + "/ws", stdin="hello\nenough\n")
    assert done.stdout.splitlines() == ["hello", "enough"]
    assert done.stderr.strip() in ("closed: 4000 as you wish", "closed: 1000")


def test_connect_prints_an_event_stream(url: str) -> None:
    done = run("connect", url + "/events")
    assert 'event: progress\ndata: {"percent":50}\n\n' in done.stdout
    assert (done.returncode, done.stderr.strip()) == (0, "closed")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        pytest.param("ws{}/nothing", "refused: 404", id="no such view"),
        pytest.param("http{}/ws", "refused: 426", id="a WebSocket asked for events"),
        pytest.param("ftp{}/ws", "is no ws://", id="another scheme"),
    ],
)
def test_connect_says_in_one_line_why_not(url: str, target: str, text: str) -> None:
    done = run("connect", target.format(url.removeprefix("http")))
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_connect_names_the_origin_that_is_refused(url: str) -> None:
    done = run("connect", url.replace("http", "ws") + "/ws", "--origin", "https://evil.example")
    assert "refused: 403 origin not allowed" in done.stderr


def write_app(folder: Path, text: str) -> None:
    (folder / "shop.py").write_text("from flask import Flask\napp = Flask('shop')\n" + text)


def test_doctor_finds_nothing_serious_in_the_example() -> None:
    done = run("doctor", "app_example.app:app")
    assert done.returncode == 0
    assert "SERIOUS" not in done.stdout


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        pytest.param("", "the app has no relay", id="no GreenRelay"),
        pytest.param(
            "from greenrelay import GreenRelay\nGreenRelay(app)\n"
            "from werkzeug.middleware.proxy_fix import ProxyFix\n"
            "app.wsgi_app = ProxyFix(app.wsgi_app)\n",
            "ProxyFix is wrapped around the relay",
            id="not outermost",
        ),
        pytest.param(
            "import sys, types\nsys.modules['MySQLdb'] = types.ModuleType('MySQLdb')\n"
            "from greenrelay import GreenRelay\nGreenRelay(app)\n",
            "MySQLdb waits in C",
            id="blocking driver",
        ),
    ],
)
def test_doctor_finds_what_would_bite(tmp_path: Path, text: str, finding: str) -> None:
    write_app(tmp_path, text)
    done = run("doctor", "shop:app", cwd=tmp_path)
    assert done.returncode == 1
    assert f"SERIOUS  {finding}" in done.stdout


def test_doctor_says_in_one_line_that_an_app_cannot_be_imported(tmp_path: Path) -> None:
    done = run("doctor", "nowhere:app", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
