"""What our server promises with one worker holds with several (§3.2, §9, §10.2, §10.4)."""

import signal

import pytest

from greenrelay.testing import wait_until
from tests.integration import clustered, raw
from tests.integration.programs import SECONDS

APP = """
import os
import signal
import time
from flask import Flask, request
from greenrelay import GreenRelay, process
from greenrelay.server import RelayServer

RelayServer.__init__.__kwdefaults__["head_timeout"] = 0.5  # nobody wants to wait for 10 s
app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 3
relay = GreenRelay(app)


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(echo))


@app.get("/legacy")
def legacy():
    websocket = request.environ["wsgi.websocket"]
    websocket.send(str(os.getpid()))
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return "dropped"


@app.route("/", methods=["GET", "POST"])
def index():
    return str(os.getpid())


@app.post("/read")
def read():
    return str(len(request.get_data()))


@app.get("/secure")
def secure():
    return request.environ["wsgi.url_scheme"]


@app.get("/swallow")
def swallow():
    process.spawn(sleep_on)
    return "swallows"


def sleep_on():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})
"""


@pytest.fixture
def serve(tmp_path, monkeypatch, run_serve):
    """Run the command with two workers, which meet in the test's own folder."""
    (tmp_path / "site_app.py").write_text(APP)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))

    def start(*options):
        return run_serve("--workers", "2", "--port", "0", *options, "site_app:app")

    return start


def legacy_clients(served):
    """Return clients of views of each worker."""
    by_worker = {}

    def open_one():
        client = served.connect_ws("/legacy")
        worker = client.receive()
        if worker in by_worker:
            client.close()
        by_worker.setdefault(worker, client)
        return len(by_worker) == 2

    wait_until(open_one, SECONDS)
    return list(by_worker.values())


# -- views ---------------------------------------------------------------------


def test_a_view_of_gevent_websocket_runs_on_every_worker(serve):
    """§10.4"""
    for client in legacy_clients(serve()):
        client.send("and back")
        assert client.receive() == "and back"
        client.close()


def test_its_messages_have_to_be_masked(serve):
    """§10.4"""
    with raw.RawClient(serve().url) as client:
        client.send(raw.head("GET /legacy HTTP/1.1"))
        assert client.read_answer().status == 101
        client.read_frame()
        client.send(raw.frame(raw.TEXT, b"bare", mask=b""))
        assert client.read_close()[0] == 1002


def test_every_request_is_in_the_access_log_with_its_status(serve):
    """§10.2"""
    served = serve()
    served.connect_ws().close()
    served.get("/?no")
    wait_until(lambda: '"GET /ws HTTP/1.1" 101 ' in served.text, SECONDS)
    wait_until(lambda: '"GET /?no HTTP/1.1" 200 ' in served.text, SECONDS)


def test_workers_speak_tls(serve, certificate, trust):
    """§10.2"""
    files = ("--certfile", certificate["certfile"], "--keyfile", certificate["keyfile"])
    served = serve(*files)
    assert served.url.startswith("https://")
    with served.connect_ws(ssl_context=trust) as client:
        client.send("hello")
        assert client.receive() == "hello"
    with raw.RawClient(served.url, ssl_context=trust) as client:
        client.send(raw.head("GET /secure HTTP/1.1", upgrade=None, connection="close"))
        assert client.read_answer().body == b"https"


# -- guards --------------------------------------------------------------------

NO_HOST = raw.head("GET / HTTP/1.1", host=None, upgrade=None, connection=None)
HIDDEN = raw.head("GET /hidden HTTP/1.1", upgrade=None, connection=None)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(NO_HOST, id="no Host"),
        pytest.param(
            raw.post("/read", b"Transfer-Encoding: chunked") + b"3x\r\nabc\r\n0\r\n\r\n",
            id="a chunk's length is none",
        ),
        pytest.param(
            raw.post("/read", b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"abc",
            id="two lengths",
        ),
    ],
)
def test_malformed_requests_are_refused_with_what_is_behind_them(serve, request_bytes):
    """§3.2"""
    served = serve()
    with raw.RawClient(served.url) as client:
        client.send(request_bytes + HIDDEN)
        answers = client.read_rest()
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert "hidden" not in served.text
    assert "Traceback" not in served.text


def test_a_head_that_does_not_come_is_given_up(serve):
    """§8"""
    with raw.RawClient(serve().url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert client.read_answer().status == 408


def test_a_head_may_not_be_too_large(serve):
    """§8"""
    with raw.RawClient(serve().url) as client:
        client.send(raw.head("GET / HTTP/1.1", cookie="a" * 65_536))
        assert client.read_answer().status == 431


# -- stopping ------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_says_goodbye_to_clients_of_all_kinds(serve, number):
    """§9"""
    served = serve()
    older = legacy_clients(served)
    relayed = [served.connect_ws() for _ in range(8)]
    served.signal(number)
    assert {client.wait_closed().code for client in relayed + older} == {1012}
    for client in relayed + older:
        client.close()
    assert served.wait() == 0
    assert "Traceback" not in served.text


def test_idle_clients_do_not_hold_up_a_stop(serve):
    """§9"""
    served = serve("--drain-seconds", "60")
    with raw.RawClient(served.url) as client:
        client.send(raw.head("GET / HTTP/1.1", upgrade=None, connection=None))
        assert client.read_answer().status == 200
        served.signal(signal.SIGTERM)
        assert client.read_rest() == b""
        assert served.wait() == 0


def test_a_second_signal_ends_all_at_once(serve):
    """§9"""
    served = serve("--drain-seconds", "60")
    served.get("/swallow")
    served.signal(signal.SIGTERM)
    wait_until(lambda: "delays the stop" in served.text, SECONDS)
    served.signal(signal.SIGTERM)
    assert served.wait() == 0


def test_a_hangup_replaces_the_workers(serve):
    """§10.2"""
    served = serve()
    wait_until(lambda: len(clustered.answers(served, "/", 2)) == 2, SECONDS)
    before = clustered.answers(served, "/", 2)
    client = served.connect_ws()
    served.signal(signal.SIGHUP)
    assert client.wait_closed().code == 1012
    client.close()
    wait_until(lambda: len(clustered.worker_pids(served)) == 4, SECONDS)
    wait_until(lambda: not before & clustered.answers(served, "/", 2), SECONDS)
    served.signal(signal.SIGTERM)
    assert served.wait() == 0


def test_a_hangup_that_is_ignored_stays_ignored(serve):
    """§10.2: under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        served = serve()
    finally:
        signal.signal(signal.SIGHUP, before)
    with served.connect_ws() as client:
        served.signal(signal.SIGHUP)
        served.signal(signal.SIGTERM)
        assert client.wait_closed().code == 1012
    assert served.wait() == 0
    assert "Handling signal: hup" not in served.text
