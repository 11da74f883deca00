"""Messages, calls and broadcasts are the same on one node and between nodes (§7.1)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import CallTimeout, NameNotRegistered, NotPortable, ProcessDown
from greenrelay.testing import wait_until


def test_a_message_arrives_with_its_payload_and_sender(places, box):  # §2.1
    there = places.there.spawn("report", box.pid)
    sender = places.here.spawn(process.send, there, "topic", {"a": [1, "two", None]})
    assert box.wait_for("got") == [["topic", {"a": [1, "two", None]}, sender]]


def test_send_to_the_living_is_true(places):  # §7.3
    assert process.send(places.there.spawn("idle"), "topic")


def test_messages_of_one_pair_keep_their_order(places, box):  # §2.2
    places.there.spawn("tell_all", [box.pid], 200)
    assert box.wait_for("number", 200) == list(range(200))


def test_a_bad_topic_is_an_error(places):
    with pytest.raises(ValueError, match="topic"):
        process.send(places.there.spawn("idle"), "@topic")


def test_a_name_held_there_is_a_destination_here(places, box):  # §7.1
    places.there.spawn("report", box.pid, name="reporter")
    wait_until(lambda: process.registry.lookup("reporter"))
    process.send("reporter", "topic", 1)
    assert box.wait_for("got") == [["topic", 1, None]]


def test_a_name_that_nobody_holds_is_an_error(places):
    with pytest.raises(NameNotRegistered):
        process.send("nobody", "topic")


def test_a_call_gives_the_reply(places):  # §2
    assert process.call(places.there.spawn("echo"), "call", {"x": 1}) == {"x": 1}


def test_a_call_from_a_process_gives_the_reply(places):
    callee = places.there.spawn("echo")
    assert places.here.run(process.call, callee, "call", "text") == "text"


def test_a_call_without_a_reply_times_out(places):  # §2
    with pytest.raises(CallTimeout, match="'ask'"):
        process.call(places.there.spawn("idle"), "ask", timeout=0.02)


def test_a_late_reply_reaches_nobody(places):
    callee = places.there.spawn("sleepy", 0.05)
    with pytest.raises(CallTimeout):
        process.call(callee, "ask", timeout=0.01)
    assert process.call(callee, "ask", timeout=5) == "late"


def test_a_call_to_one_that_ends_says_so(places):  # §2
    with pytest.raises(ProcessDown, match="shutdown"):
        process.call(places.there.spawn("echo"), "end", "shutdown")


def test_a_call_to_a_dead_one_says_so(places, box):
    pid = places.there.spawn("echo")
    places.there.run("terminate", pid)
    wait_until(lambda: not process.is_alive(pid))
    with pytest.raises(ProcessDown, match="noproc"):
        process.call(pid, "call")


def test_calls_from_there_are_answered_here(places):
    callee = places.here.spawn("echo")
    assert places.there.run(process.call, callee, "call", 5) == 5


def test_a_broadcast_reaches_all(places, box):  # §7.5
    pids = [where.spawn("report", box.pid) for where in (places.there, places.here) * 2]
    assert process.broadcast(pids, "topic", 1) == 4
    assert len(box.wait_for("got", 4)) == 4


def test_a_broadcast_counts_the_living_and_what_was_sent(places):  # §2
    here, there = places.here.spawn("idle"), places.there.spawn("idle")
    places.here.run("terminate", here)
    wait_until(lambda: not process.is_alive(here))
    assert process.broadcast([here, there, "nobody"], "topic") == 1


def test_a_broadcast_keeps_its_place_among_messages(places, box):  # §2.2
    there = places.there.spawn("report", box.pid)
    process.send(there, "topic", 1)
    process.broadcast([there], "topic", 2)
    process.send(there, "topic", 3)
    assert [payload for _, payload, _ in box.wait_for("got", 3)] == [1, 2, 3]


def test_a_timed_message_arrives(places, box):  # §2
    process.send_after(0.01, places.there.spawn("report", box.pid), "late", 1)
    assert box.wait_for("got") == [["late", 1, None]]


def test_a_timed_message_that_was_cancelled_does_not(places, box):
    timer = process.send_after(0.02, places.there.spawn("report", box.pid), "late", 1)
    assert timer.cancel()
    gevent.sleep(0.04)
    assert box.all("got") == []


def test_cancel_closes_the_inbox(places, watcher):  # §2.5
    pid = places.there.spawn("idle")
    watcher.do(process.monitor, pid)
    assert process.cancel(pid)
    assert watcher.news() == [("pid.exit", pid, "cancelled")]


def test_cancel_is_an_event_for_one_that_takes_events(places, box):  # §2.5
    pid = places.there.spawn("cancelled_by", box.pid)
    box.wait_for("ready")
    sender = places.here.spawn(process.cancel, pid, "enough")
    assert box.wait_for("event") == [["pid.cancel", sender, "enough"]]


def test_terminate_ends_it_with_killed(places, watcher):  # §2.5
    pid = places.there.spawn("idle")
    watcher.do(process.monitor, pid)
    assert process.terminate(pid)
    assert watcher.news() == [("pid.exit", pid, "killed")]


@pytest.mark.parametrize("text", ["nobody", "", "proc@there", "@/"])
def test_what_is_no_pid_is_not_alive(places, text):  # §2.1
    assert process.is_alive(text) is False


def test_is_alive_tells_of_one_there(places):
    pid = places.there.spawn("idle")
    assert process.is_alive(pid)
    process.terminate(pid)
    wait_until(lambda: not process.is_alive(pid))


def test_info_tells_of_one_there(places):  # §7.1
    pid = places.there.spawn("idle", name="someone")
    info = process.info(pid)
    assert (info["pid"], info["names"], info["mailbox"]) == (pid, ["someone"], 0)
    assert "tests.cluster.acts:idle" in info["function"]


def test_info_of_a_dead_one_is_none(places):
    pid = places.there.spawn("idle")
    process.terminate(pid)
    wait_until(lambda: process.info(pid) is None)


def test_from_another_thread_a_message_arrives(places, box):  # §2.9
    there = places.there.spawn("report", box.pid)
    pool = gevent.get_hub().threadpool
    assert pool.apply(places.here.node.send, (places.here.spawn("idle"), "warm up"))
    assert in_thread(places, process.send, there, "topic", 1)
    assert box.wait_for("got") == [["topic", 1, None]]


def test_from_another_thread_a_call_gives_the_reply(places):  # §2.9
    assert in_thread(places, process.call, places.there.spawn("echo"), "call", 7) == 7


def test_from_another_thread_a_name_is_found(places):  # §2.9
    pid = in_thread(places, process.spawn, "tests.cluster.acts:idle", name="from a thread")
    wait_until(lambda: places.there.run("lookup", "from a thread") == pid)


def in_thread(places, function, *args, **kwargs):
    def body():
        with process.on_node(places.here.node):
            return function(*args, **kwargs)

    return gevent.get_hub().threadpool.spawn(body).get(timeout=5)


# -- what is not portable --------------------------------------------------------------


class Avatar:
    pass


BAD = {"user": {"avatar": Avatar()}}


@pytest.mark.parametrize(
    "send",
    [
        lambda pid: process.send(pid, "topic", BAD),
        lambda pid: process.call(pid, "topic", BAD),
        lambda pid: process.broadcast([pid], "topic", BAD),
        lambda pid: process.send_after(5, pid, "topic", BAD),
    ],
    ids=["send", "call", "broadcast", "send_after"],
)
def test_what_is_not_portable_is_the_senders_error(apart, send):  # §7.4
    with pytest.raises(TypeError, match=r'payload\["user"\]\["avatar"\]'):
        send(apart.there.spawn("idle"))


def test_a_broadcast_that_can_not_go_reaches_nobody(apart, box):  # §7.4
    with pytest.raises(NotPortable):
        process.broadcast([box.pid, apart.there.spawn("idle")], "topic", Avatar())
    gevent.sleep(0.01)
    assert box.messages == []


def test_a_group_broadcast_that_can_not_go_reaches_nobody(apart, box):  # §7.4
    process.group("all").join(box.pid)
    apart.there.run("join", "all", apart.there.spawn("idle"))
    wait_until(lambda: len(process.group("all").members()) == 2)
    with pytest.raises(NotPortable):
        process.group("all").broadcast("topic", Avatar())
    gevent.sleep(0.01)
    assert box.messages == []


def test_a_reply_that_can_not_go_is_the_callees_error(apart):  # §7.4
    def callee():
        message = process.inbox().receive()
        with pytest.raises(TypeError):
            message.reply(Avatar())
        message.reply("better")

    pid = apart.here.spawn(callee)
    assert apart.there.run(process.call, pid, "ask") == "better"


def test_from_another_thread_what_is_not_portable_is_the_senders_error(apart):
    pid = apart.there.spawn("idle")
    with pytest.raises(NotPortable):
        in_thread(apart, process.send, pid, "topic", Avatar())


def test_a_message_that_is_too_large_is_the_senders_error(apart):  # §7.4
    with pytest.raises(NotPortable, match="too many"):
        process.send(apart.there.spawn("idle"), "topic", "x" * 1024 * 1024)


def test_metadata_that_can_not_go_is_the_joiners_error(apart):
    with pytest.raises(NotPortable, match="meta"):
        process.group("all").join(apart.here.spawn("idle"), {"avatar": Avatar()})
    assert process.group("all").members() == []


def test_what_was_returned_and_can_not_go_is_none(apart, watcher):  # §2.6
    pid = apart.there.spawn("echo")
    watcher.do(process.monitor, pid)
    process.send(pid, "return object")
    watcher.news()
    (exit,) = watcher.events
    assert (exit.reason, exit.value, exit.error) == ("normal", None, None)


def test_what_was_returned_and_can_not_go_is_told(cluster, watcher, caplog):  # §2.6
    """Within one interpreter: the test reads the other node's log."""
    pid = cluster.there.spawn("echo")
    watcher.do(process.monitor, pid)
    process.send(pid, "return object")
    watcher.news()
    assert caplog.text.count("which get None") == 1


def test_what_was_returned_and_is_too_large_is_none(apart, watcher):  # §2.6
    pid = apart.there.spawn("return_at_length")
    watcher.do(process.monitor, pid)
    process.send(pid, "go")
    watcher.news()
    assert watcher.events[0].value is None


@pytest.mark.parametrize("name", ["\ud800", "x" * 1024 * 1024], ids=["surrogate", "long"])
def test_a_name_that_can_not_be_told_is_an_error(apart, name):
    with pytest.raises(NotPortable, match="name"):
        process.spawn("tests.cluster.acts:idle", name=name)
    with pytest.raises(NotPortable, match="group"):
        process.group(name).join(apart.here.spawn("idle"))


# -- one envelope for a turn, one crossing for a node ---------------------------------------


def test_what_is_sent_in_one_turn_shares_an_envelope(apart, box):
    there = apart.there.spawn("report", box.pid)
    apart.settle()
    published = count_envelopes(apart.here)
    for number in range(10):
        process.send(there, "topic", number)
    box.wait_for("got", 10)
    assert published() == 1


def test_a_broadcast_crosses_once_for_a_node(apart, box):  # §7.5
    there = [apart.there.spawn("report", box.pid) for _ in range(5)]
    apart.settle()
    before = apart.here.node.counts["cluster_sent"]
    assert process.broadcast(there, "topic") == 5
    box.wait_for("got", 5)
    assert apart.here.node.counts["cluster_sent"] == before + 1


def test_a_broadcast_to_more_than_an_envelope_holds_reaches_all(apart):
    there = [apart.there.spawn("full_until_told", "now") for _ in range(30)]
    payload = "x" * (1024 * 1024 - 4096 - 700)
    assert process.broadcast(there, "topic", payload) == 30
    wait_until(lambda: [process.info(pid)["mailbox"] for pid in there] == [1] * 30)


def count_envelopes(place):
    backend, counted = place.backend, []
    publish = backend.publish

    def counting(member, data):
        counted.append(data)
        return publish(member, data)

    backend.publish = counting
    return lambda: len(counted)
