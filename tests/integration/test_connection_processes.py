"""Connections take part like any process: watched, linked, ended, named, grouped (§2)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import send_frame
from tests.sample_processes import Stage, collect, crash

pytestmark = pytest.mark.usefixtures("no_socket_left")


@pytest.fixture(params=["ws", "sse"])
def kind(request):
    return request.param


@pytest.fixture
def guest(one_target, kind):
    """A client, and the PID of its connection."""
    client, pid = one_target.enter(kind)
    with client:
        yield client, pid


@pytest.fixture
def stage(node):
    """A process that calls what a test sends it."""
    return Stage(node)


def leave(client):
    """Go as a browser does whose page is closed."""
    client.close()


def vanish(client):
    """Go without a word."""
    getattr(client, "abort", client.close)()


# -- monitors (§2.3) -----------------------------------------------------------


@pytest.mark.parametrize("go", [leave, vanish])
def test_each_monitor_of_a_connection_brings_one_exit(guest, stage, go):
    """§2.3"""
    client, pid = guest
    refs = [stage.do(process.monitor, pid) for _ in range(2)]
    go(client)
    exits = [stage.do(lambda: process.events().receive(timeout=5)) for _ in refs]
    assert [exit.ref for exit in exits] == refs
    assert {exit.sender for exit in exits} == {pid}
    assert stage.do(lambda: process.events().receive(timeout=0.005)) is None


def test_monitor_of_a_connection_that_is_gone_is_noproc(one_target, guest, stage):
    """§2.3"""
    client, pid = guest
    client.close()
    wait_until(lambda: not one_target.node.is_alive(pid))
    stage.do(process.monitor, pid)
    assert stage.do(lambda: process.events().receive(timeout=5)).reason == "noproc"


def test_unmonitored_connection_ends_in_silence(one_target, guest, stage):
    """§2.3"""
    client, pid = guest
    stage.do(process.unmonitor, stage.do(process.monitor, pid))
    client.close()
    wait_until(lambda: not one_target.node.is_alive(pid))
    assert stage.do(lambda: process.events().receive(timeout=0.005)) is None


# -- links (§2.4) --------------------------------------------------------------


def test_connection_that_is_lost_kills_who_is_linked(one_target, guest, stage, observer):
    """§2.4, §3.8"""
    client, pid = guest
    stage.do(process.link, pid)
    observer.watch(stage.pid)
    vanish(client)
    assert observer.wait_for(stage.pid).reason == "connection_lost"


def test_connection_that_is_lost_is_news_to_a_trapper(guest, stage):
    """§2.4"""
    client, pid = guest
    stage.do(process.trap_links)
    stage.do(process.link, pid)
    vanish(client)
    news = stage.do(lambda: process.events().receive(timeout=5))
    assert (news.kind, news.sender, news.reason) == ("pid.link.down", pid, "connection_lost")


def test_normal_end_of_a_connection_kills_nobody(one_target, stage):
    """§2.4, §3.8"""
    client, pid = one_target.enter("ws")
    stage.do(process.link, pid)
    client.close(1000)
    wait_until(lambda: not one_target.node.is_alive(pid))
    assert stage.do(process.pid) == stage.pid


@pytest.mark.parametrize(
    ("end", "is_closed"),
    [(crash, True), (lambda: process.exit("bad"), True), (process.exit, False)],
)
def test_who_is_linked_takes_the_connection_along(one_target, kind, stage, end, is_closed):
    """§2.4: unless its end is normal."""
    client, pid = one_target.enter(kind)
    with client:
        stage.do(process.link, pid)
        one_target.node.send(stage.pid, "do", end)
        wait_until(lambda: not one_target.node.is_alive(stage.pid))
        gevent.idle()
        info = process.info(pid)
        assert (info is None or info["state"] == "closing") == is_closed


def test_client_of_a_linked_connection_is_told(one_target, stage):
    """§2.4: 1011, as when the target fails."""
    client, pid = one_target.enter("ws")
    stage.do(process.link, pid)
    process.terminate(stage.pid)
    assert client.wait_closed().code == 1011
    client.close()


def test_two_connections_may_be_linked(one_target):
    """§2.4: neither is a process with code of its own."""
    (one, pid), (other, other_pid) = one_target.enter("ws"), one_target.enter("ws")
    one_target.node.link(one_target.node.find(pid), other_pid)
    one.abort()
    assert other.wait_closed().code == 1011
    other.close()


# -- cancel, terminate (§2.5) --------------------------------------------------


def test_cancelled_connection_closes_in_good_order(one_target, observer):
    """§2.5: 1001"""
    client, pid = one_target.enter("ws")
    observer.watch(pid)
    assert process.cancel(pid, "enough")
    closed = client.wait_closed()
    assert (closed.code, closed.reason) == (1001, "enough")
    assert observer.wait_for(pid).reason == "cancelled"
    client.close()


def test_terminated_connection_is_cut(one_target, guest, observer):
    """§2.5: the socket at once."""
    client, pid = guest
    observer.watch(pid)
    assert process.terminate(pid)
    assert not process.is_alive(pid)
    assert observer.wait_for(pid).reason == "killed"
    wait_until(lambda: one_target.count("leave") == 1)


def test_who_terminates_what_it_is_linked_with_dies_of_it(one_target, guest, stage, observer):
    """§2.4: but only when the connection's end is complete, its socket closed."""
    client, pid = guest
    transport = one_target.node.find(pid).transport
    stage.do(process.link, pid)
    observer.watch(stage.pid)
    one_target.node.send(stage.pid, "do", lambda: process.terminate(pid))
    assert observer.wait_for(stage.pid).reason == "killed"
    assert transport.receiver is None


def test_send_to_a_slow_client_never_raises(one_target, stage, observer):
    """§2: even if that ends the client, and the client's end the sender."""
    one_target.fields, answers = {"max_backlog": 100_000}, []
    with raw.RawClient(one_target.server.url, receive_buffer=4096) as client:
        client.upgrade()
        pid = wait_until(lambda: one_target.messages)[0].sender
        stage.do(process.link, pid)
        observer.watch(stage.pid)
        one_target.node.send(stage.pid, "do", lambda: flood(pid, answers))
        assert observer.wait_for(stage.pid).reason == "slow_consumer"
    assert (answers[0], answers[-1]) == (True, False)


def flood(pid, answers):
    """Send until nobody takes any more."""
    while not answers or answers[-1]:
        answers.append(send_frame(pid, "x" * 50_000))


# -- names, groups, timers (§2) ------------------------------------------------


def test_connection_may_have_a_name(one_target, guest):
    """§2: until it ends."""
    client, pid = guest
    process.registry.register("screen", pid)
    assert process.registry.lookup("screen") == pid
    assert process.send("screen", "news", 1)
    client.close()
    wait_until(lambda: process.registry.lookup("screen") is None)


def test_name_of_a_connection_is_taken(one_target, guest):
    """§2: whoever holds it."""
    _, pid = guest
    process.registry.register("screen", pid)
    assert process.spawn(crash, name="screen") == pid


def test_group_reaches_connections_and_processes(one_target, node):
    """§2"""
    messages, group = [], process.group("room")
    group.join(node.spawn(collect, (messages,)))
    clients = [one_target.enter("ws") for _ in range(3)]
    for _, pid in clients:
        group.join(pid)
    assert group.broadcast("news", {"a": 1}) == 4
    for client, _ in clients:
        assert client.receive_json() == {"topic": "news", "data": {"a": 1}}
        client.close()
    wait_until(lambda: len(group.members()) == 1)
    assert messages[0].payload == {"a": 1}


def test_message_may_reach_a_client_later(one_target, guest):
    """§2"""
    client, pid = guest
    process.send_after(0.01, pid, "sse.message", "late")
    received = client.receive()
    assert "late" in getattr(received, "data", received)


def test_timers_of_a_connection_end_with_it(one_target, guest):
    """§2"""
    client, pid = guest
    process.send_after(60, pid, "late")
    client.close()
    wait_until(lambda: len(one_target.node.table.timers) == 0)


def test_message_for_a_connection_that_is_gone_is_not_taken(one_target, guest):
    """§2.1"""
    client, pid = guest
    client.close()
    wait_until(lambda: not one_target.node.is_alive(pid))
    assert process.send(pid, "news") is False


def test_connection_replies_to_no_call(guest):
    """§2: its client gets the message, as any other."""
    _, pid = guest
    with pytest.raises(TimeoutError, match="no reply"):
        process.call(pid, "sse.message", "?", timeout=0.01)


def test_info_of_a_connection(one_target, guest, stage):
    """§2"""
    _, pid = guest
    process.group("room").join(pid)
    stage.do(process.monitor, pid)
    info = process.info(pid)
    assert {key: info[key] for key in ("pid", "groups", "links", "watchers", "target")} == {
        "pid": pid,
        "groups": ["room"],
        "links": [],
        "watchers": 1,
        "target": one_target.target,
    }
    assert info["remote_address"].startswith("127.0.0.1:")
    assert (info["uptime"] >= 0, info["unsent"], info["messages_in"]) == (True, 0, 0)
