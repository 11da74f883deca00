"""An event loop in a thread of its own, and what a test calls there."""

import threading

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from greenrelay.testing.loopthread import LoopThread, ThreadEnded
from tests.testing.sample_app import make_app, presence


@pytest.mark.parametrize("own_thread", [True, False])
def test_run_calls_on_the_servers_node(relay_server, own_thread):
    server = relay_server(make_app(), own_thread=own_thread)
    assert server.run(process.current_node) is server.node
    pid = server.run(process.spawn, presence)
    assert server.run(process.call, pid, "who") == pid
    assert server.run(process.info, pid)["mailbox"] == 0


def test_run_raises_what_the_function_does(relay_server):
    server = relay_server(make_app())
    with pytest.raises(KeyError, match="nowhere"):
        server.run({}.__getitem__, "nowhere")
    with pytest.raises(TimeoutError, match=r"longer than 0\.02 s"):
        server.run(gevent.sleep, 30, timeout=0.02)


def test_a_call_that_waits_hears_that_its_thread_has_ended():
    thread = LoopThread("test")
    errors = []

    def wait():
        try:
            thread.run(gevent.sleep, 60)
        except ThreadEnded as error:
            errors.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_until(lambda: thread.run(lambda: thread.count_calls()) == 2)
    thread.end()
    waiter.join(5)
    assert len(errors) == 1
    thread.end()
