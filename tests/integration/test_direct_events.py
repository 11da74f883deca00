"""`write_event()` and `event_stream()` on servers of every kind (§4)."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenrelay.testing import EventStreamClient, UpgradeRefused, wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a server may take to start on a busy machine."""

APP = """
import sys

from flask import Flask, Response, stream_with_context
from gevent import sleep

from greenrelay import ClientGone, GreenRelay, ResponseStarted, event_stream, write_event

app = Flask(__name__)
GreenRelay(app)
told = []


@app.route("/count", methods=["GET", "POST"])
def count():
    for number in range(3):
        write_event("number", {"n": number}, id=str(number))
    return "dropped", 404, {"X-Dropped": "yes"}


@app.get("/endless")
def endless():
    number = 0
    try:
        while True:
            write_event("number", number)
            number += 1
            sleep(0.01)
    except ClientGone:
        told.append("endless")
        raise


@app.get("/generated")
def generated():
    return event_stream(numbers())


def numbers():
    try:
        for number in range(100_000):
            yield "number", number
            sleep(0.01)
    finally:
        told.append("generated")


@app.get("/bad")
def bad():
    for name, data, id in [("a\\nb", 1, None), ("", 1, None), ("x", {1}, None), ("x", 1, "\\0")]:
        try:
            write_event(name, data, id=id)
        except (ValueError, TypeError) as error:
            told.append(type(error).__name__)
    return "ordinary"


@app.get("/late")
def late():
    def body():
        yield "ordinary"
        try:
            write_event("x")
        except ResponseStarted:
            yield ", still"

    return Response(stream_with_context(body()))


@app.get("/told")
def tell():
    return " ".join(told)
"""

START = """
import sys
from gevent import monkey
monkey.patch_all()
from events import app

kind = sys.argv[1]
if kind == "greenrelay":
    from greenrelay.server import RelayServer as Server
elif kind == "pywsgi":
    from gevent.pywsgi import WSGIServer as Server
else:
    from werkzeug.serving import make_server
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.port}", file=sys.stderr, flush=True)
    server.serve_forever()
server = Server(("127.0.0.1", 0), app, log=None)
server.start()
print(f"http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
server.serve_forever()
"""

GUNICORN = ["-m", "gunicorn", "-k", "gevent", "--bind", "127.0.0.1:0", "events:app"]
COMMANDS = {
    "greenrelay": ["start.py", "greenrelay"],
    "pywsgi": ["start.py", "pywsgi"],
    "werkzeug": ["start.py", "werkzeug"],
    "gunicorn": [*GUNICORN, "--graceful-timeout", "1"],
}


class Served:
    """The app on one kind of server, in a process of its own.

    Args:
        folder: where it runs.
        kind: one of `COMMANDS`.
    """

    def __init__(self, folder, kind):
        (folder / "events.py").write_text(APP)
        (folder / "start.py").write_text(START)
        self.log = folder / "log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *COMMANDS[kind]],
                cwd=folder,
                stderr=file,
                env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
            )
        wait_until(self.find_url, SECONDS)
        self.url = self.find_url()

    def find_url(self):
        match = re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text())
        return match and match[0]

    def open(self, path, method="GET", body=b""):
        return EventStreamClient(self.url + path, method=method, body=body)

    def ask(self, path):
        """Return the body of an ordinary answer."""
        with pytest.raises(UpgradeRefused) as answer:
            self.open(path)
        assert answer.value.status == 200
        return answer.value.body.decode()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()


@pytest.fixture(scope="module", params=COMMANDS)
def server(request, tmp_path_factory):
    server = Served(tmp_path_factory.mktemp(request.param), request.param)
    try:
        yield server
        # Views and generators whose client has left are no failures.
        assert "Traceback" not in server.log.read_text()
    finally:
        server.stop()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_view_writes_events(server, method):
    """§4.1: and what it returns is dropped."""
    with server.open("/count", method, b"x" * 1000 if method == "POST" else b"") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-cache"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert "X-Dropped" not in stream.headers
        assert list(stream) == [("number", f'{{"n":{n}}}', str(n), None) for n in range(3)]


def test_events_arrive_while_the_view_runs(server):
    """§4.1"""
    with server.open("/endless") as stream:
        assert [stream.receive().data for _ in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize("path", ["/endless", "/generated"])
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_ends_the_view(server, path, leave):
    """§4.1: `ClientGone`. §4.2: the generator is closed."""
    before = server.ask("/told").split().count(path[1:])
    client = raw.RawClient(server.url)
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert client.read_answer().status == 200
    getattr(client, leave)()
    wait_until(lambda: server.ask("/told").split().count(path[1:]) > before)


def test_generator_streams(server):
    """§4.2"""
    with server.open("/generated") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert [stream.receive().data for _ in range(3)] == ["0", "1", "2"]


def test_bad_events_send_nothing(server):
    """§4.1"""
    assert server.ask("/bad") == "ordinary"
    assert "ValueError ValueError TypeError ValueError" in server.ask("/told")


def test_ordinary_output_is_not_turned_into_events(server):
    """§4.1"""
    assert server.ask("/late") == "ordinary, still"


def test_head_gets_the_headers_alone(server):
    """§4.1"""
    with raw.RawClient(server.url) as client:
        client.send(b"HEAD /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
