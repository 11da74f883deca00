"""What integration tests share: servers, and a look at the sockets they leave."""

import pytest

from greenrelay.testing import wait_until
from tests.integration.apps import Lines, PywsgiApp, Recorder, Witness, open_sockets


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


@pytest.fixture
def target():
    return Recorder()


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
