"""Relayed event streams from the request to their end, over real servers (§5, §6.2)."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import gevent.socket
import pytest
from flask import Flask, request, session

from greenrelay import Event, GreenRelay, process
from greenrelay.testing import EventStreamClient, UpgradeRefused, leaks, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a server may take to start on a busy machine."""


def stream_app(node, target=None, **fields):
    """Return an app whose view `/sse` relays an event stream.

    Args:
        target: a PID, or a function that the view spawns a process for.
        fields: further fields of the relay header.
    """
    app = Flask("streamed")
    app.secret_key = "for the session cookie"
    relay = GreenRelay(app, node=node)

    @app.route("/sse", methods=["GET", "POST", "PUT"])
    def sse():
        return relay.sse(process.spawn(target) if callable(target) else target, **fields)

    return app


@pytest.fixture
def recorder():
    return Streams()


class Streams(Recorder):
    """A target that keeps what event streams tell it."""

    @property
    def client(self):
        """The PID of the stream that joined last."""
        self.wait_for("sse.join")
        return self.payloads("sse.join")[-1]["client_pid"]

    def send(self, payload, topic="sse.message"):
        """Send to the stream that joined last."""
        return process.send(self.client, topic, payload)


def detached(stream):
    """Return the PID that a detached stream names in its first event."""
    ready = stream.receive()
    assert ready.event == "ready"
    return re.search(r'"stream_pid":"([^"]+)"', ready.data)[1]


def get(path="/sse", first="GET {} HTTP/1.1", **headers):
    """Return a request head."""
    lines = [first.format(path), "Host: example.org"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# -- managed (§5.2) ------------------------------------------------------------


def test_target_sends_events(node, any_server, recorder):
    """§5.2"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        recorder.send("hello")
        recorder.send({"a": [1, None]})
        assert stream.receive()[:2] == ("sse.message", "hello")
        assert stream.receive()[:2] == ("sse.message", '{"a":[1,null]}')


def test_join_is_the_first_and_leave_the_last_message(node, any_server, recorder):
    """§5.2"""
    server = any_server(stream_app(node, recorder, metadata={"user": 7}))
    with server.connect_sse("/sse"):
        client = recorder.client
    leave = recorder.wait_for("sse.leave")
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert recorder.messages[0].sender == client
    assert leave == {
        "client_pid": client,
        "reason": "connection_lost",
        "code": 1006,
        "metadata": {"user": 7},
    }


def test_answer_to_the_join_comes_behind_the_head(node, any_server):
    """§5.1"""

    def greet(message):
        if message.topic == "sse.join":
            process.send(message.payload["client_pid"], "sse.message", "welcome")

    server = any_server(stream_app(node, Recorder(greet)))
    with server.connect_sse("/sse") as stream:
        assert stream.receive().data == "welcome"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        pytest.param(lambda pid: process.send(pid, "end"), "target process exited", id="ends"),
        pytest.param(lambda pid: process.send(pid, "crash"), "target process failed", id="crash"),
        pytest.param(lambda pid: process.terminate(pid), "target process failed", id="killed"),
    ],
)
def test_stream_ends_with_its_target(node, any_server, end, told):
    """§5.3: after everything that the target has sent."""

    def obey(message):
        if message.topic == "end":
            process.exit()
        if message.topic == "crash":
            raise ValueError("on purpose")

    recorder = Streams(obey)
    target = node.spawn(recorder)
    server = any_server(stream_app(node, target))
    with server.connect_sse("/sse") as stream:
        recorder.send("last")
        end(target)
        assert [event[:2] for event in stream] == [
            ("sse.message", "last"),
            ("done", f'{{"reason":"{told}"}}'),
        ]


def test_stream_holds_no_greenlet_of_the_server(node, any_server, recorder):
    """§5.1: the request has ended."""
    server = any_server(stream_app(node, recorder))
    pool = server.server.pool
    with server.connect_sse("/sse"), server.connect_sse("/sse"):
        wait_until(lambda: pool is None or not len(pool))
        assert len([each for each in node if each.pid.host == "sse"]) == 2


def test_request_has_ended_before_the_first_event(node, relay_server):
    """§3.1, §5.1"""
    order = []

    def greet(message):
        order.append(message.topic)
        process.send(message.payload["client_pid"], "sse.message", list(order))

    app = stream_app(node, Recorder(greet))
    app.teardown_request(lambda error: order.append("torn down"))
    with relay_server(app).connect_sse("/sse") as stream:
        assert stream.receive().data == '["torn down","sse.join"]'


# -- detached (§5.2) -----------------------------------------------------------


def test_detached_stream_names_itself(node, any_server):
    """§5.2: and never the metadata."""
    server = any_server(stream_app(node, message_topic="news", metadata={"secret": 7}))
    with server.connect_sse("/sse") as stream:
        (client,) = [entity.pid for entity in node]
        ready = stream.receive()
        assert ready.event == "ready"
        assert ready.data == f'{{"stream_pid":"{client}","message_topic":"news"}}'


def test_anybody_sends_to_a_detached_stream(node, any_server):
    """§5.2"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        assert process.send(detached(stream), "sse.message", "hello")
        assert stream.receive().data == "hello"


def test_control_attaches_switches_and_detaches(node, any_server):
    """§5.5"""
    first, second = Streams(), Streams()
    first_pid, second_pid = node.spawn(first), node.spawn(second)
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        client = detached(stream)
        process.send(client, "sse.control", {"target_pid": first_pid})
        first.wait_for("sse.join")
        process.send(client, "sse.control", {"target_pid": second_pid})
        second.wait_for("sse.join")
        process.send(client, "sse.control", {"target_pid": ""})
        assert second.wait_for("sse.leave")["reason"] == "transferred"
        process.terminate(second_pid)
        process.send(client, "sse.message", "alive")
        assert stream.receive().data == "alive"
    assert first.topics == ["sse.join", "sse.leave"]


def test_control_to_a_dead_target_changes_nothing(node, any_server, recorder, caplog):
    """§5.5"""
    dead = node.spawn(lambda: None)
    wait_until(lambda: not node.is_alive(dead))
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        recorder.send({"target_pid": dead}, "sse.control")
        recorder.send("x")
        assert stream.receive().data == "x"
        assert recorder.topics == ["sse.join"]
    wait_until(lambda: "is not alive" in caplog.text)


def test_control_sets_every_field(node, any_server, recorder):
    """§5.5"""
    server = any_server(stream_app(node, recorder))
    fields = {
        "message_topic": "news",
        "metadata": {"user": 8},
        "heartbeat_interval": "100ms",
        "idle_timeout": "10s",
        "hard_timeout": "500ms",
        "retry": "3s",
        "max_backlog": 1000,
        "slow_consumer": "drop_new",
    }
    with server.connect_sse("/sse") as stream:
        recorder.send(fields, "sse.control")
        recorder.send("old")
        recorder.send("new", "news")
        assert stream.receive() == ("news", "new", "", 3000)
        assert recorder.wait_for("sse.heartbeat")["metadata"] == {"user": 8}
        assert stream.receive()[:2] == ("done", '{"reason":"hard timeout"}')


def test_close_ends_the_stream_with_a_reason(node, any_server):
    """§5.3, §5.5"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        process.send(detached(stream), "sse.close", "enough")
        assert [event[:2] for event in stream] == [("done", '{"reason":"enough"}')]


# -- what is forwarded (§5.3, §5.4) --------------------------------------------


def test_only_the_message_topic_is_forwarded(node, any_server, recorder):
    """§5.4"""
    server = any_server(stream_app(node, recorder, message_topic="news"))
    with server.connect_sse("/sse") as stream:
        for topic in ("other", "news", "sse.message", "sse.join", "sse.heartbeat", "news"):
            recorder.send(topic, topic)
        recorder.send("", "sse.close")
        assert [event.event for event in stream] == ["news", "news", "done"]


def test_bytes_on_the_wire(node, any_server, recorder):
    """§5.3"""
    server = any_server(stream_app(node, recorder, message_topic="*", retry="1s"))
    with raw.RawClient(server.url) as client:
        client.send(get())
        client.read_answer()
        recorder.send("a\rb\r\nc\n", "text")
        recorder.send(b"\xff", "bytes")
        recorder.send(Event({"n": 1}, id="7", retry=50), "event")
        recorder.send(None, "sse.close")
        assert client.read_rest() == (
            b"retry: 1000\n\n"
            b"event: text\ndata: a\ndata: b\ndata: c\ndata: \n\n"
            b"event: bytes\ndata: /w==\n\n"
            b'event: event\nid: 7\nretry: 50\ndata: {"n":1}\n\n'
            b'event: done\ndata: {"reason":"closed by server"}\n\n'
        )


def test_topic_with_a_line_break_is_the_senders_mistake(node, any_server, recorder, caplog):
    """§5.3"""
    server = any_server(stream_app(node, recorder, message_topic="*"))
    with server.connect_sse("/sse") as stream:
        recorder.send("x", "news\nevent: forged")
        recorder.send("y", "news")
        assert stream.receive()[:2] == ("news", "y")
    wait_until(lambda: "no CR, LF or NUL" in caplog.text)


def test_broadcast_reaches_every_stream(node, any_server):
    """§2"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as one, server.connect_sse("/sse") as two:
        pids = [detached(one), detached(two)]
        assert process.broadcast(pids, "sse.message", "hello") == 2
        assert one.receive().data == two.receive().data == "hello"


def test_small_events_are_not_held_back_by_the_kernel(node, any_server):
    """§5.3: or one that follows another waits for its acknowledgement."""
    with any_server(stream_app(node)).connect_sse("/sse"):
        (entity,) = node
        level, option = gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY
        assert entity.transport._sock.getsockopt(level, option)


# -- time (§5.3, §5.6) ---------------------------------------------------------


def test_heartbeat_reaches_wire_and_target(node, any_server, recorder):
    """§5.3"""
    server = any_server(stream_app(node, recorder, heartbeat_interval="100ms"))
    with raw.RawClient(server.url) as client:
        client.send(get())
        client.read_answer()
        assert client.file.read(16) == b": ping\n\n" * 2
    beat = recorder.wait_for("sse.heartbeat")
    assert (beat["client_pid"], beat["metadata"]) == (recorder.client, {})
    assert beat["uptime"] > 0


def test_idle_stream_ends(node, any_server, recorder, witness):
    """§5.6"""
    server = any_server(stream_app(node, recorder, idle_timeout="200ms", heartbeat_interval="50ms"))
    with server.connect_sse("/sse") as stream:
        witness.watch(recorder.client)
        assert [event[:2] for event in stream] == [("done", '{"reason":"idle timeout"}')]
    assert witness.wait_for_reason() == "idle_timeout"


def test_busy_stream_ends_at_its_hard_timeout(node, any_server, recorder):
    """§5.6"""
    server = any_server(stream_app(node, recorder, idle_timeout="1s", hard_timeout="300ms"))
    with server.connect_sse("/sse") as stream:
        while recorder.send("busy"):
            gevent.sleep(0.01)
        *busy, last = stream
    assert len(busy) > 5
    assert last[:2] == ("done", '{"reason":"hard timeout"}')


def test_stopping_server_says_so(node, any_server, recorder):
    """§5.3, §9"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        stopping = gevent.spawn(server.stop, 5)
        assert [event[:2] for event in stream] == [("done", '{"reason":"shutdown"}')]
        stopping.join()


# -- clients that leave, and that come back (§5.6) -----------------------------


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_is_noticed_without_a_write(node, any_server, recorder, leave):
    """§5.6"""
    server = any_server(stream_app(node, recorder))
    client = raw.RawClient(server.url)
    client.send(get())
    client.read_answer()
    getattr(client, leave)()
    assert recorder.wait_for("sse.leave")["reason"] == "connection_lost"
    process.terminate(recorder.messages[0].sender)
    wait_until(lambda: [entity.pid.host for entity in node] == ["proc"])


@pytest.mark.parametrize(
    ("headers", "seen"),
    [({}, None), ({"Last-Event-ID": "7"}, "7"), ({"Last-Event-ID": "Ã©"}, "é")],
    ids=["none", "ASCII", "UTF-8"],
)
def test_id_of_the_last_event_is_in_the_join(node, any_server, recorder, headers, seen):
    """§5.6"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse", headers):
        assert recorder.wait_for("sse.join")["last_event_id"] == seen


# -- request and response (§5.1, §6.2) -----------------------------------------


def test_head_of_the_response(node, any_server, recorder):
    """§4.1, §5.1"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-cache"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "x-sse-relay" not in stream.headers
        assert "content-length" not in stream.headers


def test_own_headers_of_the_handler_win(node, any_server):
    """§5.1"""
    app = stream_app(node)

    @app.after_request
    def add_headers(response):
        session["user"] = 7
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Own"] = "yes"
        response.headers["Content-Language"] = "de"
        return response

    with any_server(app).connect_sse("/sse") as stream:
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Own"] == "yes"
        assert stream.headers["Set-Cookie"].startswith("session=")
        assert "Content-Language" not in stream.headers


def test_relay_header_is_removed_from_every_response(node, any_server):
    """§3.1: also where it asks for nothing."""
    app = Flask("failing")
    GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: ("no", 404, {"X-SSE-Relay": "{}"}))
    with pytest.raises(UpgradeRefused) as refused:
        any_server(app).connect_sse("/sse")
    assert (refused.value.status, refused.value.body) == (404, b"no")
    assert "X-SSE-Relay" not in refused.value.headers


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_any_method_of_the_route_may_have_a_body(node, any_server, method):
    """§5.1: the view reads it, or nobody does."""
    app = stream_app(node)
    read = []
    app.before_request(lambda: read.append(request.get_data()))
    server = any_server(app)
    with server.connect_sse("/sse", method=method, body=b"x" * 100_000) as stream:
        process.send(detached(stream), "sse.message", "hello")
        assert stream.receive().data == "hello"
    assert read == [b"x" * 100_000]


def test_body_that_nobody_reads_is_no_nuisance(node, any_server):
    """§5.1"""
    with any_server(stream_app(node)).connect_sse("/sse", method="POST", body=b"x" * 9) as stream:
        process.send(detached(stream), "sse.close")
        assert stream.receive().event == "done"


def test_head_request_gets_the_headers_alone(node, any_server, recorder):
    """§5.1: and its target is not left behind."""
    server = any_server(stream_app(node, recorder))
    with raw.RawClient(server.url) as client:
        client.send(get(first="HEAD {} HTTP/1.1"))
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    wait_until(lambda: not leaks(node))
    assert recorder.messages == []


def test_client_of_an_older_http_gets_events(node, any_server, recorder):
    """§5.1: the end of the connection is the end of the body."""
    server = any_server(stream_app(node, recorder))
    with raw.RawClient(server.url) as client:
        client.send(get(first="GET {} HTTP/1.0"))
        assert "Transfer-Encoding" not in client.read_answer().headers
        recorder.send("hello")
        recorder.send("", "sse.close")
        assert client.read_rest().startswith(b"event: sse.message\ndata: hello\n\nevent: done\n")


def test_event_stream_over_tls(node, any_server, recorder, tls, trust):
    """§10.2"""
    server = any_server(stream_app(node, recorder), **tls)
    with server.connect_sse("/sse", ssl_context=trust) as stream:
        recorder.send("x" * 100_000)
        assert stream.receive().data == "x" * 100_000
    assert recorder.wait_for("sse.leave")["reason"] == "connection_lost"


ORIGINS = {"GREENRELAY_ALLOWED_ORIGINS": "https://app.example.com"}


def app_with_origins(node, **settings):
    """Return an app that other origins than its own may talk to."""
    app = Flask("origins")
    app.config.update(settings)
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: relay.sse())
    return app


def test_listed_origin_may_read_the_stream_with_its_cookies(node, any_server):
    """§6.2"""
    server = any_server(app_with_origins(node, **ORIGINS))
    with server.connect_sse("/sse", origin="https://app.example.com") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert stream.headers["Access-Control-Allow-Credentials"] == "true"
        assert stream.headers["Vary"] == "Origin"


def test_any_origin_may_read_the_stream_without_cookies(node, any_server):
    """§6.2"""
    server = any_server(app_with_origins(node, GREENRELAY_ALLOWED_ORIGINS="*"))
    with server.connect_sse("/sse", origin="https://evil.example") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://evil.example"
        assert "Access-Control-Allow-Credentials" not in stream.headers


@pytest.mark.parametrize("origin", [None, "same"])
def test_own_origin_needs_no_permission(node, any_server, origin):
    """§6.2"""
    server = any_server(app_with_origins(node))
    with server.connect_sse("/sse", origin=origin and server.url) as stream:
        assert "Access-Control-Allow-Origin" not in stream.headers


def test_own_permission_of_the_handler_wins(node, any_server):
    """§6.2: and what else its answer depends on is not forgotten."""
    app = app_with_origins(node, **ORIGINS)

    @app.after_request
    def permit(response):
        response.headers["Access-Control-Allow-Origin"] = "https://own.example"
        response.headers["Vary"] = "Cookie"
        return response

    with any_server(app).connect_sse("/sse", origin="https://app.example.com") as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "https://own.example"
        assert "Access-Control-Allow-Credentials" not in stream.headers
        assert stream.headers.get_all("Vary") == ["Origin", "Cookie"]


# -- refusals (§3.2) -----------------------------------------------------------


def header_app(node, value):
    """Return an app that answers with a relay header set by hand."""
    app = Flask("by hand")
    GreenRelay(app, node=node)
    app.add_url_rule("/sse", view_func=lambda: ("", {"X-SSE-Relay": value}))
    return app


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"target_pid": "x"}', id="no PID"),
        pytest.param('{"colour": "red"}', id="unknown field"),
        pytest.param('{"dialect": "raw"}', id="field of the other relay"),
        pytest.param('{"heartbeat_interval": "soon"}', id="no duration"),
        pytest.param('{"idle_timeout": "-1s"}', id="negative duration"),
        pytest.param('{"metadata": 7}', id="no metadata"),
    ],
)
def test_malformed_configuration_is_refused(node, any_server, caplog, value):
    """§3.2"""
    with pytest.raises(UpgradeRefused) as refused:
        any_server(header_app(node, value)).connect_sse("/sse")
    assert refused.value.status == 500
    assert refused.value.body == b"invalid relay configuration\n"
    assert "X-SSE-Relay" in caplog.text


def test_dead_target_is_refused(node, any_server):
    """§3.2"""
    dead = node.make_pid("proc")
    with pytest.raises(UpgradeRefused) as refused:
        any_server(stream_app(node, dead)).connect_sse("/sse")
    assert (refused.value.status, refused.value.body) == (503, b"relay target is gone\n")


def test_foreign_origin_is_refused_and_its_target_cancelled(node, any_server, recorder):
    """§3.2, §6.2"""
    with pytest.raises(UpgradeRefused) as refused:
        any_server(stream_app(node, recorder)).connect_sse("/sse", origin="https://evil.example")
    assert (refused.value.status, refused.value.body) == (403, b"origin not allowed\n")
    wait_until(lambda: not leaks(node))


@pytest.mark.parametrize(("retry", "line"), [({}, b""), ({"retry": "2s"}, b"retry: 2000\n")])
def test_stopping_server_answers_with_a_stream_that_has_ended(node, any_server, retry, line):
    """§9, §3.2: after any other answer a browser would stay away for good."""
    server = any_server(stream_app(node, **retry))
    node.is_draining = True
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET /sse HTTP/1.1", upgrade=None, connection=None))
        answer = client.read_answer()
        assert client.read_rest() == b""
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert answer.body == b"event: done\n" + line + b'data: {"reason":"shutdown"}\n\n'
    wait_until(lambda: not leaks(node))


def test_server_whose_sockets_stay_its_own_is_refused(node):
    """§3.2"""
    response = stream_app(node).test_client().get("/sse")
    assert response.status_code == 501
    assert "greenrelay serve" in response.text


# -- clients that read slowly (§8) ---------------------------------------------


class Stalled:
    """A client of a stream that does not read; a target that can send more than fits."""

    def __init__(self, node, server, recorder):
        self.recorder = recorder
        self.client = raw.RawClient(server.url, receive_buffer=4096)
        self.client.send(get())
        self.client.read_answer()

    def flood(self, count=400):
        """Send numbered events, 20 KiB each, as long as the stream lives."""
        for number in range(count):
            if not self.recorder.send(f"{number:04}" * 5000):
                return
            gevent.sleep(0)

    def read(self):
        """Return the numbers that have arrived, and the name of the last event."""
        rest = self.client.read_rest()
        last = rest.rsplit(b"event: ", 1)[1].split(b"\n")[0]
        return [int(number) for number in re.findall(rb"data: (\d{4})", rest)], last


@pytest.mark.parametrize("policy", ["close", "drop_new", "drop_old"])
def test_slow_consumer(node, any_server, recorder, witness, policy):
    """§8"""
    app = stream_app(node, recorder, max_backlog=100_000, slow_consumer=policy)
    stalled = Stalled(node, any_server(app), recorder)
    with stalled.client:
        witness.watch(recorder.client)
        stalled.flood()
        recorder.send("", "sse.close")
        numbers, last = stalled.read()
    reason = witness.wait_for_reason()
    assert last == b"done"
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < 400
    if policy == "close":
        assert reason == "slow_consumer"
        assert node.counts["slow_consumer.closed"] == 1
    else:
        assert reason == "normal"
        assert node.counts["slow_consumer.dropped"] == 400 - len(numbers)
        assert (numbers[-1] == 399) is (policy == "drop_old")


# -- under gunicorn (§10.3) ----------------------------------------------------

GUNICORN_APP = """
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
relay = GreenRelay(app)
news = []


def target():
    for message in process.inbox():
        news.append(message.topic)
        if message.topic == "sse.join":
            process.send(message.payload["client_pid"], "sse.message", "welcome")


@app.route("/sse", methods=["GET", "POST"])
def sse():
    return relay.sse(process.spawn(target))


@app.get("/news")
def told():
    return " ".join(news)
"""


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory):
    """Return the address of a gunicorn with gevent's worker."""
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "streams.py").write_text(GUNICORN_APP)
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-c", "python:greenrelay.gunicorn"]
    command += ["--bind", "127.0.0.1:0", "--graceful-timeout", "3", "streams:app"]
    log = folder / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, cwd=folder, stderr=file, env={"PYTHONPATH": f"{ROOT}", "PATH": "/usr/bin"}
        )
    try:
        wait_until(lambda: "Booting worker" in log.read_text(), SECONDS)
        yield re.search(r"http://127\.0\.0\.1:\d+", log.read_text())[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)


def ask(url, path):
    """Return the body of an ordinary answer."""
    with raw.RawClient(url) as client:
        client.send(get(path, Connection="close"))
        return client.read_answer().body.decode()


def test_gunicorn_streams_and_notices_who_leaves(gunicorn):
    """§5.6, §10.3"""
    with EventStreamClient(f"{gunicorn}/sse", method="POST", body=b"x" * 100_000) as stream:
        assert stream.receive().data == "welcome"
        assert ask(gunicorn, "/news") == "sse.join"
    wait_until(lambda: ask(gunicorn, "/news") == "sse.join sse.leave")
