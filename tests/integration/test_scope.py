"""To whom a process belongs that a request starts, also behind its answer (§2.11, §3.2)."""

import io
import json
import sys
import types

import gevent
import pytest
from flask import Flask, Response, current_app, send_file
from werkzeug.test import create_environ

from greenrelay import ConfigurationError, GreenRelay, Node, process
from greenrelay.testing import UpgradeRefused, wait_until
from tests.integration import raw
from tests.integration.gunicorns import GEVENT, PYWSGI
from tests.sample_processes import idle


@pytest.fixture
def own():
    """A node that only the app's requests mean."""
    node = Node("own")
    yield node
    for entity in node:
        entity.kill("killed")
    wait_until(lambda: not len(node))


class Site:
    """An app whose URL `/` answers with `answer()`, and that notes who was spawned where."""

    def __init__(self, node):
        self.app = Flask("site")
        self.relay = GreenRelay(self.app, node=node)
        self.seen = []
        self.app.add_url_rule("/", view_func=lambda: self.answer())

    def spawn(self):
        """Start a process that notes its node and its app."""
        process.spawn(self.note)
        return b"x"

    def note(self):
        name = current_app.name if current_app else None
        self.seen.append((process.current_node().name, name))


@pytest.fixture
def site(own):
    return Site(own)


def get(server):
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET / HTTP/1.1", upgrade=None, connection="close"))
        return client.read_answer().body + client.read_rest()


# -- the body of a response ------------------------------------------------------------


def test_a_body_that_is_made_while_it_is_sent_belongs_to_its_app(site, any_server):
    """§2.11"""
    site.answer = lambda: Response(site.spawn() for _ in range(3))
    assert get(any_server(site.app)).count(b"x") == 3
    wait_until(lambda: site.seen == [("own", "site")] * 3)


def test_a_generator_that_yields_before_it_spawns_belongs_to_its_app(site, any_server):
    """§2.11: the app has been called long ago, and the server iterates."""

    def body():
        yield b"first"
        gevent.sleep(0)
        yield site.spawn()

    site.answer = lambda: Response(body())
    get(any_server(site.app))
    wait_until(lambda: site.seen == [("own", "site")])


def test_what_is_called_when_a_response_is_closed_belongs_to_its_app(site, any_server):
    """§2.11"""

    def answer():
        response = Response("done")
        response.call_on_close(site.spawn)
        return response

    site.answer = answer
    get(any_server(site.app))
    wait_until(lambda: site.seen == [("own", "site")])


def test_two_bodies_under_way_do_not_mix_their_apps(any_server, own):
    """§2.11: each chunk is made on its own node, whoever was served in between."""
    sites = [Site(own), Site(Node("other"))]

    def body(site):
        for _ in range(5):
            yield site.spawn()
            gevent.sleep(0.001)

    for each in sites:
        each.answer = lambda each=each: Response(body(each))
    asking = [gevent.spawn(get, any_server(each.app)) for each in sites]
    gevent.joinall(asking, timeout=5, raise_error=True)
    wait_until(
        lambda: [set(each.seen) for each in sites] == [{("own", "site")}, {("other", "site")}]
    )


def test_a_body_is_closed_once_also_when_its_client_leaves(site, any_server):
    """PEP 3333"""
    closed = []

    def body():
        try:
            while True:
                yield b"x" * 65536
                gevent.sleep(0)
        finally:
            closed.append(process.current_node().name)

    site.answer = lambda: Response(body())
    with raw.RawClient(any_server(site.app).url) as client:
        client.send(raw.head("GET / HTTP/1.1", upgrade=None, connection=None))
        client.socket.recv(1000)
        client.reset()
    wait_until(lambda: closed == ["own"])


def test_a_file_reaches_the_server_s_own_wrapper(site):
    """PEP 3333: it sends files faster than chunk by chunk."""

    class Wrapper:
        def __init__(self, file, size):
            self.file = file

    site.answer = lambda: send_file(io.BytesIO(b"data"), "text/plain")
    environ = {**create_environ("/"), "wsgi.file_wrapper": Wrapper}
    body = site.app(environ, lambda status, headers, exc_info=None: None)
    assert isinstance(body, Wrapper)


STREAMING = """
import io
from flask import Flask, Response, current_app, send_file
from greenrelay import GreenRelay, Node, process

app = Flask("streaming")
relay = GreenRelay(app, node=Node("own"))
seen = []


def note():
    seen.append(f"{process.current_node().name} {current_app.name}")


def body():
    for _ in range(3):
        process.spawn(note)
        yield "x"


app.add_url_rule("/stream", "stream", lambda: Response(body(), headers={"Content-Length": "3"}))
app.add_url_rule("/file", "file", lambda: send_file(__file__))
app.add_url_rule("/seen", "seen", lambda: seen)
"""


@pytest.mark.parametrize("worker", [GEVENT, PYWSGI], ids=["gevent", "pywsgi"])
def test_gunicorn_s_workers_iterate_in_the_app_and_send_files(tmp_path, run_gunicorn, worker):
    """§2.11"""
    (tmp_path / "streaming.py").write_text(STREAMING)
    served = run_gunicorn(*worker, "streaming:app")
    assert served.get("/stream").body == b"xxx"
    wait_until(lambda: json.loads(served.get("/seen").body) == ["own streaming"] * 3)
    assert served.get("/file").body.decode() == STREAMING


# -- orphans ---------------------------------------------------------------------------


def refusal(server, path="/ws"):
    with pytest.raises(UpgradeRefused) as refused:
        server.connect_ws(path)
    return refused.value


def relaying(node, view, **config):
    app = Flask("relaying")
    app.config.update(config)
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/ws", view_func=lambda: view(relay))
    return app


def test_a_room_that_another_request_has_opened_meanwhile_is_no_orphan(own, any_server):
    """§3.2: the name was free when it was asked for, and taken when the room was to start."""
    others = []

    def load(name):
        """Be a module that takes its time to be imported, as by a slow disk."""
        others.append(own.spawn(idle, name="room"))
        return idle

    module = types.ModuleType("slow_rooms")
    module.__getattr__ = load
    sys.modules["slow_rooms"] = module

    def view(relay):
        pid = process.spawn("slow_rooms:room", name="room")
        return Response(headers={"X-WS-Relay": json.dumps({"target_pid": pid, "color": "red"})})

    assert refusal(any_server(relaying(own, view))).status == 500
    del sys.modules["slow_rooms"]
    [other] = others
    assert own.is_alive(other)
    assert not own.find(other).mailbox.is_closed


@pytest.mark.parametrize("config", [{}, {"TESTING": True}, {"DEBUG": True}])
def test_a_misspelt_field_ends_the_target_and_nobody_else(own, any_server, config, capfd):
    """§3.2"""

    def view(relay):
        process.spawn(idle, name="job")
        return relay.websocket(process.spawn(idle, name="room"), hartbeat_interval="5s")

    assert refusal(any_server(relaying(own, view, **config))).status == 500
    wait_until(lambda: own.registry.lookup("room") is None)
    assert not own.find(own.registry.lookup("job")).mailbox.is_closed


def test_a_view_that_mends_its_mistake_keeps_its_target(own, any_server):
    """§3.2: nothing was refused."""

    def view(relay):
        pid = process.spawn(idle, name="room")
        try:
            return relay.websocket(pid, hartbeat_interval="5s")
        except ValueError:
            return relay.websocket(pid)

    with any_server(relaying(own, view)).connect_ws("/ws"):
        assert not own.find(own.registry.lookup("room")).mailbox.is_closed


def test_an_app_s_own_error_page_leaves_no_orphan(own, any_server):
    """§3.2: who answers for the mistake makes no difference."""
    app = Flask("polite")
    app.register_error_handler(ConfigurationError, lambda error: ("sorry", 400))
    relay = GreenRelay(app, node=own)
    app.add_url_rule(
        "/ws", view_func=lambda: relay.websocket(process.spawn(idle), hartbeat_interval="5s")
    )
    refused = refusal(any_server(app))
    assert (refused.status, refused.body) == (400, b"sorry")
    wait_until(lambda: not len(own))


def test_a_header_too_deep_to_be_read_is_refused_in_one_line(own, any_server, caplog):
    """§3.2"""
    deep = '{"target_pid": ' + "[" * 5_000 + "]" * 5_000 + "}"
    app = relaying(own, lambda relay: Response(headers={"X-WS-Relay": deep}))
    assert refusal(any_server(app)).body == b"invalid relay configuration\n"
    assert len([record for record in caplog.records if "greenrelay" in record.name]) == 1
