"""Every limit, what its breach answers, and where that shows (§8)."""

import contextlib
import time

import gevent
import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.errors import ConfigurationError
from greenrelay.testing import UpgradeRefused, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

# -- each breach: close code, counter, line in the log -------------------------


def flood(node, client):
    """Send to a client that does not read."""
    [connection] = [entity for entity in node if entity.pid.host == "ws"]
    while send_frame(connection.pid, "x" * 50_000):
        pass


def say(*frames):
    """Return what sends these frames."""
    return lambda node, client: client.send(*frames)


BREACHES = [
    pytest.param(
        {"max_message_size": 3},
        say(raw.text("four")),
        (1009, "messages hold 3 bytes at most"),
        "message_too_big",
        id="message",
    ),
    pytest.param(
        {"max_message_size": 3},
        say(raw.frame(raw.TEXT, b"", length=1 << 40)),
        (1009, "messages hold 3 bytes at most"),
        "message_too_big",
        id="announced message",
    ),
    pytest.param(
        {"max_message_size": 3},
        say(raw.frame(raw.TEXT, b"fo", first=0), raw.frame(0, b"ur")),
        (1009, "messages hold 3 bytes at most"),
        "message_too_big",
        id="fragments",
    ),
    pytest.param(
        {"max_rate": 2}, say(raw.text("x") * 3), (1008, "rate limited"), "rate_limited", id="rate"
    ),
    pytest.param(
        {"max_rate": 2},
        say(raw.frame(raw.PONG) * 3),
        (1008, "rate limited"),
        "rate_limited",
        id="rate of control frames",
    ),
    pytest.param(
        {"idle_timeout": "60ms"}, say(), (1000, "idle timeout"), "idle_timeout", id="idle"
    ),
    pytest.param(
        {"ping_interval": "60ms"}, say(), (1011, "ping timeout"), "ping_timeout", id="ping"
    ),
    pytest.param(
        {"max_backlog": 100_000}, flood, (1013, "slow consumer"), "slow_consumer.closed", id="slow"
    ),
    pytest.param(
        {},
        say(raw.frame(raw.TEXT, b"x", mask=b"")),
        (1002, "client frames must be masked"),
        "protocol_error",
        id="protocol",
    ),
]


@pytest.mark.parametrize(("fields", "breach", "close", "count"), BREACHES)
def test_breach_has_its_code_its_counter_and_its_line(
    node, relay_server, caplog, fields, breach, close, count
):
    """§8"""
    target = Recorder()
    server = relay_server(relay_app(node, target, **fields))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        breach(node, client)
        assert client.read_close() == close
        client.send(raw.close())
        target.wait_for("ws.leave")
    assert node.counts == {count: 1}
    assert [target.client in record.getMessage() for record in caplog.records] == [True]


def test_client_that_vanishes_is_counted(node, relay_server, target):
    """§3.8"""
    server = relay_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.upgrade()
    target.wait_for("ws.leave")
    assert node.counts == {"connection_lost": 1}


def test_zero_is_off(node, relay_server):
    """§8"""
    off = {"max_message_size": 0, "max_backlog": 0, "max_rate": 0}
    times = {"ping_interval": "0s", "idle_timeout": "0s", "heartbeat_interval": "0s"}
    server = relay_server(relay_app(node, echo, **off, **times))
    with server.connect_ws("/ws") as ws:
        for _ in range(3):
            ws.send("x" * (2 << 20))
        for _ in range(3):
            assert len(ws.receive()) == 2 << 20
    assert node.counts == {}


# -- slow consumers ------------------------------------------------------------


@pytest.fixture
def crowd(node, relay_server, target):
    """A client that reads nothing, 200 others, and the PIDs of all, in this order."""
    fields = {"max_backlog": 100_000, "slow_consumer": "drop_old"}
    server = relay_server(relay_app(node, node.spawn(target), **fields))
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(raw.RawClient(server.url, receive_buffer=4096))
        others = [stack.enter_context(raw.RawClient(server.url)) for _ in range(200)]
        for client in [slow, *others]:
            client.upgrade()
        wait_until(lambda: len(target.payloads("ws.join")) == 201)
        yield others, [join["client_pid"] for join in target.payloads("ws.join")]


def test_slow_reader_delays_nobody_and_costs_no_more_than_its_backlog(node, crowd):
    """§8: among 200 others, who get everything while it reads nothing."""
    others, pids = crowd
    for number in range(60):
        process.broadcast(pids, "ws.send", {"type": "text", "data": f"{number:02}" * 50_000})
        for client in others:
            assert client.read_frame()[1][:2] == b"%02d" % number
    transport = node.find(pids[0]).transport
    assert 0 < transport.unsent <= 200_000  # one that has begun, and the backlog
    assert node.counts["slow_consumer.dropped"] > 0


def numbered(node, server, target):
    """Send 200 messages to a client that reads nothing yet; return the numbers of those it gets."""
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        connection = node.find(target.client)
        wait_until(lambda: connection.state.name == "OPEN")
        for number in range(200):
            assert send_frame(target.client, f"{number:03}" * 10_000)
        assert connection.transport.unsent <= 130_000
        process.send(target.client, "ws.close")
        numbers = []
        while (received := client.read_frame())[0] == raw.TEXT:
            text = received[1].decode()
            assert text == text[:3] * 10_000
            numbers.append(int(text[:3]))
        client.send(raw.close())
    return numbers


@pytest.mark.parametrize("policy", ["drop_new", "drop_old"])
def test_dropping_keeps_messages_whole_and_in_order(node, relay_server, target, policy):
    """§8"""
    fields = {"max_backlog": 100_000, "slow_consumer": policy}
    server = relay_server(relay_app(node, target, **fields))
    numbers = numbered(node, server, target)
    begun = next(index for index in range(200) if index not in numbers)
    if policy == "drop_new":
        assert numbers == list(range(begun))
    else:
        assert numbers == [*range(begun), *range(200 - len(numbers) + begun, 200)]
        assert numbers[-1] == 199
    assert 3 < len(numbers) < 200
    assert node.counts == {"slow_consumer.dropped": 200 - len(numbers)}


def test_client_that_reads_again_gets_what_comes_then(node, relay_server, target):
    """§8: dropping is no punishment."""
    fields = {"max_backlog": 50_000, "slow_consumer": "drop_new"}
    server = relay_server(relay_app(node, target, **fields))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        connection = node.find(target.client)
        wait_until(lambda: connection.state.name == "OPEN")
        wait_until(lambda: send_frame(target.client, "x" * 50_000) and node.counts)
        while connection.transport.unsent:
            client.read_frame()
            gevent.sleep(0)
        send_frame(target.client, "again")
        wait_until(lambda: client.read_frame() == (raw.TEXT, b"again"))


# -- rates ---------------------------------------------------------------------


def test_rate_allows_a_burst_and_refills(node, relay_server, target):
    """§8: messages per second, burst of the same."""
    server = relay_server(relay_app(node, target, max_rate=20))
    started = time.monotonic()
    with server.connect_ws("/ws") as ws:
        for number in range(20):
            ws.send(str(number))
        wait_until(lambda: len(target.payloads()) == 20)
        wait_until(lambda: time.monotonic() > started + 0.3)
        for number in range(5):
            ws.send(str(number))
        wait_until(lambda: len(target.payloads()) == 25)


def test_rate_counts_messages_and_not_their_fragments(node, relay_server, target):
    """§8"""
    server = relay_server(relay_app(node, target, max_rate=2))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(raw.frame(raw.TEXT, b"x", first=0) + raw.frame(0, b"x", first=0) * 20)
        client.send(raw.frame(0, b"x"))
        assert target.wait_for("ws.message") == "x" * 22


# -- silence -------------------------------------------------------------------


def test_half_open_client_is_found_by_its_silence(node, relay_server, target, witness):
    """§8: its machine has lost its network: nothing comes, not even an end."""
    server = relay_server(relay_app(node, target, ping_interval="100ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        witness.watch(target.client)
        started = time.monotonic()
        assert witness.wait_for_reason() == "ping_timeout"
        assert 0.1 < time.monotonic() - started < 1
        assert target.wait_for("ws.leave")["code"] == 1011


def test_idle_timeout_does_not_count_the_servers_pings(node, relay_server, target):
    """§8: nor the pongs to them."""
    fields = {"ping_interval": "50ms", "idle_timeout": "300ms"}
    server = relay_server(relay_app(node, target, **fields))
    started = time.monotonic()
    with server.connect_ws("/ws") as ws:  # answers pings
        assert ws.wait_closed().reason == "idle timeout"
    assert 0.3 <= time.monotonic() - started < 1


@pytest.mark.parametrize("talker", ["client", "client's pings", "server"])
def test_idle_timeout_starts_anew_with_each_message(node, relay_server, target, talker):
    """§8"""
    server = relay_server(relay_app(node, target, idle_timeout="300ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            if talker == "server":
                send_frame(target.client, "hello")
            else:
                client.send(raw.text("hello") if talker == "client" else raw.frame(raw.PING))
            gevent.sleep(0.05)
        assert "ws.leave" not in target.topics
        assert client.read_close() == (1000, "idle timeout")


# -- mailboxes -----------------------------------------------------------------


def test_full_mailbox_stops_the_reading_until_half_of_it_is_done(node, relay_server):
    """§8: and nothing is lost."""
    node.max_mailbox = 20
    go_on = gevent.event.Event()
    seen = []

    def busy():
        for message in process.inbox():
            go_on.wait()
            seen.append(message)

    server = relay_server(relay_app(node, busy))
    with server.connect_ws("/ws") as ws:
        [connection] = [entity for entity in node if entity.pid.host == "ws"]
        sending = gevent.spawn(lambda: [ws.send("x" * 10_000) for _ in range(2000)])
        wait_until(lambda: not connection.transport.is_reading)
        assert connection.message_count < 200
        go_on.set()
        sending.join()
        wait_until(lambda: len(seen) == 2001)


# -- quotas --------------------------------------------------------------------


def quota_app(node, **limits):
    """Return an app with both relays and so many connections."""
    app = Flask("quota")
    app.config.update({f"GREENRELAY_{name.upper()}": value for name, value in limits.items()})
    relay = GreenRelay(app, node=node)
    app.add_url_rule("/ws", "ws", lambda: relay.websocket(process.spawn(echo)))
    app.add_url_rule("/sse", "sse", lambda: relay.sse(process.spawn(echo)))
    return app


QUOTAS = [
    pytest.param("max_connections", b"this server has too many connections\n", id="node"),
    pytest.param(
        "max_connections_per_address", b"this address has too many connections\n", id="address"
    ),
]


@pytest.mark.parametrize(("limit", "body"), QUOTAS)
def test_connection_too_many_is_refused(node, relay_server, caplog, limit, body):
    """§8, §10.6: 503 `Retry-After`, a counter, a warning in the log."""
    server = relay_server(quota_app(node, **{limit: 2}))
    with server.connect_ws("/ws"), server.connect_ws("/ws"):
        with pytest.raises(UpgradeRefused) as refused:
            server.connect_ws("/ws")
        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"] == "5"
        assert refused.value.body == body
        assert node.counts == {"refused.quota": 1}
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        wait_until(lambda: len(list(node)) == 4)  # the refused one's target is cancelled


@pytest.mark.parametrize("end", ["close", "abort"])
def test_room_is_free_again_when_a_connection_has_ended(node, relay_server, end):
    """§8"""
    server = relay_server(quota_app(node, max_connections=1, max_connections_per_address=1))
    for _ in range(3):
        with server.connect_ws("/ws") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"
            getattr(ws, end)()
        wait_until(lambda: not any(entity.pid.host == "ws" for entity in node))


def test_streams_and_websockets_share_the_room(node, relay_server):
    """§8"""
    server = relay_server(quota_app(node, max_connections=2))
    with server.connect_ws("/ws"), server.connect_sse("/sse"):
        for connect, path in ((server.connect_ws, "/ws"), (server.connect_sse, "/sse")):
            with pytest.raises(UpgradeRefused, match="503"):
                connect(path)


def test_refused_request_takes_no_room(node, relay_server):
    """§8"""
    server = relay_server(quota_app(node, max_connections=1))
    for _ in range(3):
        with pytest.raises(UpgradeRefused, match="403"):
            server.connect_ws("/ws", origin="https://evil.example")
    with server.connect_ws("/ws"):
        pass


def test_address_is_the_peers(node, relay_server):
    """§8: what a client says about itself is not believed."""
    server = relay_server(quota_app(node, max_connections_per_address=1))
    with server.connect_ws("/ws"), pytest.raises(UpgradeRefused, match="503"):
        server.connect_ws("/ws", headers={"X-Forwarded-For": "203.0.113.7"})


@pytest.mark.parametrize("value", [-1, "many", 1.5, None, True])
def test_quota_that_is_no_number_is_a_mistake(node, value):
    """§10.1: said at the start."""
    with pytest.raises(ConfigurationError, match="GREENRELAY_MAX_CONNECTIONS"):
        quota_app(node, max_connections=value)
