"""A relayed WebSocket from the handshake to its end, over real servers (§3.1 to §3.8)."""

import json
import zlib

import gevent
import gevent.event
import pytest
from flask import Flask, session

from greenrelay import GreenRelay, process
from greenrelay.testing import leaks, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

# -- the order of things (§3.3) ------------------------------------------------


def test_client_talks_to_the_target(node, any_server):
    """§3.3"""
    server = any_server(relay_app(node, echo))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_join_is_the_first_and_leave_the_last_message(node, any_server, target):
    """§3.3"""
    server = any_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        ws.send("two")
    target.wait_for("ws.leave")
    assert target.topics == ["ws.join", "ws.message", "ws.message", "ws.leave"]


def test_join_names_the_client_and_its_metadata(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target, metadata={"user": 7}))
    with server.connect_ws("/ws"):
        join = target.wait_for("ws.join")
    assert join == {"client_pid": target.client, "metadata": {"user": 7}}
    assert target.messages[0].sender == target.client
    assert target.client.host == "ws"


def test_leave_says_how_the_client_closed(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target, metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        ws.close(4001, "enough")
    leave = target.wait_for("ws.leave")
    assert leave == {
        "client_pid": target.client,
        "reason": "enough",
        "code": 4001,
        "metadata": {"user": 7},
    }


def test_answer_to_the_join_comes_behind_the_101(node, any_server):
    """§3.3"""

    def greet(message):
        if message.topic == "ws.join":
            send_frame(message.sender, "welcome")

    server = any_server(relay_app(node, Recorder(greet)))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        assert client.read_frame() == (raw.TEXT, b"welcome")


EARLY = raw.text("one") + raw.text("two") + raw.text("three" * 5000)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([raw.head() + EARLY], id="one segment"),
        pytest.param([raw.head(), EARLY], id="right behind"),
        pytest.param([raw.head() + EARLY[:3], EARLY[3:]], id="cut in a frame"),
        pytest.param([raw.head()[:-2], raw.head()[-2:] + EARLY], id="cut in the head"),
    ],
)
def test_early_frames_are_not_lost(node, any_server, target, pieces):
    """§3.3: what is sent together with the handshake."""
    server = any_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.send(*pieces)
        wait_until(lambda: len(target.payloads()) == 3)
    assert target.payloads() == ["one", "two", "three" * 5000]


def test_client_that_is_gone_before_the_101_has_joined_and_left(node, any_server, target):
    """§3.3"""
    server = any_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.send(raw.head() + raw.text("last words"))
    target.wait_for("ws.leave")
    assert target.topics == ["ws.join", "ws.message", "ws.leave"]


# -- the 101 (§3.3) ------------------------------------------------------------


def app_with_headers(node, **headers):
    """Return an app whose handler sets headers on its relay response."""
    app = Flask("headers")
    app.secret_key = "for the session cookie"
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        session["user"] = 7
        response = relay.websocket(process.spawn(echo))
        response.set_cookie("seen", "yes")
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return app


def test_cookies_and_own_headers_travel_on_the_101(node, any_server):
    """§3.3"""
    server = any_server(app_with_headers(node, X_Room="7"))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade()
    assert answer.headers["X-Room"] == "7"
    assert "seen=yes" in answer.headers["Set-Cookie"]
    assert "session=" in answer.headers["Set-Cookie"]


def test_101_has_nothing_of_a_body_and_no_relay_header(node, any_server):
    """§3.1, §3.3"""
    server = any_server(app_with_headers(node, Content_Language="de", Keep_Alive="5", TE="x"))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade()
    assert set(answer.headers) == {
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Set-Cookie",
        "Vary",
    }
    assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("offered", "chosen", "expected"),
    [
        pytest.param(["chat", "v2"], "v2", "v2", id="offered"),
        pytest.param(["chat"], "v2", None, id="not offered"),
        pytest.param(None, "v2", None, id="nothing offered"),
        pytest.param(["chat"], None, None, id="none chosen"),
    ],
)
def test_subprotocol_is_one_that_the_client_offered(node, relay_server, offered, chosen, expected):
    """§3.3"""
    headers = {"Sec_WebSocket_Protocol": chosen} if chosen else {}
    server = relay_server(app_with_headers(node, **headers))
    with server.connect_ws("/ws", subprotocols=offered) as ws:
        assert ws.response.headers.get("Sec-WebSocket-Protocol") == expected


# -- dialects (§3.4) -----------------------------------------------------------


def test_raw_dialect_hands_over_str_and_bytes(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        ws.send("text")
        ws.send(b"\x00binary")
        wait_until(lambda: len(target.payloads()) == 2)
    assert target.payloads() == ["text", b"\x00binary"]
    assert {message.sender for message in target.messages} == {target.client}


def test_envelope_dialect_wraps_client_messages(node, relay_server, target):
    """§3.3, §3.4"""
    server = relay_server(relay_app(node, target, dialect="envelope", metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        ws.send("text")
        ws.send(b"binary")
        wait_until(lambda: len(target.payloads()) == 2)
    about = {"client_pid": target.client, "metadata": {"user": 7}}
    assert target.payloads() == [
        {**about, "type": "text", "data": "text"},
        {**about, "type": "binary", "data": b"binary"},
    ]


def test_message_topic_is_the_apps_word(node, relay_server, target):
    """§3.1"""
    server = relay_server(relay_app(node, target, message_topic="chat.line"))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert target.wait_for("chat.line") == "hello"


WRAPPED = [
    pytest.param("größe", raw.TEXT, {"topic": "news", "data": "größe"}, id="str"),
    pytest.param(b"\x00\xff", raw.BINARY, {"topic": "news", "data": "AP8="}, id="bytes"),
    pytest.param(
        {"n": [1, None]}, raw.TEXT, {"topic": "news", "data": {"n": [1, None]}}, id="JSON"
    ),
    pytest.param(None, raw.TEXT, {"topic": "news", "data": None}, id="None"),
    pytest.param('{"a":1}', raw.TEXT, {"topic": "news", "data": '{"a":1}'}, id="JSON as str"),
]


@pytest.mark.parametrize(("payload", "opcode", "expected"), WRAPPED)
def test_any_other_topic_is_wrapped(node, relay_server, target, payload, opcode, expected):
    """§3.4"""
    server = relay_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        process.send(target.client, "news", payload)
        received = client.read_frame()
    assert received[0] == opcode
    assert json.loads(received[1]) == expected


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        pytest.param("news", object(), id="not JSON"),
        pytest.param("news", float("nan"), id="NaN"),
        pytest.param("ws.send", {"type": "text", "data": b"bytes"}, id="wrong type"),
        pytest.param("ws.send", {"type": "text"}, id="no data"),
        pytest.param("ws.send", "bare", id="no mapping"),
        pytest.param("ws.send", None, id="nothing"),
        pytest.param("ws.send", {"type": "text", "data": "\ud800"}, id="lone surrogate"),
        pytest.param("ws.close", 7, id="close with a number"),
        pytest.param("ws.control", "{", id="control with broken JSON"),
    ],
)
def test_bad_payload_is_logged_and_the_connection_lives(
    node, relay_server, target, caplog, topic, payload
):
    """§3.4: with both PIDs."""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        sender = node.spawn(process.send, (target.client, topic, payload))
        send_frame(target.client, "still there")
        assert ws.receive() == "still there"
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert sender in record.getMessage()
    assert target.client in record.getMessage()


OFFER = "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    ("fields", "offer", "agreed"),
    [
        pytest.param({"compression": True}, OFFER, True, id="on"),
        pytest.param({}, OFFER, False, id="off"),
        pytest.param({"compression": True}, None, False, id="not offered"),
        pytest.param({"compression": True}, "x-other", False, id="another offered"),
    ],
)
def test_compression_is_agreed_on_when_it_is_on(node, relay_server, target, fields, offer, agreed):
    """§3.9: and off by default."""
    server = relay_server(relay_app(node, target, **fields))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade(sec_websocket_extensions=offer)
    assert ("permessage-deflate" in answer.headers.get("Sec-WebSocket-Extensions", "")) is agreed


def test_compressed_messages_travel_both_ways(node, relay_server):
    """§3.9"""
    server = relay_server(relay_app(node, echo, compression=True))
    message = b"again and " * 1000
    deflater = zlib.compressobj(wbits=-15)
    deflated = (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(raw.frame(raw.TEXT, deflated, first=0xC0))
        opcode, payload = client.read_frame()
    assert opcode == raw.TEXT
    assert len(payload) < 200
    assert zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff") == message


def test_compressed_message_is_judged_by_its_inflated_size(node, relay_server, target):
    """§3.9"""
    server = relay_server(relay_app(node, target, compression=True, max_message_size=10_000))
    deflater = zlib.compressobj(wbits=-15)
    deflated = (deflater.compress(b"x" * 10_001) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(raw.frame(raw.TEXT, deflated, first=0xC0))
        assert client.read_close()[0] == 1009
    assert target.payloads() == []


# -- ws.close (§3.5) -----------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        pytest.param("bye", 1000, "bye", id="str"),
        pytest.param(None, 1000, "", id="None"),
        pytest.param({"code": 4001, "reason": "out"}, 4001, "out", id="mapping"),
        pytest.param({"code": 3000}, 3000, "", id="code only"),
        pytest.param({"reason": "done"}, 1000, "done", id="reason only"),
        pytest.param({"code": 1005, "reason": "x"}, 1011, "x", id="reserved code"),
        pytest.param({"code": 999}, 1011, "", id="code too low"),
        pytest.param({"code": 70000}, 1011, "", id="code too high"),
        pytest.param({"code": -1}, 1011, "", id="negative code"),
        pytest.param("ä" * 100, 1000, "ä" * 61, id="reason cut on a border"),
    ],
)
def test_close_sends_code_and_reason(node, relay_server, target, payload, code, reason):
    """§3.4, §3.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.close", payload)
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (code, reason)


def test_close_comes_behind_everything_queued(node, relay_server, target):
    """§3.5"""
    server = relay_server(relay_app(node, target, max_backlog=0))
    with server.connect_ws("/ws") as ws:
        for number in range(200):
            send_frame(target.client, f"{number}" * 5000)
        process.send(target.client, "ws.close", "done")
        for number in range(200):
            assert ws.receive() == f"{number}" * 5000
        assert ws.wait_closed().reason == "done"


def test_nothing_is_delivered_after_a_close(node, relay_server, target):
    """§3.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert process.send(target.client, "ws.close", "bye")
        assert not send_frame(target.client, "too late")
        assert ws.wait_closed().code == 1000


def test_leave_after_a_close_has_its_code_and_reason(node, relay_server, target):
    """§3.3, §3.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.close", {"code": 4001, "reason": "out"})
        ws.wait_closed()
    leave = target.wait_for("ws.leave")
    assert (leave["code"], leave["reason"]) == (4001, "out")


# -- ws.control (§3.6) ---------------------------------------------------------


def test_transfer_leaves_the_old_target_and_joins_the_new(node, relay_server, target):
    """§3.6"""
    other = Recorder()
    server = relay_server(relay_app(node, target, metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.control", {"target_pid": node.spawn(other)})
        ws.send("hello")
        assert other.wait_for("ws.message") == "hello"
    assert target.topics == ["ws.join", "ws.leave"]
    assert target.payloads("ws.leave")[0]["reason"] == "transferred"
    assert other.payloads("ws.join") == [{"client_pid": target.client, "metadata": {"user": 7}}]


def test_transfers_lose_no_message_and_show_none_twice(node, relay_server):
    """§3.6"""
    targets = [Recorder(), Recorder()]
    pids = [node.spawn(recorder) for recorder in targets]
    server = relay_server(relay_app(node, pids[0]))

    def seen():
        return targets[0].payloads() + targets[1].payloads()

    with server.connect_ws("/ws") as ws:
        for number in range(60):
            ws.send(str(number))
            wait_until(lambda number=number: len(seen()) >= number - 3)
            process.send(targets[0].client, "ws.control", {"target_pid": pids[number // 5 % 2]})
        wait_until(lambda: len(seen()) >= 60)
    assert sorted(seen(), key=int) == [str(number) for number in range(60)]
    assert all(recorder.payloads() for recorder in targets)


def test_control_may_be_json_text(node, relay_server, target):
    """§3.6"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(
            target.client, "ws.control", '{"message_topic": "line", "dialect": "envelope"}'
        )
        ws.send("hello")
        assert target.wait_for("line")["data"] == "hello"


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"target_pid": "proc@test/AAAAAAAAAAAAAAAA"}, id="dead target"),
        pytest.param({"target_pid": 7}, id="no PID"),
        pytest.param({"message_topic": "new", "heartbeat_interval": "soon"}, id="bad duration"),
        pytest.param({"message_topic": "new", "colour": "red"}, id="unknown field"),
        pytest.param(["message_topic"], id="no mapping"),
        pytest.param("[]", id="JSON, but no object"),
    ],
)
def test_bad_control_changes_nothing(node, relay_server, target, caplog, payload):
    """§3.6: ignored whole, and logged."""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.control", payload)
        ws.send("hello")
        assert target.wait_for("ws.message") == "hello"
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "ws.leave" not in target.topics[:-1]


def test_control_replaces_metadata_and_limits(node, relay_server, target):
    """§3.6"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.control", {"metadata": {"a": 1}, "max_message_size": 3})
        ws.send("four")
        assert ws.wait_closed().code == 1009
    assert target.wait_for("ws.leave")["metadata"] == {"a": 1}


# -- heartbeat (§3.3) ----------------------------------------------------------


def test_heartbeat_counts_seconds_and_messages(node, relay_server, target):
    """§3.3"""
    fields = {"heartbeat_interval": "50ms", "metadata": {"user": 7}}
    server = relay_server(relay_app(node, target, **fields))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        wait_until(lambda: len(target.payloads("ws.heartbeat")) >= 3)
    first, second = target.payloads("ws.heartbeat")[:2]
    assert first["client_pid"] == target.client
    assert first["metadata"] == {"user": 7}
    assert second["message_count"] == 1
    assert 0.05 <= first["uptime"] < second["uptime"] < 5


def test_control_switches_the_heartbeat_on(node, relay_server, target):
    """§3.6"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws"):
        process.send(target.client, "ws.control", {"heartbeat_interval": "50ms"})
        assert target.wait_for("ws.heartbeat")["message_count"] == 0


# -- the target's end (§3.7) ---------------------------------------------------


def crash():
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        pytest.param(lambda: None, 1000, "target process exited", id="returns"),
        pytest.param(lambda: process.exit(), 1000, "target process exited", id="exits"),
        pytest.param(lambda: process.exit("bored"), 1011, "target process failed", id="abnormal"),
        pytest.param(crash, 1011, "target process failed", id="crashes"),
        pytest.param(
            lambda: process.terminate(process.pid()), 1011, "target process failed", id="killed"
        ),
    ],
)
def test_end_of_the_target_closes_behind_what_it_sent(node, relay_server, end, code, reason):
    """§3.7"""

    def target():
        client = process.inbox().receive().sender
        for number in range(100):
            send_frame(client, str(number))
        end()

    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert [ws.receive() for _ in range(100)] == [str(number) for number in range(100)]
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (code, reason)


def test_cancelled_target_closes(node, relay_server, target):
    """§3.7, §2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        [pid] = [entity.pid for entity in node if entity.pid != target.client]
        process.cancel(pid)
        assert ws.wait_closed().reason == "target process exited"


# -- the connection as a process (§2.5, §3.8) ----------------------------------


def test_cancel_closes_a_connection_with_1001(node, relay_server, target):
    """§2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert process.cancel(target.client, "moving")
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (1001, "moving")
    assert target.wait_for("ws.leave")["code"] == 1001


def test_terminate_cuts_the_socket_at_once(node, relay_server, target, witness):
    """§2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: node.topology.watchers(target.client))
        process.terminate(target.client)
        assert ws.wait_closed().code == 1006
    assert witness.wait_for_reason() == "killed"


def too_many(ws):
    for _ in range(10):
        ws.send("more")


EXITS = [
    pytest.param({}, lambda ws: ws.close(1000), "normal", id="1000"),
    pytest.param({}, lambda ws: ws.close(1001), "normal", id="1001"),
    pytest.param({}, lambda ws: ws.close(4001), "connection_lost", id="another code"),
    pytest.param({}, lambda ws: ws.abort(), "connection_lost", id="no close frame"),
    pytest.param({"max_message_size": 3}, lambda ws: ws.send("four"), "message_too_big", id="big"),
    pytest.param({"max_rate": 2}, too_many, "rate_limited", id="rate"),
    pytest.param({"idle_timeout": "60ms"}, lambda ws: ws.wait_closed(), "idle_timeout", id="idle"),
]


@pytest.mark.parametrize(("fields", "act", "reason"), EXITS)
def test_monitor_learns_how_a_connection_ended(
    node, relay_server, target, witness, fields, act, reason
):
    """§3.8"""
    server = relay_server(relay_app(node, target, **fields))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: len(node.topology.watchers(target.client)) == 1)
        act(ws)
        assert witness.wait_for_reason() == reason
    wait_until(lambda: target.topics[-1] == "ws.leave")


def test_connection_that_is_told_to_close_ends_normally(node, relay_server, target, witness):
    """§3.8"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: node.topology.watchers(target.client))
        process.send(target.client, "ws.close", {"code": 4000})
        assert ws.wait_closed().code == 4000
    assert witness.wait_for_reason() == "normal"


def test_silent_client_is_pinged_and_given_up(node, relay_server, target, witness):
    """§8, §3.8: this one reads nothing and answers no ping."""
    server = relay_server(relay_app(node, target, ping_interval="100ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        witness.watch(target.client)
        assert witness.wait_for_reason() == "ping_timeout"
        assert client.read_frame() == (raw.PING, b"")
        assert client.read_close() == (1011, "ping timeout")


def test_client_that_answers_pings_stays(node, relay_server, target):
    """§3.9: any frame is a sign of life."""
    server = relay_server(relay_app(node, target, ping_interval="150ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        for _ in range(4):
            assert client.read_frame() == (raw.PING, b"")
            client.send(raw.frame(raw.PONG))
    assert "ws.leave" not in target.topics


def test_ping_is_answered_between_fragments(node, relay_server):
    """§3.9"""
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(raw.frame(raw.TEXT, b"one ", first=0), raw.frame(raw.PING, b"?"))
        assert client.read_frame() == (raw.PONG, b"?")
        client.send(raw.frame(0, b"message"))
        assert client.read_frame() == (raw.TEXT, b"one message")


def test_dead_connection_kills_who_is_linked(node, relay_server, witness):
    """§2.4, §3.8"""

    def linked():
        process.link(process.inbox().receive().sender)
        process.inbox().receive()

    pid = node.spawn(linked)
    witness.watch(pid)
    server = relay_server(relay_app(node, pid))
    with server.connect_ws("/ws") as ws:
        wait_until(lambda: node.topology.linked(pid))
        ws.abort()
        assert witness.wait_for_reason() == "connection_lost"


@pytest.mark.parametrize("end", ["close", "abort", "target"])
def test_nothing_is_left_of_a_connection(node, relay_server, target, end):
    """§3.8"""
    pid = node.spawn(target)
    server = relay_server(relay_app(node, pid, heartbeat_interval="10s"))
    with server.connect_ws("/ws") as ws:
        wait_until(lambda: target.topics)
        {"close": ws.close, "abort": ws.abort, "target": lambda: node.terminate(pid)}[end]()
    wait_until(lambda: len(list(node)) <= 1 and node.topology.is_empty())
    node.terminate(pid)
    wait_until(lambda: not leaks(node))


# -- backpressure (§8) ---------------------------------------------------------


def test_client_that_never_reads_is_closed_with_1013(node, relay_server, target, witness):
    """§8: and what waits for it stays within the backlog."""
    server = relay_server(relay_app(node, target, max_backlog=200_000))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        witness.watch(target.client)
        connection = node.find(target.client)
        gevent.sleep(0)
        while send_frame(target.client, "x" * 50_000):
            assert connection.transport.unsent <= 200_000
        assert client.read_close() == (1013, "slow consumer")
    assert witness.wait_for_reason() == "slow_consumer"


def test_slow_client_that_catches_up_stays(node, relay_server, target):
    """§8"""
    server = relay_server(relay_app(node, target, max_backlog=400_000))
    with server.connect_ws("/ws") as ws:
        for _ in range(20):
            for number in range(3):
                assert send_frame(target.client, f"{number}" * 100_000)
            assert [ws.receive()[0] for _ in range(3)] == ["0", "1", "2"]


def test_full_mailbox_pauses_reading_and_loses_nothing(node, relay_server):
    """§8"""
    go = gevent.event.Event()
    node.max_mailbox = 10
    target = Recorder(lambda message: go.wait())
    pid = node.spawn(target)
    server = relay_server(relay_app(node, pid))
    sent = [f"{number} {'x' * 1000}" for number in range(3000)]
    with server.connect_ws("/ws") as ws:
        sender = gevent.spawn(lambda: [ws.send(text) for text in sent])
        wait_until(lambda: node.find(pid).is_full)
        sender.join(timeout=0.2)
        assert len(node.find(pid).mailbox) < 100  # the mark, and one read of 64 KiB
        go.set()
        wait_until(lambda: len(target.payloads()) == len(sent))
    assert target.payloads() == sent


def test_connection_of_a_busy_target_can_be_closed(node, relay_server, target):
    """§3.5, §8: the client's close frame is read however full the mailbox is."""
    node.max_mailbox = 1
    go = gevent.event.Event()
    pid = node.spawn(lambda: go.wait() and target())
    server = relay_server(relay_app(node, pid))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        [client] = [entity.pid for entity in node if entity.pid != pid]
        process.send(client, "ws.close", "bye")
        assert ws.wait_closed().reason == "bye"
        wait_until(lambda: not node.is_alive(client))
    go.set()
    assert target.wait_for("ws.leave")["code"] == 1000


def test_upgrade_reaches_a_view_that_has_a_post_beside_it(node, relay_server):
    """§3.1: Werkzeug answers 405 when no rule of the URL has both the method and the upgrade."""
    app = relay_app(node, echo)
    app.add_url_rule("/ws", "say", lambda: "said", methods=["POST"])
    with relay_server(app).connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
