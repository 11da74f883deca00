"""How workers of gunicorn stop and are replaced, and what several of them mean (§9, §10.3)."""

import signal

import gevent
import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import UpgradeRefused, wait_until
from tests.integration import raw
from tests.integration.gunicorns import APP, GEVENT, PYWSGI, RELAY
from tests.integration.programs import SECONDS

MORE = """
app.config["GREENRELAY_DRAIN_SECONDS"] = 3


@app.get("/late")
def late():
    print("late begins", flush=True)
    time.sleep(1.5)
    return relay.sse(process.spawn(greet))


def spin():
    while True:
        pass


def swallow():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


@app.get("/start/<name>")
def start(name):
    return process.spawn(globals()[name])
"""

WORKERS = pytest.mark.parametrize(
    "arguments", [GEVENT, PYWSGI, RELAY], ids=["gevent", "pywsgi", "ours"]
)


@pytest.fixture
def gunicorn_app():
    return APP + MORE


# -- a new worker --------------------------------------------------------------


def statuses_until(served, is_over):
    """Open relays, one after the other, until a condition is true; return their statuses."""
    found = []
    while not is_over():
        with raw.RawClient(served.url) as client:
            client.send(raw.head("GET /events HTTP/1.1", upgrade=None, connection=None))
            found.append(client.read_answer().status)
        try:
            served.connect_ws().close()
            found.append(101)
        except UpgradeRefused as refused:
            found.append(refused.status)
        gevent.sleep(0.01)
    return found


@WORKERS
def test_nobody_is_refused_while_workers_are_replaced(gunicorn, arguments):
    """§9: a worker that drains leaves new clients to the others."""
    served = gunicorn(*arguments)
    assert served.get().status == 200
    served.process.send_signal(signal.SIGHUP)
    found = statuses_until(served, lambda: "Worker exiting" in served.text)
    assert set(found) == {200, 101}
    assert len(found) > 3
    assert "server is stopping" not in served.text


@WORKERS
def test_stream_that_comes_too_late_has_ended(gunicorn, arguments):
    """§9: with the answer after which a browser asks again."""
    served = gunicorn(*arguments)
    assert served.get().status == 200
    with raw.RawClient(served.url) as client:
        client.send(raw.head("GET /late HTTP/1.1", upgrade=None, connection=None))
        wait_until(lambda: "late begins" in served.text, SECONDS)
        served.process.send_signal(signal.SIGTERM)
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        assert b'event: done\ndata: {"reason":"shutdown"}\n\n' in client.read_rest()
    assert served.stop() == 0


# -- signals -------------------------------------------------------------------


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
@pytest.mark.parametrize("name", ["spin", "swallow"])
def test_second_signal_ends_gunicorn_at_once(gunicorn, name, second):
    """§9: whatever user code does; the graceful time-out would be a minute."""
    served = gunicorn(*GEVENT, "--graceful-timeout", "60", "--timeout", "120")
    served.get(f"/start/{name}")
    served.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        served.process.wait(0.5)
    served.process.send_signal(second)
    assert served.process.wait(SECONDS) == 0


def test_first_ctrl_c_is_no_second_signal(gunicorn):
    """§9: a worker gets its SIGINT from the terminal, and SIGQUIT from gunicorn."""
    served = gunicorn(*GEVENT)
    worker = int(served.get().body.split()[0])
    with served.connect_ws() as ws:
        subprocess.run(["kill", "-INT", str(worker), str(served.process.pid)], check=True)
        assert ws.wait_closed().code == 1012
    assert served.stop(signal.SIGINT) == 0


def test_process_that_lets_nobody_run_is_named(gunicorn):
    """§9"""
    served = gunicorn(*GEVENT)
    pid = served.get("/start/spin").body.decode()
    served.process.send_signal(signal.SIGTERM)
    wait_until(lambda: f"process {pid} delays the stop, in site_app:spin" in served.text, SECONDS)


# -- several workers -----------------------------------------------------------

TOLD = "this server has several workers, and each is a node by itself"


def test_several_workers_are_told_once_what_that_means(gunicorn, monkeypatch):
    """§10.3: where they are no cluster; by the first of them, and not by those that replace it."""
    monkeypatch.setenv("GREENRELAY_CLUSTER", "")
    served = gunicorn(*GEVENT, "--workers", "2")
    wait_until(lambda: TOLD in served.text, SECONDS)
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: served.text.count("Booting worker") == 4, SECONDS)
    for _ in range(4):
        served.connect_ws().close()
    assert served.text.count(TOLD) == 1


def test_several_workers_without_our_hooks_say_so_at_the_first_relay(gunicorn):
    """§10.3"""
    served = gunicorn("-k", "gevent", "--workers", "2", "--graceful-timeout", "1")
    served.url  # noqa: B018  # waits
    assert TOLD not in served.text
    for _ in range(5):
        served.connect_ws().close()
    assert served.text.count(TOLD) in (1, 2)


def test_one_worker_is_told_nothing(gunicorn):
    """§10.3"""
    served = gunicorn(*GEVENT)
    served.connect_ws().close()
    assert TOLD not in served.text
