"""The event stream client that an app's tests use (§10.5)."""

import pytest
from flask import Flask, request

from greenrelay import GreenRelay, event_stream, process
from greenrelay.testing import ConnectionClosed, UpgradeRefused
from tests.integration.apps import Recorder
from tests.integration.streams import detached, stream_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")


def test_events_have_name_data_id_and_retry(node, relay_server):
    """§10.5"""
    app = Flask("plain")
    GreenRelay(app, node=node)
    app.add_url_rule("/", view_func=lambda: event_stream([("a", 1), ("b", 2)]))
    with relay_server(app).connect_sse("/") as stream:
        first, second = stream
    assert (first.event, first.data, first.id, first.retry) == ("a", "1", "", None)
    assert (second.event, second.data) == ("b", "2")


def test_waiting_in_vain_loses_nothing(node, relay_server):
    """§10.5"""
    with relay_server(stream_app(node)).connect_sse("/sse") as stream:
        client = detached(stream)
        with pytest.raises(TimeoutError, match="sent nothing in time"):
            stream.receive(timeout=0.01)
        process.send(client, "sse.message", "late")
        assert stream.receive().data == "late"


def test_receiving_behind_the_end_says_so(node, relay_server):
    """§10.5"""
    with relay_server(stream_app(node)).connect_sse("/sse") as stream:
        process.send(detached(stream), "sse.close")
        assert stream.receive().event == "done"
        with pytest.raises(EOFError, match="has ended the event stream"):
            stream.receive()


@pytest.mark.parametrize("path", ["/sse?a=1&b=2", "/sse?next=http://other/"])
def test_query_is_sent(node, relay_server, path):
    """§10.5"""
    app, seen = stream_app(node), []
    app.before_request(lambda: seen.append(request.full_path))
    with relay_server(app).connect_sse(path):
        assert seen == [path]


def test_refusal_has_status_headers_and_body(node, relay_server):
    """§10.5"""
    with pytest.raises(UpgradeRefused, match="404") as refused:
        relay_server(stream_app(node)).connect_sse("/nowhere")
    assert refused.value.status == 404
    assert refused.value.headers["Content-Type"].startswith("text/html")
    assert b"Not Found" in refused.value.body


def test_ordinary_answer_is_no_event_stream(node, relay_server):
    """§10.5"""
    app = Flask("plain")
    GreenRelay(app, node=node)
    app.add_url_rule("/", view_func=lambda: (piece for piece in ("or", "dinary")))
    with pytest.raises(UpgradeRefused) as refused:
        relay_server(app).connect_sse("/")
    assert (refused.value.status, refused.value.body) == (200, b"ordinary")


def test_both_clients_live_in_one_thread(node, relay_server):
    """§10.5: what one waits for, the other may have caused."""
    target = Recorder(lambda message: process.send(stream_pid[0], "sse.message", message.payload))
    app, stream_pid = stream_app(node), []
    app.add_url_rule("/ws", view_func=lambda: GreenRelay().websocket(process.spawn(target)))
    server = relay_server(app)
    with server.connect_sse("/sse") as stream:
        stream_pid.append(detached(stream))
        with server.connect_ws("/ws") as ws:
            assert "client_pid" in stream.receive().data
            ws.send("hello")
            assert stream.receive().data == "hello"
            process.send(target.client, "ws.close")
            with pytest.raises(ConnectionClosed):
                ws.receive()
