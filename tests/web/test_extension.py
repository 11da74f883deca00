"""The Flask extension (§10.1)."""

import gc
import json
import weakref

import pytest
from flask import Flask, current_app, g

from greenrelay import ConfigurationError, GreenRelay, Node, RelayMiddleware, process
from greenrelay.testing import wait_until


@pytest.fixture
def relay(app, node):
    return GreenRelay(app, node=node)


def header(response, name="X-WS-Relay"):
    return json.loads(response.headers[name])


# -- wrapping ------------------------------------------------------------------


def test_app_is_wrapped_and_works_as_before(app, relay):
    app.add_url_rule("/", view_func=lambda: "hello")
    assert isinstance(app.wsgi_app, RelayMiddleware)
    assert app.test_client().get("/").data == b"hello"


def test_init_app_does_the_same_later(app, node):
    relay = GreenRelay(node=node)
    relay.init_app(app)
    with app.app_context():
        assert relay.node is node


def test_app_can_be_wrapped_once(app, relay):
    with pytest.raises(ConfigurationError, match="already"):
        GreenRelay(app)


def test_one_object_serves_several_apps(app, node):
    relay = GreenRelay(node=node)
    other = Flask("other")
    relay.init_app(app)
    relay.init_app(other)
    for each in (app, other):
        assert each.wsgi_app.app.__self__ is each


def test_no_app_is_kept(node):
    relay = GreenRelay(node=node)
    app = Flask("short-lived")
    relay.init_app(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_empty_node_is_a_node(app, node):
    """A node without processes must not be taken for none."""
    GreenRelay(app, node=node)
    assert app.wsgi_app.node is node


# -- answers -------------------------------------------------------------------


def test_answer_that_is_no_relay_any_more_announces_its_length(app, relay, recorder):
    """Somebody has put a page in its place."""

    @app.get("/")
    def page():
        response = relay.websocket(recorder.pid)
        del response.headers["X-WS-Relay"]
        response.response = ["hello, ", "world"]
        return response

    assert app.test_client().get("/").headers["Content-Length"] == "12"


def test_answer_announces_that_it_has_no_body(app, relay, recorder):
    """A client gets it where no router takes it; without, it would come in chunks."""
    with app.test_request_context():
        response = relay.websocket(recorder.pid)
        assert response.get_wsgi_headers({})["Content-Length"] == "0"


def test_websocket_answers_with_the_header(relay, recorder):
    response = relay.websocket(recorder.pid, metadata={"user": 7}, heartbeat_interval="30s")
    assert response.status_code == 200
    assert header(response) == {
        "target_pid": recorder.pid,
        "metadata": {"user": 7},
        "heartbeat_interval": "30s",
    }


def test_event_stream_answers_with_its_header(relay, recorder):
    assert header(relay.sse(recorder.pid), "X-SSE-Relay") == {"target_pid": recorder.pid}
    assert header(relay.sse(message_topic="news"), "X-SSE-Relay") == {"message_topic": "news"}


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"hartbeat_interval": "30s"}, "did you mean 'heartbeat_interval'"),
        ({"heartbeat_interval": 30}, "a duration is a string"),
        ({"metadata": "user"}, "metadata is an object"),
        ({"max_rate": -1}, "max_rate"),
    ],
)
def test_malformed_field_is_refused_in_the_view(relay, recorder, fields, hint):
    with pytest.raises(ConfigurationError, match=hint):
        relay.websocket(recorder.pid, **fields)


@pytest.mark.parametrize("target", [None, "room", 7, ""])
def test_target_that_is_no_pid_is_refused_in_the_view(relay, target):
    with pytest.raises(ConfigurationError, match="target_pid"):
        relay.websocket(target)


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_metadata_that_is_no_json_is_refused_in_the_view(relay, recorder, value):
    with pytest.raises(ConfigurationError, match="X-WS-Relay: .* JSON"):
        relay.websocket(recorder.pid, metadata={"value": value})


def test_metadata_with_any_text_stays_in_its_header(app, relay, recorder):
    """Header values are latin-1, and have one line."""
    app.add_url_rule(
        "/", view_func=lambda: relay.websocket(recorder.pid, metadata={"a": "größe\n☃"})
    )
    response = app.test_client().get("/")
    assert response.status_code == 426  # understood: only the upgrade is missing


# -- processes -----------------------------------------------------------------


def run_in(app):
    """Return what a process sees that a view of `app` spawns."""
    seen = []

    @app.get("/")
    def index():
        process.spawn(lambda: seen.append((current_app.name, process.current_node())))
        return ""

    app.test_client().get("/")
    return wait_until(lambda: seen)[0]


def test_process_of_a_view_has_its_app_and_node(app, relay, node):
    """§2.7"""
    assert run_in(app) == ("shop", node)


def test_apps_with_nodes_of_their_own_do_not_meet(app, relay, node):
    """§2.7"""
    other = Flask("other")
    elsewhere = Node("elsewhere")
    GreenRelay(other, node=elsewhere)
    assert run_in(other) == ("other", elsewhere)
    assert run_in(app) == ("shop", node)


def test_spawn_gives_a_process_the_apps_context(app, relay, node):
    """§2.7"""
    seen = []
    with app.app_context():
        pid = relay.spawn(lambda: seen.append(current_app.name), name="room")
    assert pid.node == node.name
    wait_until(lambda: seen == ["shop"])


def test_spawn_outside_of_a_context_needs_the_app(app, relay):
    """§2.7"""
    seen = []
    with pytest.raises(ConfigurationError, match="app=app"):
        relay.spawn(print)
    relay.spawn(lambda: seen.append(current_app.name), app=app)
    wait_until(lambda: seen == ["shop"])


def test_each_message_has_a_context_of_its_own(app, relay):
    """§2.7"""
    seen = []

    def target():
        for _ in process.inbox():
            seen.append(g.get("leftover"))
            g.leftover = True

    pid = relay.spawn(target, app=app)
    for _ in range(3):
        process.send(pid, "go")
    wait_until(lambda: len(seen) == 3)
    assert seen == [None, None, None]


def test_context_of_a_process_is_torn_down_while_it_waits(app, relay):
    """§2.7"""
    torn = []
    app.teardown_appcontext(torn.append)
    pid = relay.spawn(lambda: process.inbox().receive(), app=app)
    wait_until(lambda: torn == [None])
    process.send(pid, "go")
    wait_until(lambda: torn == [None, None])


def test_app_without_the_extension_is_told_so(app):
    with app.app_context(), pytest.raises(ConfigurationError, match="call GreenRelay"):
        GreenRelay().node  # noqa: B018  # the property is the call
