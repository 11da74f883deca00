"""What a target tells its connection: close, change, beat (§3.3 to §3.6)."""

import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration.apps import Recorder, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

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
