"""What integration tests share: servers, and a look at the sockets they leave."""

import functools
import subprocess

import gevent.ssl
import pytest

from greenrelay.testing import wait_until
from tests.integration.apps import Lines, PywsgiApp, Recorder, Witness, open_sockets
from tests.integration.commands import Served
from tests.integration.gunicorns import APP, Gunicorn
from tests.integration.one_target import OneTargetApp
from tests.integration.streams import Streams


@pytest.fixture
def relay_server(relay_server):
    """Start servers in the test's own thread: these tests look into them, and hold them up."""
    return functools.partial(relay_server, own_thread=False)


@pytest.fixture
def pywsgi_server():
    """Start gevent's own servers, as `relay_server` starts ours."""
    servers = []

    def start(app, **options):
        servers.append(PywsgiApp(app, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=["greenrelay", "pywsgi"])
def any_server(request):
    """Start servers of each kind."""
    name = {"greenrelay": "relay_server", "pywsgi": "pywsgi_server"}[request.param]
    return request.getfixturevalue(name)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return the arguments with which our server speaks TLS as 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    files = {"keyfile": str(folder / "key.pem"), "certfile": str(folder / "cert.pem")}
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", files["keyfile"], "-out", files["certfile"]]
    subprocess.run([*command.split(), *name, *out], check=True, capture_output=True)
    return files


@pytest.fixture
def tls(certificate):
    """Return the arguments with which any server speaks TLS."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(**certificate)
    return {"ssl_context": context}


@pytest.fixture
def trust(certificate):
    """Return what makes a client trust that server."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate["certfile"])
    return context


@pytest.fixture
def target():
    return Recorder()


@pytest.fixture
def recorder():
    """A target of event streams."""
    return Streams()


@pytest.fixture
def witness(node):
    return Witness(node)


@pytest.fixture
def access_log():
    return Lines()


@pytest.fixture
def no_socket_left():
    """After the test, its servers stopped, no more sockets are open than before."""
    before = open_sockets()
    yield
    wait_until(lambda: open_sockets() <= before)


@pytest.fixture
def nothing_printed(capfd):
    """Nothing appears on standard output or standard error: no traceback, above all."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def one_target(node, relay_server):
    return OneTargetApp(node, relay_server)


def _runner(command, folder):
    """Give a function that runs a command in a folder, and end what runs afterwards."""
    running = []

    def run(*arguments):
        running.append(command(folder, *arguments))
        return running[-1]

    yield run
    for served in running:
        served.kill()


@pytest.fixture
def run_gunicorn(tmp_path):
    """Run gunicorn with the arguments given, an app of the test's folder among them."""
    yield from _runner(Gunicorn, tmp_path)


@pytest.fixture
def gunicorn_app():
    """The program that `gunicorn` serves."""
    return APP


@pytest.fixture
def gunicorn(tmp_path, run_gunicorn, gunicorn_app):
    """Run gunicorn with the arguments given."""
    (tmp_path / "site_app.py").write_text(gunicorn_app)
    return lambda *arguments: run_gunicorn(*arguments, "site_app:app")


@pytest.fixture
def run_serve(tmp_path):
    """Run `greenrelay serve` with the arguments given, an app of the test's folder among them."""
    yield from _runner(Served, tmp_path)


# -- the example, in a browser ---------------------------------------------------
#
# `browser` and `example` are imported when they are used: the former skips whoever imports it
# where there is no browser.


@pytest.fixture(scope="module")
def example():
    """The example, served by a process of its own."""
    from tests.integration.example import ExampleServer

    with ExampleServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    from tests.integration.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def new_page(browser):
    """Open pages as if by different people, each with a browser of their own."""
    contexts = []

    def new_page(**options):
        contexts.append(browser.new_context(**options))
        return contexts[-1].new_page()

    yield new_page
    for context in contexts:
        context.close()
