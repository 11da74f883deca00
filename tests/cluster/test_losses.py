"""What becomes of everything when a node is lost, wakes up or comes back (§7.2, §7.3)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.cluster import inquiries
from greenrelay.cluster.backend import Member
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.cluster.operations import Name, Send, encode
from greenrelay.cluster.values import pack
from greenrelay.errors import ClusterError, ProcessDown
from greenrelay.pid import PID
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.cluster.places import Place

IDLE = "tests.cluster.acts:idle"


def test_each_monitor_gives_one_noconnection(cluster, watcher):  # §7.2
    pid = cluster.there.spawn("idle")
    for _ in range(2):
        watcher.do(process.monitor, pid)
    cluster.kill(cluster.there)
    assert watcher.news(2) == [("pid.exit", pid, "noconnection")] * 2


def test_each_link_gives_one_noconnection(cluster, watcher):  # §7.2
    pid = cluster.there.spawn("idle")
    watcher.do(process.link, pid)
    cluster.kill(cluster.there)
    assert watcher.news() == [("pid.link.down", pid, "noconnection")]


def test_one_that_does_not_trap_ends(cluster, watcher, box):  # §7.2
    linked = cluster.here.spawn("link", cluster.there.spawn("idle"), box.pid)
    watcher.do(process.monitor, linked)
    box.wait_for("ready")
    cluster.kill(cluster.there)
    assert watcher.news() == [("pid.exit", linked, "noconnection")]


def test_a_call_to_a_lost_node_ends(cluster):
    pid = cluster.there.spawn("idle")
    calling = gevent.spawn(cluster.here.run, process.call, pid, "ask")
    gevent.sleep(0.01)
    cluster.kill(cluster.there)
    with pytest.raises(ProcessDown, match="noconnection"):
        calling.get(timeout=1)


def test_an_inquiry_at_a_lost_node_ends(cluster):
    pid = cluster.there.spawn("idle")
    cluster.there.backend.hang()
    asking = gevent.spawn(cluster.here.run, "info", pid)
    gevent.sleep(0.01)
    cluster.kill(cluster.there)
    assert asking.get(timeout=1) is None


def test_names_and_groups_of_a_lost_node_are_free(cluster):  # §7.2
    pid = cluster.there.spawn("idle", name="room")
    cluster.there.run("join", "all", pid)
    wait_until(lambda: process.group("all").members() and process.registry.lookup("room"))
    cluster.kill(cluster.there)
    wait_until(lambda: not process.group("all").members())
    assert process.spawn(IDLE, name="room").node == "here"


def test_a_send_to_a_lost_node_is_false(cluster):  # §7.3
    pid = cluster.there.spawn("idle")
    cluster.kill(cluster.there)
    wait_until(lambda: not process.send(pid, "topic"))


def test_a_monitor_of_a_node_that_never_was_gives_noconnection(cluster, watcher):
    watcher.do(process.monitor, PID("proc@nowhere/AAAAAAAAAAAAAAAA"))
    assert watcher.news()[0][2] == "noconnection"


def test_what_a_lost_node_watched_is_forgotten(cluster, box):
    pid = cluster.here.spawn("idle")
    cluster.there.spawn("watch", pid, box.pid)
    wait_until(lambda: process.info(pid)["watchers"] == 1)
    cluster.kill(cluster.there)
    wait_until(lambda: process.info(pid)["watchers"] == 0)


def test_a_restarted_node_has_another_incarnation(cluster, watcher):  # §7.2
    pid = cluster.there.spawn("idle")
    cluster.kill(cluster.there)
    cluster.add("there")
    wait_until(lambda: process.send(pid, "topic"))  # the node is there …
    watcher.do(process.monitor, pid)
    assert watcher.news() == [("pid.exit", pid, "noproc")]  # … and the process is not


def test_a_node_that_replaces_another_of_its_name_has_lost_it_first(cluster, watcher):
    pid = cluster.there.spawn("idle")
    watcher.do(process.monitor, pid)
    cluster.settle()
    cluster.there.backend.hang()
    cluster.add("there")
    assert watcher.news() == [("pid.exit", pid, "noconnection")]
    cluster.kill(cluster.there)


def test_ten_thousand_monitors_let_others_run(cluster):  # §7.2
    class Counter:
        count = 0

        def on_exit(self, exit):
            self.count += 1

    counter, node = Counter(), cluster.here.node
    pids = [cluster.there.spawn("idle") for _ in range(1000)]
    for _ in range(10):
        for pid in pids:
            node.monitor(counter, pid)
    cluster.settle()
    longest, stop = [0.0], []

    def tick():
        last = time.thread_time()
        while not stop:
            gevent.sleep(0)
            now = time.thread_time()
            longest[0], last = max(longest[0], now - last), now

    ticking = gevent.spawn(tick)
    cluster.there.backend.die()
    wait_until(lambda: counter.count == 10_000)
    stop.append(True)
    ticking.join()
    cluster.close(cluster.there)
    assert longest[0] < 0.05


def test_what_a_lost_node_has_sent_lets_others_run(cluster, longest_turn):  # §7.2
    pid = cluster.here.spawn("full_until_told", "never")
    peer = cluster.here.cluster.peers.named("there")
    told = [encode(Send(pid, "topic", pack(number), None, 1)) for number in range(20_000)]
    cluster.here.cluster._incoming.take(peer, told)
    cluster.there.backend.die()
    gevent.sleep(0)
    longest_turn[0] = 0.0
    wait_until(lambda: process.info(pid)["mailbox"] == 20_000)
    cluster.close(cluster.there)
    assert longest_turn[0] < 0.05


@pytest.fixture
def longest_turn():
    """Measure how long the loop's longest turn takes, of this thread's time."""
    longest, stop = [0.0], []

    def tick():
        last = time.thread_time()
        while not stop:
            gevent.sleep(0)
            now = time.thread_time()
            longest[0], last = max(longest[0], now - last), now

    ticking = gevent.spawn(tick)
    yield longest
    stop.append(True)
    ticking.join()


def test_an_old_name_of_a_lost_node_does_not_hide_a_new_one(cluster):  # §7.2
    """What is left of its input is dealt with when another may have come."""
    incoming, former = cluster.here.cluster._incoming, cluster.here.cluster.peers.named("there")
    older = cluster.there.spawn("idle")
    cluster.kill(cluster.there)
    pid = cluster.add("there").spawn("idle", name="room")
    cluster.settle()
    incoming.take(former, [encode(Name("room", older))])
    assert process.registry.lookup("room") == pid


# -- a node that was taken for lost ----------------------------------------------------------


def test_a_woken_node_has_lost_all_others(cluster, box):  # §7.2
    pid = cluster.here.spawn("idle")
    cluster.there.spawn("watch", pid, box.pid)
    box.wait_for("ready")
    cluster.there.backend.be_lost()
    wait_until(lambda: not len(cluster.here.cluster.peers))
    got = []
    cluster.there.spawn(note_events, pid, got)
    cluster.settle()
    cluster.there.backend.wake()
    wait_until(lambda: got)
    assert got == ["noconnection"]


def note_events(pid, got):
    process.monitor(pid)
    for event in process.events():
        got.append(event.reason)


def test_a_woken_node_is_a_member_again(cluster):  # §7.2
    pid = cluster.there.spawn("echo")
    before = cluster.there.cluster.me
    cluster.there.backend.be_lost()
    wait_until(lambda: not process.send(pid, "topic"))
    cluster.there.backend.wake()
    wait_until(lambda: process.send(pid, "topic"))
    assert process.call(pid, "call", 1) == 1
    assert cluster.there.cluster.me.incarnation != before.incarnation


def test_a_woken_node_has_its_names_again(cluster):  # §7.2
    pid = cluster.there.spawn("idle", name="room")
    cluster.settle()
    cluster.there.backend.be_lost()
    wait_until(lambda: process.registry.lookup("room") is None)
    cluster.there.backend.wake()
    wait_until(lambda: process.registry.lookup("room") == pid)


def test_a_woken_node_has_its_names_for_the_backend_too(cluster):  # §7.6
    """Else the next node that comes could take them."""
    pid = cluster.there.spawn("idle", name="room")
    cluster.settle()
    cluster.there.backend.be_lost()
    wait_until(lambda: process.registry.lookup("room") is None)
    cluster.there.backend.wake()
    wait_until(lambda: process.registry.lookup("room") == pid)
    cluster.settle()
    assert cluster.here.backend.claim("room", "proc@here/AAAAAAAAAAAAAAAA") == pid


def test_a_name_taken_meanwhile_stays_taken(cluster, caplog):  # §7.2
    cluster.there.spawn("idle", name="room")
    cluster.settle()
    cluster.there.backend.be_lost()
    wait_until(lambda: process.registry.lookup("room") is None)
    pid = process.spawn(IDLE, name="room")
    cluster.there.backend.wake()
    wait_until(lambda: cluster.there.run("lookup", "room") == pid)
    cluster.settle()
    assert process.registry.lookup("room") == pid
    assert caplog.text.count("'room' is not") == 1


def test_groups_of_a_woken_node_come_back(cluster):
    pid = cluster.there.spawn("idle")
    cluster.there.run("join", "all", pid)
    cluster.settle()
    cluster.there.backend.be_lost()
    wait_until(lambda: not process.group("all").members())
    cluster.there.backend.wake()
    wait_until(lambda: process.group("all").members() == [pid])


# -- envelopes that are lost --------------------------------------------------------------------


@pytest.fixture
def lossy(cluster, monkeypatch):
    """Return what loses the envelopes of a function, and then heals."""

    def lose(place, function, *args):
        cluster.settle()
        place.backend.drop(1)
        value = function(*args)
        wait_until(lambda: not place.backend._dropping)
        return value

    return lose


def test_a_lost_name_heals(cluster, lossy):  # §7.3
    pid = lossy(cluster.there, lambda: cluster.there.spawn("idle", name="room"))
    assert process.registry.lookup("room") is None
    cluster.there.run("send", cluster.here.spawn("idle"), "next")
    wait_until(lambda: process.registry.lookup("room") == pid)
    assert cluster.here.node.counts["cluster_lost"] == 1


def test_a_lost_leave_heals(cluster, lossy):  # §7.3
    pid = cluster.there.spawn("idle")
    cluster.there.run("join", "all", pid)
    lossy(cluster.there, cluster.there.run, "leave", "all", pid)
    assert process.group("all").members() == [pid]
    cluster.there.run("send", cluster.here.spawn("idle"), "next")
    wait_until(lambda: not process.group("all").members())


def test_a_lost_end_heals(cluster, watcher, lossy):  # §7.3
    pid = cluster.there.spawn("idle")
    watcher.do(process.monitor, pid)
    lossy(cluster.there, cluster.there.node.terminate, pid)
    cluster.there.run("send", cluster.here.spawn("idle"), "next")
    assert watcher.news() == [("pid.exit", pid, "noproc")]


def test_a_lost_link_heals(cluster, watcher, box, lossy):  # §7.3
    pid = cluster.there.spawn("idle")
    lossy(cluster.here, watcher.do, process.link, pid)
    process.send(cluster.there.spawn("idle"), "next")
    wait_until(lambda: cluster.there.node.topology.linked(pid) == (watcher.pid,))


def test_a_lost_unlink_heals(cluster, watcher, lossy):  # §7.3
    pid = cluster.there.spawn("idle")
    watcher.do(process.link, pid)
    lossy(cluster.here, watcher.do, process.unlink, pid)
    process.send(cluster.there.spawn("idle"), "next")
    wait_until(lambda: cluster.there.node.topology.linked(pid) == ())
    cluster.settle()
    assert cluster.here.node.topology.linked(watcher.pid) == ()


def test_what_the_backend_may_have_lost_heals(cluster, lossy, monkeypatch):  # §7.3
    monkeypatch.setattr("greenrelay.cluster.cluster.RESYNC_SECONDS", 0.01)
    pid = lossy(cluster.there, lambda: cluster.there.spawn("idle", name="room"))
    cluster.here.cluster.on_maybe_lost("a test", 1)
    wait_until(lambda: process.registry.lookup("room") == pid)


@pytest.fixture
def at_once(monkeypatch):
    """Have questions repeated soon."""
    monkeypatch.setattr("greenrelay.cluster.inquiries.REPEAT_SECONDS", 0.02)


def test_a_lost_question_is_asked_again(cluster, at_once):  # §7.3
    pid = cluster.there.spawn("idle")
    cluster.settle()
    cluster.here.backend.drop(1)
    assert cluster.here.run("info", pid)["pid"] == pid


def test_a_lost_answer_is_given_again(cluster, at_once):  # §7.3
    """And what was asked for is done once: a second time it would have been no member."""
    pid = cluster.there.spawn("idle")
    cluster.there.run("join", "all", pid)
    cluster.settle()
    cluster.there.backend.drop(1)
    assert cluster.here.run("leave", "all", pid)


def test_answers_of_long_ago_are_not_kept(cluster):
    pid = cluster.there.spawn("idle")
    for _ in range(inquiries.MAX_KEPT_ANSWERS + 10):
        process.info(pid)
    (kept,) = cluster.there.cluster._inquiries._answered.values()
    assert len(kept) == inquiries.MAX_KEPT_ANSWERS


# -- joining and leaving ------------------------------------------------------------------


def test_a_node_that_leaves_is_lost_at_once(cluster, watcher):  # §9
    pid = cluster.there.spawn("idle")
    watcher.do(process.monitor, pid)
    cluster.settle()
    cluster.there.cluster.stop()
    assert watcher.news() == [("pid.exit", pid, "noconnection")]
    cluster.there.end()
    cluster.all.remove(cluster.there)


def test_a_node_that_has_left_can_be_told_to_leave_again(cluster):  # §9
    """A server and the app that it serves may both do so."""
    cluster.there.cluster.stop()
    cluster.there.cluster.stop()


def test_what_was_sent_before_a_node_leaves_arrives(cluster, box):
    pid = cluster.here.spawn("report", box.pid)
    cluster.there.node.send(pid, "last", 1)
    cluster.there.cluster.stop()
    assert box.wait_for("got") == [["last", 1, None]]
    cluster.there.end()
    cluster.all.remove(cluster.there)


def test_a_node_alone_is_as_one_without_a_cluster():
    node = Node("alone")
    place = Place(node, Cluster(node, MemoryBackend("alone")))
    place.cluster.start()
    with on_node(node):
        pid = process.spawn(IDLE, name="room")
        assert process.registry.lookup("room") == pid
        assert not process.send(PID("proc@alone/AAAAAAAAAAAAAAAA"), "topic")
    place.end()
    place.cluster.stop()
    assert node.table.elsewhere is None


def test_a_node_joins_one_cluster(cluster):
    with pytest.raises(ClusterError, match="already"):
        Cluster(cluster.here.node, MemoryBackend("other")).start()


def test_another_node_of_our_name_is_told(cluster, caplog):
    node = Node("here")
    twin = Cluster(node, MemoryBackend(cluster.name))
    twin.start()
    gevent.sleep(0.01)
    twin.stop()
    assert "another node is called 'here', too" in caplog.text


def test_members_of_long_ago_are_not_remembered(cluster, monkeypatch):
    """Each client that closes is one: a program that runs each minute would be a leak."""
    monkeypatch.setattr("greenrelay.cluster.cluster.MAX_FORMER_MEMBERS", 3)
    for number in range(5):
        client = Member(f"client-{number}", f"{number:016}")
        cluster.here.cluster.on_up(client)
        cluster.here.cluster.on_lost(client)
    former = [member.node for member in cluster.here.cluster._former]
    assert former == ["client-2", "client-3", "client-4"]


def test_what_is_no_envelope_is_refused(cluster):  # §7.4
    cluster.here.cluster.on_bytes(cluster.there.cluster.me, b"junk")
    assert cluster.here.node.counts["cluster_refused"] == 1


def test_what_comes_from_no_member_is_refused(cluster):
    stranger = cluster.there.cluster.me._replace(incarnation="A" * 16)
    cluster.here.cluster.on_bytes(stranger, b"junk")
    assert cluster.here.node.counts["cluster_refused"] == 1


def test_nodes_with_different_secrets_do_not_hear_each_other(cluster, monkeypatch):  # §7.4
    node = Node("stranger")
    stranger = Cluster(node, MemoryBackend(cluster.name), secret="other")
    monkeypatch.setattr("greenrelay.cluster.cluster.FIRST_NEWS_SECONDS", 0.01)
    stranger.start()
    pid = cluster.here.spawn("idle")
    stranger.prepare(pid, process.Message("topic"))()
    wait_until(lambda: cluster.here.node.counts["cluster_refused"])
    assert process.info(pid)["mailbox"] == 0
    stranger.stop()
