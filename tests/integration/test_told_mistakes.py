"""Mistakes are told where they are made, once, with what to write (§10.6, §2.11)."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import gevent.subprocess
import pytest
from flask import Flask

from greenrelay import ConfigurationError, GreenRelay, RelayMiddleware, process
from greenrelay.testing import UpgradeRefused, wait_until
from tests.integration import raw
from tests.sample_processes import idle

ROOT = Path(__file__).parents[2]


def warnings(caplog):
    """Return what was logged at WARNING and above by greenrelay."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("greenrelay")
    ]


def run(folder, *arguments, timeout=60):
    """Run Python there, and return its exit code, standard output and standard error."""
    done = gevent.subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


def doctor(folder):
    """Run the doctor on `app` of `site_app.py` there."""
    return run(folder, "-m", "greenrelay", "doctor", "site_app:app")


# -- an app that was never wrapped -------------------------------------------------------


@pytest.fixture
def unwrapped():
    app, relay = Flask("bare"), GreenRelay()
    app.add_url_rule("/ws", "ws", lambda: relay.websocket("proc@a/AAAAAAAAAAAAAAAA"))
    app.add_url_rule("/sse", "sse", lambda: relay.sse())
    return app


@pytest.mark.parametrize("path", ["/ws", "/sse"])
def test_an_app_that_was_never_wrapped_is_told_in_its_view(unwrapped, path):
    """§10.6"""
    unwrapped.testing = True
    with pytest.raises(ConfigurationError, match=r"'bare' is not wrapped.* call GreenRelay\(app\)"):
        unwrapped.test_client().get(path)


@pytest.mark.parametrize("path", ["/ws", "/sse"])
def test_the_client_of_such_an_app_learns_no_pid(unwrapped, relay_server, path, caplog):
    """§10.6"""
    with raw.RawClient(relay_server(unwrapped).url) as client:
        client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
        answer = client.read_answer()
    assert answer.status == 500
    assert "proc@a" not in f"{answer.headers} {answer.body}"
    assert "call GreenRelay(app)" in caplog.text


def test_a_middleware_around_an_app_is_enough(unwrapped, relay_server, node):
    """§10.1: whoever is outermost."""
    with relay_server(RelayMiddleware(unwrapped, node=node)).connect_sse("/sse") as stream:
        assert stream.receive().event == "ready"


# -- a misspelt field --------------------------------------------------------------------


@pytest.mark.parametrize("key", ["TESTING", "DEBUG"])
def test_a_misspelt_field_raises_in_the_view_of_its_author(node, key):
    """§10.6"""
    app = Flask("shop")
    app.config[key] = True
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/", "index", lambda: relay.sse(hartbeat_interval="5s"))
    with pytest.raises(ConfigurationError, match="did you mean 'heartbeat_interval'"):
        app.test_client().get("/")


# -- refusals ----------------------------------------------------------------------------


def answering(node, **config):
    """Return an app whose view `/ws` relays to a target that is dead."""
    app = Flask("answering")
    app.config.update(config)
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/ws/<path:rest>", "ws", lambda rest: relay.websocket(process.spawn(idle)))
    app.add_url_rule("/gone", "gone", lambda: relay.websocket(f"proc@{node.name}/{'A' * 16}"))
    app.add_url_rule("/far", "far", lambda: relay.websocket(f"proc@elsewhere/{'A' * 16}"))
    return app


def refuse(server, path, **options):
    with pytest.raises(UpgradeRefused):
        server.connect_ws(path, **options)


def test_a_foreign_origin_is_told_with_its_three_causes(node, relay_server, caplog):
    """§10.6: 403"""
    refuse(relay_server(answering(node)), "/ws/x", origin="https://evil.example")
    [line] = warnings(caplog)
    for word in ("GREENRELAY_TRUSTED_PROXIES", "GREENRELAY_ALLOWED_ORIGINS", "location.host"):
        assert word in line


def test_a_target_that_is_gone_is_told_with_its_three_causes(node, relay_server, caplog):
    """§10.6: 503"""
    refuse(relay_server(answering(node)), "/gone")
    [line] = warnings(caplog)
    for word in ("proc@test/AAAA", "process.inbox()", "another worker", "spawn(…, name=…)"):
        assert word in line


def test_a_target_of_another_node_is_told_as_that(node, relay_server, caplog):
    """§10.6"""
    refuse(relay_server(answering(node)), "/far")
    assert "lives on node 'elsewhere', and this is 'test'" in warnings(caplog)[0]


def test_a_server_whose_sockets_can_not_be_taken_is_told(node, caplog):
    """§10.6: 501"""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    headers |= {"Sec-WebSocket-Key": raw.KEY, "Sec-WebSocket-Version": "13"}
    environ = {"SERVER_PROTOCOL": "HTTP/1.1"}
    client = answering(node).test_client()
    assert client.get("/ws/x", headers=headers, environ_overrides=environ).status_code == 501
    [line] = warnings(caplog)
    for word in ("flask run", "gunicorn", "relay_server"):
        assert word in line


def test_too_many_connections_are_told_with_their_three_causes(node, relay_server, caplog):
    """§10.6: 503"""
    server = relay_server(answering(node, GREENRELAY_MAX_CONNECTIONS=1))
    with server.connect_ws("/ws/x"):
        refuse(server, "/ws/x")
    [line] = warnings(caplog)
    for word in ("GREENRELAY_MAX_CONNECTIONS", "ProxyFix", "never closes"):
        assert word in line


def test_a_relay_that_no_router_switches_on_is_told_with_its_path(node, relay_server, caplog):
    """§6.1"""
    routers = [{"prefix": "/sse", "post_middleware": ["sse_relay"]}]
    refuse(relay_server(answering(node, GREENRELAY_ROUTERS=routers)), "/ws/%0a")
    [line] = warnings(caplog)
    assert line.startswith("'/ws/\\n': X-WS-Relay is ignored")
    assert "post_middleware" in line


def test_what_a_client_repeats_is_told_once_in_a_while(node, relay_server, caplog):
    """§10.6: the rest is at INFO; other causes are told as well."""
    server = relay_server(answering(node))
    for number in range(20):
        refuse(server, f"/ws/{number}", origin="https://evil.example")
    refuse(server, "/gone")
    assert len(warnings(caplog)) == 2
    assert caplog.text.count("403 Forbidden") == 20


@pytest.mark.parametrize("path", ["/ws/%0aERROR%20forged", "/ws/%1b[31m", "/ws/%00"])
def test_what_a_client_says_is_quoted(node, relay_server, caplog, path):
    """§10.6"""
    refuse(relay_server(answering(node)), path, origin="https://evil.example")
    [line] = warnings(caplog)
    assert line.isprintable()


def test_ordinary_refusals_are_no_warnings(node, relay_server, caplog):
    """§3.2: a page that is opened where a WebSocket is meant."""
    with raw.RawClient(relay_server(answering(node)).url) as client:
        client.send(raw.head("GET /ws/x HTTP/1.1", upgrade=None, connection="close"))
        assert client.read_answer().status == 426
    assert warnings(caplog) == []


# -- servers and commands ----------------------------------------------------------------

UNPATCHED = """
{patch}
import gevent, urllib.request
from flask import Flask
from gevent.pywsgi import WSGIServer
from greenrelay import GreenRelay

app = Flask(__name__)
GreenRelay(app)
app.add_url_rule("/", "index", lambda: "x")
server = WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()

def get():
    client = gevent.socket.create_connection(server.address)
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert b"200 OK" in client.recv(1000)

import gevent.socket
for _ in range(3):
    get()
"""


def test_an_app_that_is_not_patched_is_told_at_its_first_request(tmp_path):
    """§10.6: under a gevent server, once."""
    code, _, said = run(tmp_path, "-c", UNPATCHED.format(patch=""))
    assert code == 0, said
    assert said.count("monkey.patch_all()") == 1


def test_an_app_that_is_patched_is_told_nothing(tmp_path):
    """§10.6"""
    patch = "from gevent import monkey; monkey.patch_all()"
    assert run(tmp_path, "-c", UNPATCHED.format(patch=patch)) == (0, "", "")


FACTORIES = """
from flask import Flask

def make():
    return Flask(__name__)

def make_one(config=None, debug=False):
    return Flask(__name__)

def make_from(config, /, *, debug=False):
    return Flask(__name__)

class Page:
    def __init__(self, environ, start_response):
        start_response("200 OK", [])
    def __iter__(self):
        return iter([b"x"])
"""


@pytest.mark.parametrize("command", ["serve", "doctor"])
@pytest.mark.parametrize("name", ["make", "make_one", "make_from"])
def test_a_factory_that_is_not_called_is_told_how_to_write_it(tmp_path, command, name):
    """§10.6"""
    (tmp_path / "site_app.py").write_text(FACTORIES)
    code, _, said = run(tmp_path, "-m", "greenrelay", command, f"site_app:{name}")
    assert code == 2
    assert said.count("\n") == 1
    assert f"write site_app:{name}()" in said


def test_what_is_no_factory_is_left_alone(tmp_path):
    """§10.6"""
    (tmp_path / "site_app.py").write_text(FACTORIES)
    code, _, said = run(tmp_path, "-m", "greenrelay", "doctor", "site_app:Page")
    assert code in (0, 1), said


def test_the_doctor_finds_what_is_spawned_at_the_import(tmp_path):
    """§10.2"""
    spawn = "from greenrelay import process\nprocess.spawn(print)\napp = make('a')"
    (tmp_path / "site_app.py").write_text(SHARING + spawn)
    _, said, _ = doctor(tmp_path)
    assert "1 process(es) of the app are spawned at its import" in said


# -- apps that share a node --------------------------------------------------------------

SHARING = """
import gc
from flask import Flask
from greenrelay import GreenRelay, Node

def make(name, **options):
    app = Flask(name)
    app.config.update(options.pop("config", {}))
    GreenRelay(app, **options)
    return app

"""


@pytest.mark.parametrize(
    ("program", "count"),
    [
        ("a = make('a')", 0),
        ("a = make('a')\nb = make('b')\nc = make('c')", 1),
        (
            "r = GreenRelay(); a = Flask('a'); b = Flask('b'); r.init_app(a); r.init_app(b)",
            1,
        ),
        ("a = make('a')\nb = make('b', node=Node('b'))", 0),
        ("a = make('a', config={'GREENRELAY_NODE': 'web1'})\nb = make('b')", 1),
        ("node = Node('n')\na, b = make('a', node=node), make('b', config={})", 0),
        ("a = make('a')\na.me = a\ndel a\nb = make('b')", 0),
        ("a = make('a')\ntry: GreenRelay(a)\nexcept ValueError: pass", 0),
        ("a, b = (make(x, config={'GREENRELAY_NODE': 'web1'}) for x in 'ab')", 0),
        ("node = Node('n')\na, b = make('a', node=node), make('b', node=node)", 0),
        ("a = make('a')\ndel a\ngc.collect()\nb = make('b')", 0),
    ],
)
def test_apps_that_share_the_interpreter_s_node_by_default_are_told(tmp_path, program, count):
    """§2.11: once, and not where it was chosen."""
    code, _, said = run(tmp_path, "-c", SHARING + program)
    assert code == 0, said
    assert said.count("GreenRelay(app, node=Node(") == count


def test_serving_one_app_tells_of_no_sharing(tmp_path):
    """§2.11"""
    (tmp_path / "site_app.py").write_text(SHARING + "app = make('a')")
    with (tmp_path / "said").open("wb") as said:
        server = gevent.subprocess.Popen(
            [sys.executable, "-m", "greenrelay", "serve", "--port", "0", "site_app:app"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=said,
        )
    wait_until(lambda: "listening" in (tmp_path / "said").read_text(), 20)
    server.terminate()
    server.wait(20)
    assert "node=Node(" not in (tmp_path / "said").read_text()


# -- calls -------------------------------------------------------------------------------


def test_a_call_that_takes_too_long_names_callee_and_topic(node):
    """§10.6"""
    pid = process.spawn(idle, name="room:tea")
    with pytest.raises(TimeoutError) as late:
        process.call("room:tea", "visits", timeout=0.01)
    assert f"no reply from {pid} ('room:tea') to 'visits' in 0.01 s" in str(late.value)


def test_a_call_of_a_process_without_a_name_names_its_pid(node):
    """§10.6"""
    pid = process.spawn(idle)
    with pytest.raises(TimeoutError, match=f"no reply from {pid} to 'visits'"):
        process.call(pid, "visits", timeout=0.01)


def test_a_header_by_hand_is_the_doctor_s_affair(tmp_path):
    """§10.6: on other servers than ours nobody sees what an app that was never wrapped answers."""
    (tmp_path / "site_app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    code, said, _ = doctor(tmp_path)
    assert code == 1
    assert "the headers would go out to its clients" in said
