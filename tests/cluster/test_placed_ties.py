"""Monitors and links are the same on one node and between nodes (§2.3, §2.4)."""

import logging

from greenrelay import process
from greenrelay.testing import wait_until
from tests.sample_processes import waiting_events


def end(place, pid, how="end", payload="shutdown"):
    process.send(pid, how, payload)


def test_a_monitor_gives_one_exit(places, watcher):  # §2.3
    pid = places.there.spawn("echo")
    watcher.do(process.monitor, pid)
    end(places, pid)
    assert watcher.news() == [("pid.exit", pid, "shutdown")]


def test_an_exit_has_its_ref_value_and_time(places, watcher):  # §2.6
    pid = places.there.spawn("echo")
    ref = watcher.do(process.monitor, pid)
    end(places, pid, "return", {"a": 1})
    watcher.news()
    (exit,) = watcher.events
    assert (exit.ref, exit.value, exit.error, exit.at > 1e9) == (ref, {"a": 1}, None, True)


def test_a_crash_has_its_text(places, watcher):  # §2.6
    pid = places.there.spawn("echo")
    watcher.do(process.monitor, pid)
    end(places, pid, "fail", "bad")
    assert watcher.news() == [("pid.exit", pid, "error: ValueError: bad")]


def test_monitors_stack(places, watcher):  # §2.3
    pid = places.there.spawn("echo")
    refs = [watcher.do(process.monitor, pid) for _ in range(2)]
    end(places, pid)
    watcher.news(2)
    assert [event.ref for event in watcher.events] == refs


def test_a_monitor_of_a_dead_one_gives_noproc(places, watcher):  # §2.3
    pid = places.there.spawn("idle")
    process.terminate(pid)
    wait_until(lambda: process.info(pid) is None)
    watcher.do(process.monitor, pid)
    assert watcher.news() == [("pid.exit", pid, "noproc")]


def test_unmonitor_gives_none(places, watcher):  # §2.3
    pid = places.there.spawn("echo")
    watcher.do(process.unmonitor, watcher.do(process.monitor, pid))
    end(places, pid)
    wait_until(lambda: not process.is_alive(pid))
    places.settle()
    assert watcher.events == []


def test_one_of_two_monitors_is_left(places, watcher):
    pid = places.there.spawn("echo")
    one, two = (watcher.do(process.monitor, pid) for _ in range(2))
    watcher.do(process.unmonitor, one)
    end(places, pid)
    watcher.news()
    assert [event.ref for event in watcher.events] == [two]


def test_unmonitor_removes_an_exit_that_waits(places):  # §2.3
    pid = places.there.spawn("echo")

    def body():
        ref = process.monitor(pid)
        process.send(pid, "end", "shutdown")
        events = process.events()
        wait_until(lambda: waiting_events(places.here.node.find(process.pid())))
        process.unmonitor(ref)
        return events.receive(timeout=0.02)

    assert places.here.run(body) is None


def test_messages_come_before_the_exit(places, box):  # §2.2
    def body():
        pid = places.there.spawn("talk_and_end", process.pid(), 50, "shutdown")
        process.monitor(pid)
        process.send(pid, "go")
        assert process.events().receive(timeout=5).reason == "shutdown"
        return len([process.inbox().receive(timeout=0) for _ in range(50)])

    assert places.here.run(body) == 50


def test_a_process_there_monitors_one_here(places, box):
    pid = places.here.spawn("echo")
    places.there.spawn("watch", pid, box.pid)
    box.wait_for("ready")
    wait_until(lambda: process.info(pid)["watchers"] == 1)
    end(places, pid)
    assert box.wait_for("event") == [["pid.exit", pid, "shutdown"]]


def test_a_link_takes_the_other_along(places, watcher, box):  # §2.4
    pid = places.there.spawn("echo")
    linked = places.here.spawn("link", pid, box.pid)
    watcher.do(process.monitor, linked)
    box.wait_for("ready")
    end(places, pid)
    assert watcher.news() == [("pid.exit", linked, "shutdown")]


def test_a_link_takes_along_both_ways(places, watcher, box):  # §2.4
    pid = places.here.spawn("echo")
    linked = places.there.spawn("link", pid, box.pid)
    watcher.do(process.monitor, pid)
    box.wait_for("ready")
    process.terminate(linked)
    assert watcher.news() == [("pid.exit", pid, "killed")]


def test_one_that_traps_gets_a_link_down(places, watcher):  # §2.4
    pid = places.there.spawn("echo")
    watcher.do(process.link, pid)
    end(places, pid)
    assert watcher.news() == [("pid.link.down", pid, "shutdown")]


def test_a_link_twice_is_one(places, watcher):  # §2.4
    pid = places.there.spawn("echo")
    watcher.do(process.link, pid)
    watcher.do(process.link, pid)
    end(places, pid)
    assert watcher.news() == [("pid.link.down", pid, "shutdown")]


def test_a_normal_end_takes_nobody_along(places, watcher):  # §2.4
    pid = places.there.spawn("echo")
    watcher.do(process.link, pid)
    watcher.do(process.monitor, pid)
    end(places, pid, "return", None)
    assert watcher.news() == [("pid.exit", pid, "normal")]


def test_a_link_with_a_dead_one_acts_as_its_death(places, watcher):  # §2.4
    pid = places.there.spawn("idle")
    process.terminate(pid)
    wait_until(lambda: process.info(pid) is None)
    watcher.do(process.link, pid)
    assert watcher.news() == [("pid.link.down", pid, "noproc")]


def test_an_unlinked_one_is_not_taken_along(places, watcher):  # §2.4
    pid = places.there.spawn("echo")
    watcher.do(process.link, pid)
    watcher.do(process.unlink, pid)
    end(places, pid)
    wait_until(lambda: not process.is_alive(pid))
    places.settle()
    assert watcher.events == []


def test_the_other_side_of_an_unlinked_one_is_not_taken_along(places, watcher):  # §2.4
    pid = places.there.spawn("echo")
    watcher.do(process.link, pid)
    watcher.do(process.unlink, pid)
    process.terminate(watcher.pid)
    wait_until(lambda: not process.is_alive(watcher.pid))
    places.settle()
    assert process.is_alive(pid)


def test_an_unlink_that_meets_a_link_leaves_both_sides_alike(cluster, watcher, box):  # §2.4
    """Within one interpreter: both have to be on their way at once."""
    there = cluster.there.spawn("idle")
    watcher.do(process.link, there)
    cluster.settle()
    other = cluster.there.node.find(there)
    cluster.there.node.link(other, watcher.pid)  # on its way, while …
    watcher.do(process.unlink, there)  # … this one leaves
    cluster.settle()
    here_linked = cluster.here.node.topology.linked(watcher.pid)
    there_linked = cluster.there.node.topology.linked(there)
    assert (here_linked, there_linked) == ((), ())


def test_spawn_with_a_link_and_a_monitor_of_the_holder(places, watcher):  # §2
    pid = places.there.spawn("echo", name="holder")
    wait_until(lambda: process.registry.lookup("holder"))
    text = "tests.cluster.acts:idle"
    options = {"name": "holder", "link": True, "monitor": True}
    assert watcher.do(lambda: process.spawn(text, **options)) == pid
    end(places, pid)
    assert sorted(watcher.news(2)) == [
        ("pid.exit", pid, "shutdown"),
        ("pid.link.down", pid, "shutdown"),
    ]


def test_a_node_that_watches_is_told_once(apart, watcher):
    pid = apart.there.spawn("idle")
    for _ in range(3):
        watcher.do(process.monitor, pid)
    apart.settle()
    assert process.info(pid)["watchers"] == 1


def test_a_watched_one_forgets_those_who_ended(apart, watcher):
    pid = apart.there.spawn("idle")
    watcher.do(process.monitor, pid)
    watcher.do(process.link, pid)
    wait_until(lambda: process.info(pid)["watchers"] == 1)
    watcher.do(process.unlink, pid)
    process.terminate(watcher.pid)
    wait_until(lambda: process.info(pid)["watchers"] == 0)
    wait_until(lambda: process.info(pid)["links"] == [])


def test_an_end_for_any_reason_is_told(places, watcher, caplog):  # §2.6
    caplog.set_level(logging.CRITICAL, "greenrelay.process")  # no report can have its text
    pid = places.there.spawn("fail_at_length")
    watcher.do(process.monitor, pid)
    process.send(pid, "go")
    assert watcher.news()[0][2].startswith("error: ValueError: ")
