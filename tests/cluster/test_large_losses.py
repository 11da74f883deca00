"""The loss of a node on which much hangs: all is told, and others run in between (§7.2)."""

from greenrelay import process
from greenrelay.cluster.operations import Cancel, Kill, encode
from greenrelay.testing import wait_until


def test_what_a_lost_node_watched_may_end_meanwhile(cluster, box, watcher):
    watched = [cluster.here.spawn("idle") for _ in range(3)]
    for pid in watched:
        cluster.there.spawn("watch", pid, box.pid)
    box.wait_for("ready", 3)
    pid = cluster.there.spawn("idle")
    watcher.do(process.monitor, pid)
    cluster.settle()
    losing = cluster.here.cluster._ties.lose(next(iter(cluster.here.cluster.peers)))
    next(losing)
    process.terminate(watched[-1])
    wait_until(lambda: watched[-1] not in cluster.here.node.table)
    list(losing)
    assert watcher.news() == [("pid.exit", pid, "noconnection")]


def test_what_waits_does_not_grow_beyond_a_bound(cluster, monkeypatch):  # §7.7
    monkeypatch.setattr("greenrelay.cluster.incoming.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("greenrelay.cluster.incoming.MANY_OPERATIONS", 100)
    incoming, peer = cluster.here.cluster._incoming, next(iter(cluster.here.cluster.peers))
    pid = cluster.here.spawn("idle")
    for _ in range(20):
        incoming.take(peer, 50 * [encode(Cancel(pid, None, None))])
    assert len(incoming._queues[peer]) <= 150


def test_what_a_lost_node_has_told_is_dealt_with_a_step_at_a_time(cluster, monkeypatch):
    monkeypatch.setattr("greenrelay.cluster.incoming.SLICE_SECONDS", 0.0)
    incoming, peer = cluster.here.cluster._incoming, next(iter(cluster.here.cluster.peers))
    pids = [cluster.here.spawn("idle") for _ in range(5)]
    incoming.take(peer, [encode(Kill(pid, "killed")) for pid in pids])
    steps = [sum(map(process.is_alive, pids)) for _ in incoming.finish(peer)]
    assert steps == [3, 2, 1, 0]
