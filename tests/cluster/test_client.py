"""A program that is no node talks to a cluster (§7.8), whose nodes are real."""

import os
import sys
import threading
from datetime import date
from pathlib import Path

import pytest
from gevent import subprocess

from greenrelay import process
from greenrelay.cluster.client import connect
from greenrelay.errors import (
    CallTimeout,
    ClusterError,
    ConfigurationError,
    NameNotRegistered,
    NotPortable,
    ProcessDown,
)
from greenrelay.pid import PID
from greenrelay.testing import wait_until
from tests.cluster.clients import SECONDS, SECRET, nodes, redis_server

__all__ = ["nodes", "redis_server"]

ONLY_LOCAL = pytest.mark.parametrize("nodes", ["local"], indirect=True)

NOBODY = "proc@one/AAAAAAAAAAAAAAAA"


def note(got):
    """Keep what comes."""
    for message in process.inbox():
        got.append((message.topic, message.payload, message.sender))


def answer():
    """Reply with what was asked, and end when asked to."""
    for message in process.inbox():
        if message.topic == "end":
            return
        if message.topic != "be silent":
            message.reply([message.topic, message.payload])


@pytest.fixture
def node(nodes):
    return nodes.node("one")


@pytest.fixture
def got(nodes, node):
    """What the process `box` has got."""
    got = []
    nodes.spawn(node, note, got, name="box")
    return got


@pytest.fixture
def server(nodes, node):
    """The PID of a process that answers, by the name `server`."""
    return nodes.spawn(node, answer, name="server")


# -- send ---------------------------------------------------------------------------------


def test_a_message_to_a_name_arrives(nodes, got):
    """§7.8"""
    assert nodes.there(nodes.client().send, "box", "hello", {"a": (1, 2), "on": date(2026, 1, 2)})
    wait_until(lambda: got, SECONDS)
    assert got == [("hello", {"a": [1, 2], "on": date(2026, 1, 2)}, None)]


def test_a_message_to_a_pid_arrives(nodes, node, got):
    """§7.8"""
    assert nodes.there(nodes.client().send, str(node.registry.lookup("box")), "hello")
    wait_until(lambda: got, SECONDS)


def test_what_was_sent_before_the_end_arrives(nodes, got):
    """§7.8: leaving the `with` statement loses nothing."""

    def program():
        with connect(nodes.url) as client:
            for number in range(2000):
                client.send("box", "n", [number, "x" * 1000])

    nodes.there(program)
    wait_until(lambda: len(got) == 2000, SECONDS)
    assert [payload[0] for _, payload, _ in got] == list(range(2000))


def test_a_message_to_a_node_that_is_no_member_is_not_sent(nodes, node):
    """§7.3"""
    assert nodes.there(nodes.client().send, "proc@elsewhere/AAAAAAAAAAAAAAAA", "hello") is False


def test_a_name_that_nobody_holds_is_told(nodes, node):
    """§7.8"""
    client = nodes.client()
    with pytest.raises(NameNotRegistered, match="who holds the name 'nobody'"):
        nodes.there(client.send, "nobody", "hello")


@pytest.mark.parametrize("payload", [object(), {"big": bytes(1024 * 1024)}], ids=["what", "size"])
def test_what_can_not_travel_is_told_to_the_sender(nodes, got, payload):
    """§7.4"""
    client = nodes.client()
    with pytest.raises((NotPortable, ValueError)):
        nodes.there(client.send, "box", "hello", payload)


@pytest.mark.parametrize("topic", ["", "@reply"])
def test_a_topic_is_checked(nodes, got, topic):
    client = nodes.client()
    with pytest.raises(ValueError, match="topic"):
        nodes.there(client.send, "box", topic)


def test_a_new_name_becomes_known(nodes, node):
    """§7.8"""
    client = nodes.client()
    pid = nodes.spawn(node, answer, name="later")
    wait_until(lambda: nodes.there(client.lookup, "later") == pid, SECONDS)


def test_a_name_is_looked_up(nodes, server):
    """§7.8"""
    client = nodes.client()
    assert nodes.there(client.lookup, "server") == server
    assert type(nodes.there(client.lookup, "server")) is PID
    assert nodes.there(client.lookup, "nobody") is None


def test_a_name_is_forgotten_with_its_process(nodes, server):
    """§7.6"""
    client = nodes.client()
    nodes.there(client.send, "server", "end")
    wait_until(lambda: nodes.there(client.lookup, "server") is None, SECONDS)


# -- broadcast ----------------------------------------------------------------------------


def test_a_broadcast_reaches_processes_of_several_nodes(nodes):
    """§7.5, §7.8"""
    got = [[], [], []]
    one, two = nodes.node("one"), nodes.node("two")
    pids = [nodes.spawn(node, note, box) for node, box in zip((one, one, two), got, strict=True)]
    sent = nodes.there(nodes.client().broadcast, [*pids, "nobody", "no pid@"], "all", 1)
    wait_until(lambda: all(got), SECONDS)
    assert (sent, got) == (3, [[("all", 1, None)]] * 3)


def test_a_broadcast_to_more_than_an_envelope_holds_reaches_all(nodes, node):
    """§7.5"""
    got = []
    pid = nodes.spawn(node, note, got)
    url = f"{nodes.url}&max_envelope=8KiB"
    assert nodes.there(nodes.client(url).broadcast, [pid] * 1000, "all", "x" * 100) == 1000
    wait_until(lambda: len(got) == 1000, SECONDS)


def test_a_broadcast_to_one_pid_is_a_mistake(nodes, server):
    client = nodes.client()
    with pytest.raises(TypeError, match=r"send\("):
        nodes.there(client.broadcast, server, "all")


def test_a_group_is_told_on_all_nodes(nodes):
    """§7.5, §7.8"""
    one, two = nodes.node("one"), nodes.node("two")
    got = []
    for node in (one, two):
        with process.on_node(node):
            process.group("all").join(nodes.spawn(node, note, got))
    group = nodes.client().group("all")
    wait_until(lambda: len(nodes.there(group.members)) == 2, SECONDS)
    assert nodes.there(group.broadcast, "hello", 1) == 2
    wait_until(lambda: got == [("hello", 1, None)] * 2, SECONDS)


def test_a_group_without_members_is_told_nothing(nodes, node):
    group = nodes.client().group("none")
    assert nodes.there(group.broadcast, "hello") == 0


# -- call ---------------------------------------------------------------------------------


def test_a_call_gets_its_reply(nodes, server):
    """§7.8"""
    assert nodes.there(nodes.client().call, "server", "ask", {"a": 1}) == ["ask", {"a": 1}]


def test_a_call_to_a_dead_process_ends_at_once(nodes, node):
    """§7.8"""
    client = nodes.client()
    with pytest.raises(ProcessDown, match="noproc"):
        nodes.there(client.call, NOBODY, "ask", timeout=SECONDS)


def test_a_call_ends_with_its_callee(nodes, server):
    """§7.8"""
    client = nodes.client()
    with pytest.raises(ProcessDown, match="normal"):
        nodes.there(client.call, "server", "end", timeout=SECONDS)


def test_a_call_to_a_node_that_is_no_member_ends_at_once(nodes, node):
    """§7.2"""
    client = nodes.client()
    with pytest.raises(ProcessDown, match="noconnection"):
        nodes.there(client.call, "proc@elsewhere/AAAAAAAAAAAAAAAA", "ask")


def test_a_call_without_a_reply_ends_in_time(nodes, server):
    """§7.8"""
    client = nodes.client()
    with pytest.raises(CallTimeout, match="no reply from server to 'be silent' in 0.05 s"):
        nodes.there(client.call, "server", "be silent", timeout=0.05)


def test_a_call_leaves_no_monitor_behind(nodes, node, server):
    """§2.3"""
    client = nodes.client()
    nodes.there(client.call, "server", "ask")
    wait_until(lambda: not node.table.topology.refs(server), SECONDS)


def test_many_threads_call_at_once(nodes, server):
    """§7.8: each gets its own reply."""
    client = nodes.client()
    wrong = []

    def work(number):
        for turn in range(50):
            if client.call("server", "ask", [number, turn]) != ["ask", [number, turn]]:
                wrong.append((number, turn))

    def program():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)

    nodes.there(program)
    assert not wrong


# -- coming and going ---------------------------------------------------------------------


def test_nodes_lose_a_client_that_is_closed(nodes, node):
    """§7.8"""
    client = nodes.client()
    peers = node.table.elsewhere.peers
    wait_until(lambda: len(peers) == 1, SECONDS)
    nodes.there(client.close)
    wait_until(lambda: len(peers) == 0, SECONDS)


def test_a_call_that_waits_ends_when_the_client_is_closed(nodes, server):
    client = nodes.client()
    call = nodes.soon(client.call, "server", "be silent", timeout=None)
    wait_until(lambda: client._visitor._calls, SECONDS)
    nodes.there(client.close)
    with pytest.raises(ClusterError, match="closed"):
        call.get()


def test_a_call_ends_when_its_node_leaves(nodes, server):
    """§7.2"""
    client = nodes.client()
    call = nodes.soon(client.call, "server", "be silent", timeout=None)
    wait_until(lambda: client._visitor._calls, SECONDS)
    nodes.backends["one"].stop()
    with pytest.raises(ProcessDown, match="noconnection"):
        call.get()


def test_a_closed_client_says_so(nodes, node):
    client = nodes.client()
    nodes.there(client.close)
    nodes.there(client.close)
    with pytest.raises(ClusterError, match=r"closed; connect\(\) gives another"):
        nodes.there(client.send, NOBODY, "hello")


def test_a_node_that_comes_later_is_talked_to(nodes, node):
    """§7.8"""
    client = nodes.client()
    got = []
    pid = nodes.spawn(nodes.node("two"), note, got)
    wait_until(lambda: nodes.there(client.send, pid, "hello"), SECONDS)
    wait_until(lambda: got, SECONDS)


def test_a_client_may_come_before_any_node(nodes):
    """§7.8: a worker starts when it starts."""
    client = nodes.client()
    got = []
    nodes.spawn(nodes.node("one"), note, got, name="box")
    wait_until(lambda: nodes.there(client.lookup, "box"), SECONDS)
    assert nodes.there(client.send, "box", "hello")
    wait_until(lambda: got, SECONDS)


def test_a_client_that_was_taken_for_lost_comes_back(nodes, server):
    """§7.2"""
    client = nodes.client()
    before = client._visitor.me
    nodes.take_for_lost("one", client)
    wait_until(lambda: client._visitor.me != before, SECONDS)
    assert nodes.there(client.call, "server", "ask", 1) == ["ask", 1]


def test_another_secret_reaches_nobody(nodes, got):
    """§7.4"""
    with pytest.raises(ClusterError, match=r"no node is understood: .*; is the secret the same\?"):
        nodes.client(f"{nodes.address}&secret=another", timeout=0.5)


# -- other programs -----------------------------------------------------------------------

PROGRAM = """
import sys
import greenrelay
with greenrelay.connect(sys.argv[1]) as cluster:
    print(cluster.call("server", "ask", 1))
print([name for name in ("gevent", "flask") if name in sys.modules])
"""

ASYNCIO = """
import asyncio, sys
import greenrelay
async def main():
    cluster = await asyncio.to_thread(greenrelay.connect, sys.argv[1])
    calls = [asyncio.to_thread(cluster.call, "server", "ask", number) for number in range(3)]
    print(await asyncio.gather(*calls))
    await asyncio.to_thread(cluster.close)
asyncio.run(main())
"""

FORK = """
import os, sys
import greenrelay
cluster = greenrelay.connect(sys.argv[1])
for _ in range(2):
    if os.fork() == 0:
        print(cluster.call("server", "ask", "child"), flush=True)
        cluster.close()
        os._exit(0)
    os.wait()
print(cluster.call("server", "ask", "parent"))
"""


def run(nodes, *arguments, **options):
    """Run Python in another interpreter, beside the nodes; return how it ended."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": nodes.directory},
        capture_output=True,
        text=True,
        timeout=30,
        **options,
    )


PROGRAMS = {
    "without gevent": (PROGRAM, "['ask', 1]\n[]\n"),
    "asyncio": (ASYNCIO, "[['ask', 0], ['ask', 1], ['ask', 2]]\n"),
    "fork": (FORK, "['ask', 'child']\n['ask', 'child']\n['ask', 'parent']\n"),
}


@pytest.mark.parametrize(("code", "printed"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_is_a_client(nodes, server, code, printed):
    """§7.8"""
    done = run(nodes, "-c", code, nodes.url)
    assert (done.stdout, done.stderr) == (printed, "")


def test_a_program_that_forgets_to_close_leaves_cleanly(nodes, node, server, caplog):
    """§7.8: no node takes it for lost."""
    code = "import sys, greenrelay; print(greenrelay.connect(sys.argv[1]).call('server', 'ask'))"
    assert run(nodes, "-c", code, nodes.url).stdout == "['ask', None]\n"
    wait_until(lambda: not len(node.table.elsewhere.peers), SECONDS)
    assert "its connection ended" not in caplog.text


# -- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["kafka://h", "memory:", "local:?leese=1s"])
def test_an_url_that_can_not_be_used_is_told(url):
    """§7.1"""
    with pytest.raises(ConfigurationError):
        connect(url)


def test_a_client_shows_no_secret(nodes):
    """§7.1"""
    assert SECRET not in repr(nodes.client())


# -- from a shell -------------------------------------------------------------------------


def shell(nodes, *arguments, **options):
    return run(nodes, "-m", "greenrelay", "send", "--cluster", nodes.url, *arguments, **options)


SENT = {
    "an object": (["box", "hello", '{"a": [1.5, null]}'], {"a": [1.5, None]}),
    "nothing": (["box", "hello"], None),
}


@ONLY_LOCAL
@pytest.mark.parametrize(("arguments", "payload"), SENT.values(), ids=SENT)
def test_a_shell_sends_a_message(nodes, got, arguments, payload):
    """§7.8"""
    done = shell(nodes, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_until(lambda: got == [("hello", payload, None)], SECONDS)


@ONLY_LOCAL
def test_a_shell_sends_what_it_reads(nodes, got):
    """§7.8"""
    assert shell(nodes, "box", "hello", "-", input="[1]").returncode == 0
    wait_until(lambda: got == [("hello", [1], None)], SECONDS)


REFUSED = {
    "nobody": (["nobody", "hello"], 1, "who holds the name 'nobody'"),
    "no member": (["proc@elsewhere/AAAAAAAAAAAAAAAA", "hello"], 1, "was not reached"),
    "no JSON": (["box", "hello", "{a}"], 2, "the payload is no JSON"),
    "no topic": (["box", "@a"], 2, "topic"),
    "no PID": (["box@", "hello"], 2, "is not of the form"),
}


@ONLY_LOCAL
@pytest.mark.parametrize(("arguments", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_a_shell_is_told_in_one_line(nodes, got, arguments, code, told):
    """§7.8, §10.2"""
    done = shell(nodes, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith("greenrelay: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
