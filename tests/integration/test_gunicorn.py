"""gunicorn as processes of its own: relays, the access log, and how a worker ends (§10.3, §9)."""

import os
import re
import resource
import signal
import sys
from pathlib import Path

import gevent
import gevent.event
import gevent.ssl
import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.gunicorn import worker_exit
from greenrelay.serving.gunicorn import drains
from greenrelay.testing import WebSocketClient, wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a start or an end may take on a busy machine."""
LISTENING = re.compile(r"Listening at: (https?://\S+)")

APP = """
import os
import time
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 3
relay = GreenRelay(app)


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(echo))


@app.route("/events", methods=["GET", "POST"])
def events():
    return relay.sse(process.spawn(greet))


@app.get("/")
def index():
    return f"{os.getpid()} {relay.node.name}"


@app.get("/slow")
def slow():
    print("slow begins", flush=True)
    time.sleep(2)
    return "done"


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})


def greet():
    for message in process.inbox():
        if message.topic == "sse.join":
            process.send(message.sender, "sse.message", "hello")
"""


class Gunicorn:
    """A gunicorn that runs.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of the command.
    """

    def __init__(self, folder, *arguments):
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
                stdout=output,
                stderr=output,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)),
            )

    @property
    def text(self):
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def url(self):
        """Its address, once a worker accepts."""
        wait_until(
            lambda: "Booting worker" in self.text or self.process.poll() is not None, SECONDS
        )
        assert self.process.poll() is None, self.text
        return LISTENING.findall(self.text)[-1]

    def connect_ws(self, **options):
        return WebSocketClient(self.url.replace("http", "ws", 1) + "/ws", **options)

    def get(self, path="/"):
        """Return the answer to an ordinary request."""
        with raw.RawClient(self.url) as client:
            client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
            return client.read_answer()

    def open_stream(self):
        """Return a client whose event stream is open."""
        client = raw.RawClient(self.url)
        client.send(raw.head("GET /events HTTP/1.1", upgrade=None, connection=None))
        assert client.read_answer().status == 200
        return client

    def stop(self, number=signal.SIGTERM):
        """Ask it to end, and return the exit code."""
        self.process.send_signal(number)
        wait_until(lambda: self.process.poll() is not None, SECONDS)
        return self.process.returncode

    def kill(self):
        """End it and its workers, which end when their parent has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


RELAYING = ("-c", "python:greenrelay.gunicorn", "--access-logfile", "-")
GEVENT = ("-k", "gevent", *RELAYING)
PYWSGI = ("-k", "gunicorn.workers.ggevent.GeventPyWSGIWorker", *RELAYING)
LEGACY = ("-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker", *RELAYING)


@pytest.fixture
def gunicorn(tmp_path):
    """Run gunicorn with the arguments given."""
    (tmp_path / "site_app.py").write_text(APP)
    running = []

    def start(*arguments, app="site_app:app"):
        running.append(Gunicorn(tmp_path, *arguments, app))
        return running[-1]

    yield start
    for served in running:
        served.kill()


# -- relaying ------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(GEVENT, id="gevent"),
        pytest.param(PYWSGI, id="pywsgi"),
        pytest.param((*GEVENT, "--preload"), id="preloaded"),
    ],
)
def test_worker_relays_both_ways_and_drains(gunicorn, arguments):
    """§10.3, §9: from the first echo to the goodbye, with a request and its log beside."""
    served = gunicorn(*arguments)
    with served.connect_ws() as ws, served.open_stream() as stream:
        ws.send("hello")
        assert ws.receive() == "hello"
        assert stream.file.readline() == b"event: sse.message\n"
        assert served.get().status == 200
        served.process.send_signal(signal.SIGTERM)
        assert ws.wait_closed().code == 1012
        assert b'event: done\ndata: {"reason":"shutdown"}\n\n' in stream.read_rest()
    assert served.stop() == 0
    assert '"GET /ws HTTP/1.1" 101 ' in served.text
    assert '"GET /events HTTP/1.1" 200 ' in served.text
    assert "Traceback" not in served.text


def test_worker_of_gevent_websocket_relays_and_drains(gunicorn):
    """§10.3, §10.4: it logs no WebSockets, as it never did."""
    served = gunicorn(*LEGACY)
    with served.connect_ws() as ws, served.open_stream() as stream:
        ws.send("hello")
        assert ws.receive() == "hello"
        served.process.send_signal(signal.SIGTERM)
        assert ws.wait_closed().code == 1012
        assert b"event: done" in stream.read_rest()
    assert served.stop() == 0
    assert "Traceback" not in served.text


@pytest.mark.parametrize("arguments", [GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
def test_frames_in_the_segment_of_the_handshake_are_not_lost(gunicorn, arguments):
    """§3.3"""
    served = gunicorn(*arguments)
    with raw.RawClient(served.url) as client:
        client.send(raw.head() + raw.text("early") + raw.text("too"))
        assert client.read_answer().status == 101
        assert [client.read_frame(), client.read_frame()] == [
            (raw.TEXT, b"early"),
            (raw.TEXT, b"too"),
        ]


@pytest.mark.parametrize("arguments", [GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({"content_length": "4"}, b"body", id="with a length"),
        pytest.param({"transfer_encoding": "chunked"}, b"4\r\nbody\r\n0\r\n\r\n", id="chunked"),
    ],
)
def test_post_with_a_body_opens_an_event_stream(gunicorn, arguments, headers, body):
    """§5.1: any method that the route allows."""
    served = gunicorn(*arguments)
    with raw.RawClient(served.url) as client:
        request = raw.head("POST /events HTTP/1.1", upgrade=None, connection=None, **headers)
        client.send(request + body)
        assert client.read_answer().status == 200
        assert client.file.readline() == b"event: sse.message\n"


@pytest.mark.parametrize("arguments", [GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
def test_a_body_that_breaks_off_costs_no_traceback(gunicorn, arguments):
    """§3.2: nobody is there to be answered."""
    served = gunicorn(*arguments)
    with raw.RawClient(served.url) as client:
        client.send(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert served.get().status == 200
    assert served.stop() == 0
    assert "Traceback" not in served.text


def test_relays_hold_none_of_the_workers_slots(gunicorn):
    """§10.3: 2,000 sockets on a worker that may have 50 requests at once."""
    served = gunicorn(*GEVENT, "--worker-connections", "50")
    served.url  # noqa: B018  # waits
    clients = [raw.RawClient(served.url) for _ in range(2000)]
    for client in clients:
        client.upgrade()
    assert served.get().status == 200
    for client in (clients[0], clients[999], clients[-1]):
        client.send(raw.text("still there"))
        assert client.read_frame() == (raw.TEXT, b"still there")
    served.process.send_signal(signal.SIGTERM)
    assert {client.read_close() for client in clients} == {(1012, "shutdown")}
    for client in clients:
        client.close()


def test_client_that_resets_in_its_handshake_costs_nothing(gunicorn):
    """§3.3"""
    served = gunicorn(*GEVENT)
    for size in (10, 60, len(raw.head())):
        with raw.RawClient(served.url) as client:
            client.send(raw.head()[:size])
            client.reset()
    with served.connect_ws() as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert "Traceback" not in served.text


# -- the end of a worker -------------------------------------------------------


@pytest.mark.parametrize("arguments", [GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
def test_drain_does_not_wait_for_a_request_under_way(gunicorn, arguments):
    """§9: the time-out of both is the same, and each has all of it."""
    served = gunicorn(*arguments)
    answers = []
    asking = gevent.spawn(lambda: answers.append(served.get("/slow").body))
    with served.connect_ws() as ws:
        wait_until(lambda: "slow begins" in served.text)
        served.process.send_signal(signal.SIGTERM)
        assert ws.wait_closed().code == 1012
        assert not asking.ready()
    asking.join(SECONDS)
    assert answers == [b"done"]
    assert served.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_end_says_goodbye_as_well(gunicorn, number):
    """§9"""
    served = gunicorn(*GEVENT)
    with served.connect_ws() as ws:
        served.process.send_signal(number)
        assert ws.wait_closed().code == 1012
    assert served.stop(number) == 0


def test_tls_relays_and_drains(gunicorn, tmp_path):
    """§9: such a connection does hold a slot, and must not hold up the end."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out cert"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    served = gunicorn(*GEVENT, "--certfile", "cert", "--keyfile", "key")
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(tmp_path / "cert")
    with served.connect_ws(ssl_context=context) as ws:
        ws.send("hello" * 10_000)
        assert ws.receive() == "hello" * 10_000
        served.process.send_signal(signal.SIGTERM)
        assert ws.wait_closed().code == 1012
    assert served.stop() == 0
    assert "Worker graceful timeout" not in served.text


def test_worker_is_not_taken_for_hung_while_it_drains(gunicorn):
    """§9: it tells gunicorn nothing then, and would be aborted after its time-out."""
    served = gunicorn(*GEVENT, "--max-requests", "2", "--timeout", "3", "--preload")
    with raw.RawClient(served.url) as client:  # never answers the goodbye
        client.upgrade()
        served.get()
        wait_until(lambda: served.text.count("Booting worker") == 2, SECONDS)
        assert served.get().status == 200
    assert "WORKER TIMEOUT" not in served.text


def test_worker_that_has_served_enough_drains(gunicorn):
    """§9: recycling ends connections with a goodbye, and another worker follows."""
    served = gunicorn(*GEVENT, "--max-requests", "3")
    with served.connect_ws() as ws:
        first = served.get().body
        served.get()
        assert ws.wait_closed().code == 1012
    wait_until(lambda: served.text.count("Booting worker") == 2, SECONDS)
    second = wait_until(lambda: served.get().body)
    assert first.split()[0] != second.split()[0]


def test_connection_that_ignores_the_goodbye_does_not_hold_the_worker(gunicorn):
    """§9: not longer than the drain time, which ends before the graceful time-out."""
    served = gunicorn(*GEVENT, "--graceful-timeout", "3")
    with raw.RawClient(served.url) as client:
        client.upgrade()
        assert served.stop() == 0
        assert client.read_close() == (1012, "shutdown")
    assert "SIGKILL" not in served.text


class Worker:
    """As much of gunicorn's as `worker_exit` looks at."""

    def __init__(self, pid):
        self.pid = pid
        self.alive = True


def test_hook_that_the_arbiter_calls_for_a_dead_worker_does_nothing():
    """Not in its process: the next workers would be forked from a node that drains."""
    for pid, is_left_alone in ((os.getppid(), True), (os.getpid(), False)):
        draining = gevent.spawn(lambda: None)
        worker = Worker(pid)
        drains[worker] = draining
        worker_exit(None, worker)
        assert worker.alive is is_left_alone
        draining.join()


def test_each_worker_is_a_node_with_a_name_of_its_own(gunicorn):
    """§10.3: also when the app was loaded before they were forked."""
    served = gunicorn(*GEVENT, "--preload", "--workers", "2")
    answers = set()

    def both_answer():
        answers.add(served.get().body)
        return len(answers) == 2

    wait_until(both_answer, SECONDS)
    assert len({answer.split()[1] for answer in answers}) == 2


# -- servers whose sockets can't be taken --------------------------------------


@pytest.mark.parametrize("worker", ["sync", "gthread"])
@pytest.mark.parametrize("path", ["/ws", "/events"])
def test_worker_without_gevent_names_those_that_work(gunicorn, worker, path):
    """§3.2, §10.3: 501"""
    served = gunicorn("-k", worker, *RELAYING)
    with raw.RawClient(served.url) as client:
        client.send(raw.head(f"GET {path} HTTP/1.1"))
        answer = client.read_answer()
    assert answer.status == 501
    assert b"greenrelay serve, gunicorn -k gevent, or gevent.pywsgi" in answer.body
    assert served.stop() == 0


def test_flasks_development_server_is_refused(tmp_path):
    """§3.2, §10.3: 501"""
    (tmp_path / "site_app.py").write_text(APP)
    with (tmp_path / "output").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "site_app", "run", "--port", "0"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        running = re.compile(r"Running on (http://\S+)")
        url = wait_until(lambda: running.findall((tmp_path / "output").read_text()), SECONDS)[0]
        with raw.RawClient(url) as client:
            client.send(raw.head(connection="Upgrade, close"))
            answer = client.read_answer()
        assert (answer.status, b"gunicorn -k gevent" in answer.body) == (501, True)
    finally:
        server.terminate()
        server.wait()
