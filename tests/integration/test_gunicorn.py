"""gunicorn as processes of its own: relays, the access log, nodes (§10.3)."""

import os
import re
import signal
import sys

import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import EventStreamClient, wait_until
from tests.integration import raw
from tests.integration.gunicorns import APP, GEVENT, LEGACY, PYWSGI, RELAY, RELAYING
from tests.integration.programs import ROOT, SECONDS

# -- relaying ------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(GEVENT, id="gevent"),
        pytest.param(PYWSGI, id="pywsgi"),
        pytest.param(RELAY, id="ours"),
        pytest.param((*GEVENT, "--preload"), id="preloaded"),
    ],
)
def test_worker_relays_both_ways_and_drains(gunicorn, arguments):
    """§10.3, §9: from the first echo to the close, with a request and its log beside."""
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


def test_our_worker_has_so_many_slots_and_relays_hold_none(gunicorn):
    """§10.3: who came first is served until it leaves."""
    served = gunicorn(*RELAY, "--worker-connections", "1", "--keep-alive", "60")
    with served.connect_ws() as relayed, raw.RawClient(served.url) as kept:
        ask(kept, "/?kept")
        with raw.RawClient(served.url) as waiting:
            waiting.send(raw.head("GET /?waiting HTTP/1.1", upgrade=None, connection=None))
            relayed.send("hello")
            assert relayed.receive() == "hello"
            ask(kept, "/?again")
            kept.close()
            assert waiting.read_answer().status == 200
    wait_until(lambda: "?waiting" in served.text, SECONDS)
    assert served.text.index("?again") < served.text.index("?waiting")


def ask(client, path):
    client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection=None))
    assert client.read_answer().status == 200


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


def test_each_worker_is_a_node_with_a_name_of_its_own(gunicorn):
    """§10.3: also when the app was loaded before they were forked."""
    served = gunicorn(*GEVENT, "--preload", "--workers", "2")
    answers = set()

    def both_answer():
        answers.add(served.get().body)
        return len(answers) == 2

    wait_until(both_answer, SECONDS)
    assert len({answer.split()[1] for answer in answers}) == 2


STREAMS = """
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
relay = GreenRelay(app)
news = []


def target():
    for message in process.inbox():
        news.append(message.topic)
        if message.topic == "sse.join":
            process.send(message.payload["client_pid"], "sse.message", "welcome")


@app.route("/sse", methods=["GET", "POST"])
def sse():
    return relay.sse(process.spawn(target))


@app.get("/news")
def told():
    return " ".join(news)
"""


@pytest.mark.usefixtures("no_socket_left", "nothing_printed")
def test_gunicorn_streams_and_notices_who_leaves(run_gunicorn, tmp_path):
    """§5.6, §10.3"""
    (tmp_path / "streams.py").write_text(STREAMS)
    served = run_gunicorn(*GEVENT, "streams:app")
    with EventStreamClient(f"{served.url}/sse", method="POST", body=b"x" * 100_000) as stream:
        assert stream.receive().data == "welcome"
        assert served.get("/news").body == b"sse.join"
    wait_until(lambda: served.get("/news").body == b"sse.join sse.leave")


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
