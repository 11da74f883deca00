"""How a worker of gunicorn ends: its connections are told, and do not hold it (§9)."""

import os
import signal

import gevent
import gevent.ssl
import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.gunicorn import worker_exit
from greenrelay.serving.gunicorn import drains
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.gunicorns import GEVENT, PYWSGI
from tests.integration.programs import SECONDS


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
def test_quick_end_closes_connections_as_well(gunicorn, number):
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
    with raw.RawClient(served.url) as client:  # never answers the close
        client.upgrade()
        served.get()
        wait_until(lambda: served.text.count("Booting worker") == 2, SECONDS)
        assert served.get().status == 200
    assert "WORKER TIMEOUT" not in served.text


def test_worker_that_has_served_enough_drains(gunicorn):
    """§9: recycling closes connections in good order, and another worker follows."""
    served = gunicorn(*GEVENT, "--max-requests", "3")
    with served.connect_ws() as ws:
        first = served.get().body
        served.get()
        assert ws.wait_closed().code == 1012
    wait_until(lambda: served.text.count("Booting worker") == 2, SECONDS)
    second = wait_until(lambda: served.get().body)
    assert first.split()[0] != second.split()[0]


def test_connection_that_ignores_the_close_does_not_hold_the_worker(gunicorn):
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
