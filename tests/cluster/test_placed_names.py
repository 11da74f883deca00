"""Names and groups are the same on one node and between nodes (§7.6, §2.13)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import NameTaken, ProcessDown
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.cluster.places import Cluster, MemoryBackend, Place

IDLE = "tests.cluster.acts:idle"


def both(places, act, *args):
    """Return what an act gives here and there."""
    return places.here.run(act, *args), places.there.run(act, *args)


def settled(places, act, *args):
    places.settle()
    return both(places, act, *args)


def test_spawn_by_name_from_both_starts_one(places):  # §7.6
    jobs = [
        gevent.spawn(place.run, "spawn_named", IDLE, "room")
        for place in (places.here, places.there) * 5
    ]
    pids = {job.get(timeout=5) for job in jobs}
    assert len(pids) == 1
    assert settled(places, "lookup", "room") == (*pids, *pids)


def test_only_one_lives_of_those_that_were_spawned_by_name(apart):  # §7.6
    jobs = [
        gevent.spawn(place.run, "spawn_named", IDLE, f"room {number % 7}")
        for number in range(28)
        for place in (apart.here, apart.there)
    ]
    gevent.joinall(jobs, timeout=5, raise_error=True)
    apart.settle()
    alive = [pid for place in apart.all for pid in place.ask("list_alive")]
    assert sorted(alive) == sorted({job.value for job in jobs})


def test_an_interrupted_spawn_by_name_leaves_no_process_without_it(cluster):  # §7.6
    spawner = cluster.here.spawn("spawn_named", IDLE, "room")
    gevent.sleep(0)  # it asks the backend now, if that takes asking
    process.terminate(spawner)
    cluster.settle()
    left = {entity.pid for entity in cluster.here.node}
    assert left == {process.registry.lookup("room")} - {None}


def test_spawn_by_a_name_held_there_gives_the_holder(places):  # §2
    pid = places.there.spawn("idle", name="room")
    assert process.spawn(IDLE, name="room") == pid


def test_register_of_a_taken_name_names_the_holder(places):  # §7.6
    pid = places.there.spawn("idle", name="room")
    other = places.here.spawn("idle")
    with pytest.raises(NameTaken, match=pid):
        process.registry.register("room", other)


def test_register_again_is_no_error(places):
    pid = places.there.spawn("idle", name="room")
    assert places.there.run("register", "room", pid) is None


def test_a_process_there_can_be_given_a_name_here(places):  # §7.1
    pid = places.there.spawn("idle")
    process.registry.register("room", pid)
    assert settled(places, "lookup", "room") == (pid, pid)


def test_a_process_there_can_not_be_given_a_taken_name(places):
    holder, pid = places.here.spawn("idle", name="room"), places.there.spawn("idle")
    with pytest.raises(NameTaken, match=holder):
        process.registry.register("room", pid)


def test_a_dead_process_there_can_not_be_given_a_name(places):
    pid = places.there.spawn("idle")
    process.terminate(pid)
    wait_until(lambda: process.info(pid) is None)
    with pytest.raises(ProcessDown, match="noproc"):
        process.registry.register("room", pid)


def test_a_name_is_free_when_its_holder_has_ended(places):  # §2
    pid = places.there.spawn("idle", name="room")
    wait_until(lambda: process.registry.lookup("room"))
    process.terminate(pid)
    wait_until(lambda: process.registry.lookup("room") is None)
    assert process.spawn(IDLE, name="room") != pid


def test_unregister_frees_a_name_held_there(places):
    places.there.spawn("idle", name="room")
    wait_until(lambda: process.registry.lookup("room"))
    assert process.registry.unregister("room")
    assert settled(places, "lookup", "room") == (None, None)
    assert not process.registry.unregister("room")


def test_names_of_a_node_are_its_own(apart):  # §7.6
    here, there = both(apart, "spawn_named", IDLE, "local", "node")
    assert here != there
    assert settled(apart, "lookup", "local") == (here, there)


def test_a_name_of_a_node_is_unknown_elsewhere(apart):  # §7.6
    apart.there.run("spawn_named", IDLE, "local", "node")
    assert settled(apart, "lookup", "local")[0] is None


def test_a_name_of_a_node_hides_one_of_the_cluster(apart):
    theirs = apart.there.spawn("idle", name="room")
    wait_until(lambda: process.registry.lookup("room"))
    own = apart.here.run("spawn_named", IDLE, "room", "node")
    assert process.registry.lookup("room") == own
    process.terminate(own)
    wait_until(lambda: process.registry.lookup("room") == theirs)


def test_names_from_before_the_cluster_are_known_in_it(cluster):
    """Within one interpreter: the node that comes late is the test's own."""
    node = Node("late")
    place = Place(node)
    pid = place.spawn("idle", name="older")
    place.cluster, place.backend = None, MemoryBackend(cluster.name)
    place.cluster = Cluster(node, place.backend)
    place.cluster.start()
    cluster.all.append(place)
    wait_until(lambda: process.registry.lookup("older") == pid)


def test_a_new_node_knows_the_names_at_once(apart):
    pid = apart.there.spawn("idle", name="room")
    assert apart.add("third").run("lookup", "room") == pid


def test_a_supervised_name_runs_once(places, watcher):  # §2
    here, there = both(places, "supervise", "single")
    wait_until(lambda: process.registry.lookup("single"))
    places.settle()
    pid = process.registry.lookup("single")
    assert settled(places, "lookup", "single") == (pid, pid)
    process.terminate(pid)
    wait_until(lambda: process.registry.lookup("single") not in (None, pid))
    for supervisor in (here, there):
        process.cancel(supervisor)


def test_a_supervisor_takes_over_a_name_whose_node_is_lost(cluster):  # §7.2
    """Within one interpreter: over the others, test_far_losses.py loses nodes."""
    cluster.there.run("supervise", "single")
    wait_until(lambda: process.registry.lookup("single"))
    supervisor = cluster.here.run("supervise", "single")
    cluster.kill(cluster.there)
    wait_until(lambda: getattr(process.registry.lookup("single"), "node", "") == "here")
    process.cancel(supervisor)


# -- groups --------------------------------------------------------------------------------


def test_a_group_has_members_of_all_nodes(places):  # §7.1
    here, there = places.here.spawn("idle"), places.there.spawn("idle")
    places.here.run("join", "all", here)
    places.there.run("join", "all", there)
    assert [set(pids) for pids in settled(places, "members", "all")] == [{here, there}] * 2


def test_a_group_is_left_by_those_who_end(places):  # §2
    there = places.there.spawn("idle")
    places.there.run("join", "all", there)
    wait_until(lambda: process.group("all").members() == [there])
    process.terminate(there)
    wait_until(lambda: process.group("all").members() == [])


def test_a_process_there_can_join_from_here(places):
    there = places.there.spawn("idle")
    process.group("all").join(there, {"a": 1})
    assert process.group("all").details() == {there: {"a": 1}}
    assert settled(places, "members", "all") == ([there], [there])


def test_a_process_there_can_leave_from_here(places):
    there = places.there.spawn("idle")
    process.group("all").join(there)
    assert process.group("all").leave(there)
    assert settled(places, "members", "all") == ([], [])


def test_metadata_is_the_same_everywhere(places):  # §2.13
    there = places.there.spawn("idle")
    places.there.run("join", "all", there, {"name": "Ada"})
    assert settled(places, "details", "all") == ([(there, {"name": "Ada"})],) * 2


def test_a_group_broadcast_reaches_members_of_all_nodes(places, box):  # §7.5
    for place in (places.here, places.there, places.there):
        place.run("join", "all", place.spawn("report", box.pid))
    wait_until(lambda: len(process.group("all").members()) == 3)
    assert process.group("all").broadcast("topic", 1) == 3
    assert box.wait_for("got", 3) == [["topic", 1, None]] * 3


def test_a_group_broadcast_crosses_once_for_a_node(apart, box):  # §7.5
    for _ in range(5):
        apart.there.run("join", "all", apart.there.spawn("report", box.pid))
    wait_until(lambda: len(process.group("all").members()) == 5)
    apart.settle()
    before = apart.here.node.counts["cluster_sent"]
    process.group("all").broadcast("topic")
    box.wait_for("got", 5)
    assert apart.here.node.counts["cluster_sent"] == before + 1


def test_a_watcher_of_a_group_is_told_of_members_elsewhere(places, watcher):  # §2.13
    got = []

    def watch():
        process.group("all").watch()
        for message in process.inbox():
            got.append((message.topic, message.payload.get("pid"), message.payload.get("meta")))

    places.here.spawn(watch)
    wait_until(lambda: got)
    there = places.there.spawn("idle")
    places.there.run("join", "all", there, {"a": 1})
    wait_until(lambda: len(got) > 1)
    process.terminate(there)
    wait_until(lambda: len(got) > 2)
    assert got[1:] == [("group.join", there, {"a": 1}), ("group.leave", there, {"a": 1})]


def test_a_group_may_be_called_after_a_process(places):  # §2.13
    there, watched = places.there.spawn("idle"), places.here.spawn("idle")
    places.there.run("join", watched, there)
    wait_until(lambda: process.group(watched).members() == [there])
