"""What other OS threads of the interpreter may do (§2.9)."""

import gevent
import pytest
from gevent import monkey

from greenrelay import process
from greenrelay.errors import (
    CallTimeout,
    LoopStopped,
    NameNotRegistered,
    NameTaken,
    NotAProcess,
    ProcessDown,
)
from greenrelay.process import on_node
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.sample_processes import collect, echo, idle

start_new_thread = monkey.get_original("_thread", "start_new_thread")


def topics(messages):
    return [message.topic for message in messages]


def test_message_from_a_thread_wakes_who_waits_at_once(node, in_thread):
    """§2.9: nothing else happens in the loop that would wake it."""
    taken = []
    pid = process.spawn(lambda: taken.append(process.inbox().receive()))
    gevent.sleep(0)
    assert in_thread(process.send, pid, "hello", 1) is True
    gevent.get_hub().join(timeout=1)
    assert [(m.topic, m.payload, m.sender) for m in taken] == [("hello", 1, None)]


def test_messages_of_a_thread_come_in_order(node, in_thread):
    """§2.9"""
    taken = []
    pid = process.spawn(collect, taken)
    in_thread(lambda: [process.send(pid, str(number)) for number in range(1000)])
    wait_until(lambda: len(taken) == 1000)
    assert topics(taken) == [str(number) for number in range(1000)]
    process.terminate(pid)


def test_thread_is_told_that_nobody_is_there(node, in_thread):
    """§2"""
    pid = process.spawn(lambda: None)
    wait_until(lambda: not process.is_alive(pid))
    assert in_thread(process.send, pid, "hello") is False
    with pytest.raises(NameNotRegistered):
        in_thread(process.send, "nobody", "hello")
    with pytest.raises(ValueError, match="not empty"):
        in_thread(process.send, pid, "")


def test_thread_spawns_and_speaks_to_what_it_has_spawned(node, in_thread, observer):
    """§2.9"""
    taken = []

    def there():
        pid = process.spawn(collect, taken, name="room")
        assert process.spawn(collect, [], name="room") == pid
        process.send("room", "one")
        process.broadcast([pid, "room"], "two")
        return pid

    pid = in_thread(there)
    observer.watch(pid)
    assert in_thread(process.cancel, pid) is True
    assert observer.wait_for(pid).reason == "cancelled"
    assert topics(taken) == ["one", "two", "two"]


def test_thread_calls(node, in_thread):
    """§2.9"""
    pid, silent = process.spawn(echo), process.spawn(idle)
    assert in_thread(process.call, pid, "ask", 42) == 42
    with pytest.raises(CallTimeout):
        in_thread(process.call, silent, "ask", None, 0.01)
    process.terminate(silent)
    with pytest.raises(ProcessDown):
        in_thread(process.call, silent, "ask")
    process.terminate(pid)


def test_process_has_a_thread_reply(node):
    """§2.9: the pool that does the work answers for itself."""

    def body():
        request = process.inbox().receive()
        gevent.get_hub().threadpool.apply(request.reply, ("from afar",))

    assert process.call(process.spawn(body), "ask") == "from afar"


def test_thread_ends_processes(node, in_thread, observer):
    """§2.9"""
    pid = process.spawn(idle)
    observer.watch(pid)
    assert in_thread(process.terminate, pid) is True
    assert observer.wait_for(pid).reason == "killed"
    assert in_thread(process.terminate, pid) is False


def test_thread_names_and_groups_by_pid(node, in_thread):
    """§2.9"""
    taken = []
    pid = process.spawn(collect, taken)

    def there():
        process.registry.register("name", pid)
        process.group("group").join(pid, {"name": "Ada"})
        assert process.group("group").details() == {pid: {"name": "Ada"}}
        assert process.registry.lookup("name") == pid
        assert process.group("group").members() == [pid]
        assert process.group("group").broadcast("all") == 1
        assert process.group("group").leave(pid)
        assert process.registry.unregister("name")
        return process.info(pid)["groups"]

    assert in_thread(there) == []
    wait_until(lambda: topics(taken) == ["all"])
    process.terminate(pid)


def test_error_of_what_a_thread_asked_for_is_raised_there(node, in_thread):
    """§2.9"""
    first, second = process.spawn(idle), process.spawn(idle)
    process.registry.register("name", first)
    with pytest.raises(NameTaken):
        in_thread(process.registry.register, "name", second)
    for pid in (first, second):
        process.terminate(pid)


def test_thread_sets_and_cancels_timers(node, in_thread):
    """§2.9"""
    taken = []
    pid = process.spawn(collect, taken)
    never = in_thread(process.send_after, 0.05, pid, "never")
    again = in_thread(process.every, 0.05, "never", None, pid)
    assert in_thread(again.cancel)
    in_thread(process.send_after, 0.01, pid, "soon")
    assert in_thread(never.cancel) is True
    gevent.sleep(0.1)
    assert topics(taken) == ["soon"]
    process.terminate(pid)


@pytest.mark.parametrize(
    "call",
    [process.inbox, process.events, process.pid, lambda: process.group("group").join()],
    ids=["inbox", "events", "pid", "join"],
)
def test_thread_is_no_process(in_thread, call):
    """§2.9"""
    with pytest.raises(NotAProcess):
        in_thread(call)


def test_many_threads_at_once_lose_nothing(node):
    """§2.9"""
    taken = []
    pid = process.spawn(collect, taken)

    def there(number):
        with on_node(node):
            for count in range(200):
                process.send(pid, "n", (number, count))

    pool = gevent.get_hub().threadpool
    gevent.wait([pool.spawn(there, number) for number in range(8)])
    wait_until(lambda: len(taken) == 1600)
    for number in range(8):
        assert [m.payload[1] for m in taken if m.payload[0] == number] == list(range(200))
    process.terminate(pid)


# -- threads whose loop does not run ---------------------------------------------------------


def from_elsewhere(call):
    """Return what `call()` returns in a thread without an event loop that runs."""
    results = []
    start_new_thread(lambda: results.append(call()), ())
    wait_until(lambda: results)
    return results[0]


def test_call_is_done_in_place_where_no_loop_runs():
    """§2.9: under `flask run` a view may spawn, though nothing will ever run."""
    thread = from_elsewhere(HubThread)
    assert not thread.is_own()
    assert thread.run(lambda: "done") == "done"


def test_node_without_processes_follows_its_server_to_another_thread():
    """§2.9"""
    node = from_elsewhere(lambda: Node("elsewhere"))
    node.settle_here()
    assert node.thread.is_own()


def test_node_with_processes_stays_where_they_are(node):
    """§2.9"""
    pid = process.spawn(idle)
    from_elsewhere(node.settle_here)
    assert node.thread.is_own()
    process.terminate(pid)


def test_who_waits_for_a_loop_that_ends_is_told(monkeypatch):
    """§2.9: not for ever."""
    monkeypatch.setattr("greenrelay.processes.hubthread._LOOK_SECONDS", 0.01)
    threads, held = [], monkey.get_original("_thread", "allocate_lock")()
    held.acquire()

    def loop():
        gevent.sleep(0)
        threads.append(HubThread())
        held.acquire()  # natively: what is handed over now is never come to
        gevent.get_hub().destroy(destroy_loop=True)

    start_new_thread(loop, ())
    wait_until(lambda: threads)
    start_new_thread(lambda: (monkey.get_original("time", "sleep")(0.05), held.release()), ())
    with pytest.raises(LoopStopped, match="has ended before it came to this call"):
        threads[0].run(pytest.fail, "it was done")
