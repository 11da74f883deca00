"""A test may block its thread beside a server of its own, and tests never meet (§2.11, §10.8)."""

import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import gevent
import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from greenrelay import GreenRelay, Node, RelayMiddleware, process
from greenrelay.testing import leaks, serving, wait_until
from greenrelay.testing.loopthread import ThreadEnded
from greenrelay.testing.rescue import Rescue
from tests.integration.apps import echo, open_sockets, relay_app
from tests.testing.sample_app import make_app, presence

# -- a thread of its own -------------------------------------------------------------------


def read(url):
    """Ask as a client does that knows nothing of gevent."""
    return urllib.request.urlopen(url, timeout=5).read()


def test_a_client_that_blocks_the_tests_thread_is_answered(relay_server):
    """§10.8."""
    assert read(relay_server(make_app()).url) == b"hello"


def test_it_is_answered_beside_an_open_websocket(relay_server):
    """§10.8."""
    server = relay_server(make_app())
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        assert read(server.url) == b"hello"
        assert ws.receive() == "one"


def test_an_app_with_a_node_that_nobody_uses_yet_blocks_nobody(relay_server):
    """§10.8: also in a node that the app was given."""
    node = Node("given")
    server = relay_server(make_app(node=node))
    assert read(server.url) == b"hello"
    assert server.node is node


def test_any_wsgi_app_blocks_nobody(relay_server):
    """§10.8."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"plain"]

    assert read(relay_server(app).url) == b"plain"


def test_views_errors_are_answers(relay_server):
    server = relay_server(make_app())
    assert server.get("/boom").status_code == 500
    assert server.get("/").text == "hello"


def test_a_view_that_ends_the_interpreter_ends_the_test_and_not_in_silence(relay_server):
    with pytest.raises(SystemExit) as ended, serving() as start:
        server = start(make_app())
        with pytest.raises((OSError, TimeoutError)):
            urllib.request.urlopen(server.url + "/exit", timeout=0.5)
        wait_until(lambda: server.thread.error)
        with pytest.raises(ThreadEnded):
            server.run(process.current_node)
    assert ended.value.code == 3


def test_nothing_is_left_when_the_block_ends(relay_server):
    sockets, threads = open_sockets(), threading.active_count()
    with serving() as start:
        server = start(make_app())
        ws = server.connect_ws("/ws")
        wait_until(lambda: len(server.node) == 2)
    assert ws.wait_closed().code == 1012
    ws.close()
    assert leaks(server.node) == []
    assert threading.active_count() == threads
    wait_until(lambda: open_sockets() <= sockets)


def test_processes_that_clean_up_have_the_time_to(relay_server):
    cleaned = []

    def slow():
        try:
            process.inbox().receive()
        finally:
            gevent.sleep(0.05)
            cleaned.append(True)

    with serving() as start:
        server = start(make_app())
        server.run(process.spawn, slow)
        wait_until(lambda: len(server.node) == 1)
        server.run(gevent.sleep, 0)
    assert cleaned == [True]


def test_an_app_is_served_again_after_another_thread_has_ended():
    """Its timers are not those of a loop that is gone."""
    app = make_app()
    for _ in range(3):
        with serving() as start, start(app).connect_ws("/ws") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"


def test_one_app_may_have_two_servers(relay_server):
    app = make_app()
    first, second = relay_server(app), relay_server(app)
    assert first.node is second.node
    for server in (first, second):
        assert read(server.url) == b"hello"


def test_a_view_may_need_the_tests_own_thread(relay_server):
    server = relay_server(make_app(), own_thread=False)
    assert server.thread is None
    assert server.get("/").text == "hello"


@pytest.mark.parametrize("options", [{}, {"node": Node("given")}], ids=["shared", "given"])
def test_what_a_view_may_call_a_test_may_too(relay_server, options):
    """§2.9, §10.8: without `run()`."""
    server = relay_server(make_app(**options))
    with server.connect_ws("/ws") as ws:
        wait_until(lambda: len(server.node) == 2)
        client = next(entity.pid for entity in server.node if entity.pid.host == "ws")
        with process.on_node(server.node):
            pid = process.spawn(presence, name="presence")
            assert process.call("presence", "who") == pid
            assert process.send(client, "said", "from the test")
            assert ws.receive_json() == {"topic": "said", "data": "from the test"}
            process.terminate(pid)
            wait_until(lambda: not process.is_alive(pid))


# -- nodes of their own ----------------------------------------------------------------------


def test_two_servers_of_a_test_are_not_said_to_share_a_node(relay_server, caplog):
    """§2.11, §10.6: each of them has its own."""
    apps = [Flask(name) for name in "ab"]
    first, second = (relay_server((GreenRelay(app), app)[1]) for app in apps)
    assert first.node is not second.node
    assert not [record for record in caplog.records if "share one node" in record.getMessage()]


def test_two_servers_of_a_test_do_not_share_a_named_process(relay_server):
    """§2.11."""
    first, second = relay_server(make_app()), relay_server(make_app())
    assert first.get("/presence").json != second.get("/presence").json
    assert first.get("/presence").json == first.get("/presence").json
    assert first.node.name != second.node.name


def test_plain_code_of_a_test_means_the_server_started_last(relay_server):
    """§2.11."""
    before = process.current_node()
    for _ in range(2):
        server = relay_server(make_app())
        assert process.current_node() is server.node is not before


def test_an_app_made_after_a_server_has_a_node_of_its_own_too(relay_server):
    """§2.11."""
    first = relay_server(make_app())
    first.get("/presence")
    assert relay_server(make_app()).node is not first.node


def test_everything_is_as_before_behind_the_block():
    """§2.11."""
    app, before = make_app(), process.current_node()
    with serving() as start:
        start(app)
        assert app.extensions["greenrelay"].node is not before
    assert app.extensions["greenrelay"].node is before
    assert process.current_node() is process.default_node() is before


def test_processes_of_the_apps_own_making_are_found(relay_server):
    """§2.11: started in the test's thread, so the server stays in it."""
    app = make_app()
    pid = process.spawn(presence, name="presence")
    server = relay_server(app)
    assert server.get("/presence").json == pid
    assert server.thread is None


def test_what_a_test_has_spawned_ends_with_it():
    """§2.11: also where no server was asked for."""
    with serving():
        node, pid = process.current_node(), process.spawn(presence, name="presence")
    assert not node.is_alive(pid)


def test_an_app_behind_other_middleware_has_a_node_of_its_own(relay_server):
    """§2.11."""
    app = make_app()
    server = relay_server(ProxyFix(app))
    server.get("/presence")
    assert server.node.registry.lookup("presence")
    assert server.node is app.extensions["greenrelay"].node


def test_an_app_that_hides_its_middleware_is_drained_all_the_same(relay_server):
    """§2.11."""
    app = RelayMiddleware(make_app())
    server = relay_server(lambda environ, start_response: app(environ, start_response))
    assert server.get("/").text == "hello"
    assert server.node is app.node


def test_the_name_in_the_apps_configuration_stays(relay_server):
    app = Flask("named")
    app.config["GREENRELAY_NODE"] = "web7"
    GreenRelay(app)
    assert relay_server(app).node.name == "web7"


# -- where server and test share a thread ------------------------------------------------------


def test_a_client_that_blocks_the_servers_own_thread_is_told_so(node):
    """§10.8: no deadlock, but an answer that names the ways out."""
    with serving() as start:
        server = start(relay_app(node, echo))
        assert server.thread is None
        server._rescue.end()
        server._rescue = Rescue(server.server.socket, server.server.loop, patience=0.3)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url, timeout=30)
    assert refused.value.code == 503
    assert "shares the thread of the test" in refused.value.read().decode()


def test_a_client_that_lets_the_server_run_is_never_answered_by_others(node):
    with serving() as start:
        server = start(relay_app(node, echo))
        server._rescue.end()
        server._rescue = Rescue(server.server.socket, server.server.loop, patience=0.3)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert server.get("/").text == "ordinary"


UNPATCHED = "import urllib.request\n"
PATCHED = "from gevent import monkey\nmonkey.patch_all()\nimport urllib.request\n"
TESTS = """
import pytest, threading, time
from flask import Flask
from greenrelay import GreenRelay, process
from greenrelay.testing import leaks, wait_until

@pytest.fixture
def server(relay_server):
    app = Flask("app")
    relay = GreenRelay(app)
    @app.get("/")
    def index():
        return "hello"
    @app.get("/boom")
    def boom():
        return 1 / 0
    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(echo, name="echo"))
    return relay_server(app)

def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "said", message.payload)
        elif message.topic == "ws.leave":
            return

def test_urlopen(server):
    assert urllib.request.urlopen(server.url, timeout=10).read() == b"hello"
    with pytest.raises(urllib.request.HTTPError) as refused:
        urllib.request.urlopen(server.url + "/boom", timeout=10)
    assert refused.value.code == 500

@pytest.mark.parametrize("again", [1, 2])
def test_websocket(server, again):
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert urllib.request.urlopen(server.url, timeout=10).read() == b"hello"
        assert ws.receive_json() == {"topic": "said", "data": "hello"}
        assert server.get("/").text == "hello"
    wait_until(lambda: not leaks(server.node))

def test_threads(server):
    seen = []
    def visit():
        seen.append(urllib.request.urlopen(server.url, timeout=10).read())
    threads = [threading.Thread(target=visit) for _ in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert seen == [b"hello"] * 5

def test_left_open(server):
    server.connect_ws("/ws")
"""


@pytest.mark.parametrize("head", [UNPATCHED, PATCHED], ids=["unpatched", "patched"])
def test_patching_makes_no_difference_to_a_test(tmp_path, head):
    """§10.8: in an interpreter of its own, away from this project's fixtures."""
    (tmp_path / "conftest.py").write_text(head)
    (tmp_path / "test_it.py").write_text(head + TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
