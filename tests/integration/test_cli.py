"""`greenrelay serve` as a process of its own: what it prints, and how it ends (§9, §10.2)."""

import re
import signal

import gevent
import gevent.ssl
import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import UpgradeRefused, wait_until
from tests.integration import raw
from tests.integration.commands import APP, Served
from tests.integration.programs import SECONDS


@pytest.fixture
def serve(tmp_path, run_serve):
    """Run `greenrelay serve` with the arguments given, on a free port unless they name one."""
    (tmp_path / "site_app.py").write_text(APP)

    def start(*arguments, app="site_app:app"):
        port = () if "--port" in arguments else ("--port", "0")
        return run_serve(app, *port, *arguments)

    return start


# -- serving -------------------------------------------------------------------


def test_serve_prints_its_address_and_serves(serve):
    """§10.2: patched before the app is imported."""
    served = serve()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served.url)
    assert served.get() == "patched: True"
    with served.connect_ws() as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    wait_until(lambda: '"GET /ws HTTP/1.1" 101 ' in served.text)


def test_serve_takes_a_factory_and_a_host(serve):
    """§10.2"""
    served = serve("--host", "::1", "--node", "web1", app="site_app:make()")
    assert re.fullmatch(r"http://\[::1\]:\d+", served.url)


def test_serve_speaks_tls(serve, tmp_path):
    """§10.2"""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out cert"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    served = serve("--certfile", "cert", "--keyfile", "key")
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(tmp_path / "cert")
    assert served.url.startswith("https://")
    with served.connect_ws(ssl_context=context) as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_serve_takes_routers_from_a_file(serve, tmp_path):
    """§10.2, §6.1: they stand in for those of the app."""
    router = "[{name: ws, prefix: /ws, post_middleware: [%s]}]"
    (tmp_path / "on.yaml").write_text(router % "websocket_relay")
    with serve("--routers", "on.yaml").connect_ws() as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    (tmp_path / "off.yaml").write_text(router % "sse_relay")
    with pytest.raises(UpgradeRefused, match="200"):
        serve("--routers", "off.yaml").connect_ws()


def test_error_in_a_view_is_logged_once(serve):
    served = serve("--log-level", "error")
    assert "Internal Server Error" in served.get("/fail")
    served.signal()
    assert served.wait() == 0
    assert served.text.count("RuntimeError: on purpose") == 1


def test_quiet_server_prints_nothing_but_its_address(serve):
    """§10.2"""
    served = serve("--log-level", "warning")
    with served.connect_ws() as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    served.signal()
    assert served.wait() == 0
    assert served.text == f"greenrelay: listening on {served.url}\n"


# -- ending --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_in_good_order(serve, number):
    """§9: clients are told, the exit code is 0."""
    served = serve()
    with served.connect_ws() as ws, served.connect_ws() as other:
        served.signal(number)
        assert [each.wait_closed().code for each in (ws, other)] == [1012, 1012]
    assert served.wait() == 0
    assert "Traceback" not in served.text


def test_request_under_way_is_answered(serve):
    """§9"""
    served = serve()
    answers = []
    asking = gevent.spawn(lambda: answers.append(served.get("/slow")))
    wait_until(lambda: served.get() and not asking.ready())
    served.signal()
    asking.join(SECONDS)
    assert answers == ["done"]
    assert served.wait() == 0


def test_listener_is_closed_at_once(serve):
    """§9"""
    served = serve("--drain-seconds", "30")
    url = served.url
    served.get("/stuck")
    served.signal()

    def is_refused():
        try:
            raw.RawClient(url).close()
        except ConnectionError:
            return True
        return False

    wait_until(is_refused)
    assert served.process.poll() is None


def test_what_does_not_end_is_terminated_at_the_deadline(serve):
    """§9"""
    served = serve("--drain-seconds", "0.3")
    assert served.get("/stuck") == "stuck"
    served.signal()
    assert served.wait() == 0


def test_second_signal_ends_it_at_once(serve):
    """§9"""
    served = serve("--drain-seconds", "60")
    with served.connect_ws() as ws:
        served.get("/stuck")
        served.signal()
        assert ws.wait_closed().code == 1012
        served.signal()
        assert served.wait() == -signal.SIGTERM


# -- what the caller can mend --------------------------------------------------


BROKEN = {
    "syntax_error.py": "def (:",
    "failing.py": "raise RuntimeError('on purpose')",
    "exiting.py": "import sys; sys.exit(7)",
    "importing.py": "import nonexistent_package",
    "routers.yaml": "- {name: one, prefix: /ws, post_middlewar: [sse_relay]}",
    "plain.py": "def app(environ, start_response): pass",
    "factory.py": "def make(): raise ValueError('no database')\ndef wrong(x): pass\napp = 7",
}

FAULTS = [
    pytest.param("nonsense", [], "'nonsense' names no app; write module:app", id="no colon"),
    pytest.param("nowhere:app", [], "can't import 'nowhere'", id="no module"),
    pytest.param("importing:app", [], "No module named 'nonexistent_package'", id="its import"),
    pytest.param("syntax_error:app", [], "syntax_error.py, line 1", id="syntax error"),
    pytest.param("failing:app", [], "RuntimeError: on purpose", id="error on import"),
    pytest.param("exiting:app", [], "can't import 'exiting'", id="exit on import"),
    pytest.param("site_app:nothing", [], "has no 'nothing'", id="no such name"),
    pytest.param("factory:app", [], "no WSGI app but int", id="no app"),
    pytest.param(
        "factory:wrong",
        [],
        "is a function, and no WSGI app; if it is an app factory, write factory:wrong()",
        id="function",
    ),
    pytest.param("factory:make()", [], "ValueError: no database", id="error in the factory"),
    pytest.param("factory:wrong()", [], "TypeError", id="factory with arguments"),
    pytest.param("site_app:app", ["--port", "http"], "'http' is not a valid", id="port"),
    pytest.param("site_app:app", ["--port", "70000"], "70000 is not in the range", id="high port"),
    pytest.param("site_app:app", ["--colour"], "No such option", id="unknown option"),
    pytest.param("site_app:app", ["--node", "a/b"], "--node a/b: the node 'a/b'", id="node"),
    pytest.param("site_app:app", ["--keyfile", "site_app.py"], "needs --certfile", id="key only"),
    pytest.param("site_app:app", ["--certfile", "absent"], "does not exist", id="no certificate"),
    pytest.param("site_app:app", ["--certfile", "site_app.py"], "--certfile", id="bad certificate"),
    pytest.param("site_app:app", ["--routers", "absent"], "does not exist", id="no routers"),
    pytest.param(
        "site_app:app",
        ["--routers", "routers.yaml"],
        "router 'one': unknown key 'post_middlewar'; did you mean 'post_middleware'?",
        id="bad router",
    ),
    pytest.param("plain:app", ["--routers", "routers.yaml"], "GreenRelay(app)", id="no relay"),
    pytest.param("site_app:app", ["--host", "203.0.113.1"], "can't listen on", id="foreign host"),
    pytest.param("site_app:app", ["--host", "no.such.host.invalid"], "can't listen", id="no host"),
]


@pytest.mark.parametrize(("app", "arguments", "line"), FAULTS)
def test_mistake_is_one_clear_line_and_exit_code_2(serve, tmp_path, app, arguments, line):
    """§10.2"""
    for name, source in BROKEN.items():
        (tmp_path / name).write_text(source)
    served = serve(*arguments, app=app)
    assert served.wait() == 2, served.text
    *usage, last = served.text.splitlines()
    assert line in last
    assert all(text.startswith(("Usage:", "Try ")) or not text for text in usage)


def test_busy_port_is_one_clear_line_and_exit_code_2(serve):
    """§10.2"""
    port = serve().url.rpartition(":")[2]
    served = serve("--port", port)
    assert served.wait() == 2
    line = f"greenrelay: can't listen on 127.0.0.1 port {port}: Address already in use\n"
    assert served.text == line


# -- reloading -----------------------------------------------------------------


def test_reload_restarts_when_a_file_changes(serve, tmp_path):
    """§10.2"""
    served = serve("--reload")
    assert served.get() == "patched: True"
    (tmp_path / "site_app.py").write_text(APP.replace("patched:", "changed:"))
    wait_until(lambda: len(Served.LISTENING.findall(served.text)) == 2, SECONDS)
    assert served.get() == "changed: True"
    served.signal()
    assert served.wait() == 0
