"""A child says that it is ready, and the next one starts then (§2.12)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import CallTimeout, ProcessDown
from greenrelay.process import Child, Supervisor
from greenrelay.processes.supervised import Supervisors
from greenrelay.testing import wait_until
from tests.sample_processes import idle


class Slow:
    """Children that become ready, or not, when a test says so."""

    def __init__(self):
        self.notes = []

    def child(self, name, **options):
        return Child(self.act, (name,), name=name, **{"waits_ready": True, **options})

    def act(self, name):
        self.notes.append(f"+{name}")
        for message in process.inbox():
            message.payload()

    def tell(self, name, call):
        process.send(name, "do", call)
        settle()


def settle():
    for _ in range(3):
        gevent.idle()


@pytest.fixture
def slow(node):
    return Slow()


@pytest.fixture
def rooms(node):
    rooms = Supervisor()
    rooms.start(name="rooms")
    return rooms


def crash():
    raise ValueError("no database")


# -- at the start of a supervisor ----------------------------------------------------------


def test_next_child_starts_when_the_one_before_is_ready(slow):
    """§2.12"""
    Supervisor([slow.child("one"), slow.child("two"), slow.child("three")]).start()
    settle()
    assert slow.notes == ["+one"]
    slow.tell("one", process.ready)
    assert slow.notes == ["+one", "+two"]
    slow.tell("two", process.ready)
    assert slow.notes == ["+one", "+two", "+three"]


def test_child_that_need_not_say_so_is_ready(slow):
    """§2.12"""
    Supervisor([slow.child("one", waits_ready=False), slow.child("two")]).start()
    settle()
    assert slow.notes == ["+one", "+two"]


def test_child_that_fails_before_it_is_ready_is_started_anew(slow, caplog):
    """§2.12, §2.8: it counts as any failure, and the next one waits on."""
    Supervisor([slow.child("one"), slow.child("two")]).start()
    settle()
    slow.tell("one", crash)
    wait_until(lambda: slow.notes == ["+one", "+one"])
    assert "child one ended: error: ValueError: no database; restart 1 of 3" in caplog.text


def test_next_child_waits_through_the_pause_before_a_restart(slow):
    """§2.12"""
    Supervisor([slow.child("one"), slow.child("two")]).start()
    for count in (1, 2, 3):
        wait_until(lambda count=count: slow.notes == ["+one"] * count)
        settle()
        slow.tell("one", crash if count < 3 else process.ready)
    assert slow.notes == ["+one"] * 3 + ["+two"]


def test_supervisor_whose_child_never_becomes_ready_gives_up(slow, observer):
    """§2.12, §2.8"""
    pid = Supervisor([slow.child("one"), slow.child("two")], max_restarts=0).start()
    settle()
    observer.watch(pid)
    slow.tell("one", crash)
    assert observer.wait_for(pid).reason == "shutdown"
    assert slow.notes == ["+one"]


def test_child_that_is_not_started_anew_holds_up_nobody(slow):
    """§2.12"""
    Supervisor([slow.child("one", restart="temporary"), slow.child("two")]).start()
    settle()
    slow.tell("one", crash)
    wait_until(lambda: slow.notes == ["+one", "+two"])


def test_child_that_does_not_become_ready_in_time_is_terminated(slow, observer, caplog):
    """§2.12: and counts as failed."""
    pid = Supervisor([slow.child("one", ready_within=0.02)], max_restarts=1).start()
    assert observer.reason_of(pid) == "shutdown"
    assert slow.notes == ["+one", "+one"]
    late = "child one has not called process.ready() in 0.02 s; terminating it"
    assert caplog.messages == [
        late,
        "child one ended: not ready in time; restart 1 of 1 in 5 s",
        late,
        "child one ended: not ready in time; 2 ends in 5 s are too many, giving up",
    ]


def test_supervisor_ends_in_good_order_while_it_waits(slow, observer):
    """§2.12"""
    pid = Supervisor([slow.child("one"), slow.child("two")]).start()
    settle()
    process.cancel(pid)
    assert observer.reason_of(pid) == "shutdown"
    assert slow.notes == ["+one"]


@pytest.mark.parametrize(
    ("strategy", "notes"),
    [("one_for_all", ["+one", "+two", "+three"]), ("rest_for_one", ["+two", "+three"])],
)
def test_those_that_are_started_anew_wait_for_each_other_too(slow, strategy, notes):
    """§2.12, §2.8"""
    names = ("one", "two", "three")
    Supervisor([slow.child(name) for name in names], strategy=strategy).start()
    settle()
    for name in names:
        slow.tell(name, process.ready)
    slow.notes.clear()
    slow.tell("two", crash)
    for count, note in enumerate(notes, 1):
        wait_until(lambda count=count: slow.notes == notes[:count])
        settle()
        slow.tell(note[1:], process.ready)
    assert slow.notes == notes


def test_supervisor_is_ready_when_its_children_are(slow):
    """§2.12: as Erlang's, whose start waits for all beneath it."""
    Supervisor([Supervisor([slow.child("one")]), slow.child("two", waits_ready=False)]).start()
    settle()
    assert slow.notes == ["+one"]
    slow.tell("one", process.ready)
    wait_until(lambda: slow.notes == ["+one", "+two"])


# -- who says so ---------------------------------------------------------------------------


def test_ready_does_nothing_where_nobody_waits_for_it(in_process, slow):
    """§2.12: a function need not know whether it is supervised."""
    assert in_process(process.ready) is None
    Supervisor([slow.child("one", waits_ready=False), slow.child("two")]).start()
    settle()
    slow.tell("one", process.ready)
    assert slow.notes == ["+one", "+two"]


def test_ready_is_said_once(slow):
    """§2.12: the second is not the next one's."""
    Supervisor([slow.child("one"), slow.child("two"), slow.child("three")]).start()
    settle()
    for _ in range(3):
        slow.tell("one", process.ready)
    assert slow.notes == ["+one", "+two"]


def test_ready_is_no_message_to_anybody_but_a_supervisor(node, messages):
    """§2.12: a process that has spawned and linked it hears nothing."""

    def starter():
        process.spawn(process.ready, link=True, monitor=True)
        process.events().receive()
        messages.append(process.inbox().receive(0))

    node.spawn(starter)
    wait_until(lambda: messages == [None])


# -- start_child -----------------------------------------------------------------------------


def test_start_child_returns_when_the_child_is_ready(rooms):
    """§2.12"""

    def warm_up():
        gevent.sleep(0.02)
        process.registry.register("warm")
        process.ready()
        idle()

    pid = rooms.start_child(Child(warm_up, waits_ready=True))
    assert process.registry.lookup("warm") == pid


def test_child_that_fails_before_it_is_ready_was_never_there(rooms, caplog):
    """§2.12: as Erlang's: an error for the caller, no restart."""
    with pytest.raises(ProcessDown) as caught:
        rooms.start_child(Child(crash, waits_ready=True, name="one"))
    assert caught.value.reason == "error: ValueError: no database"
    assert rooms.children() == []
    assert not [text for text in caplog.messages if "restart" in text]
    assert process.is_alive(rooms.start_child(Child(idle, name="one")))


def test_child_that_returns_before_it_is_ready_was_never_there(rooms):
    """§2.12"""
    with pytest.raises(ProcessDown, match="normal"):
        rooms.start_child(Child(lambda: None, waits_ready=True))


def test_child_that_is_ready_and_fails_at_once_was_there(rooms):
    """§2.12: its end does not overtake what it has said before."""

    def be_ready_and_fail():
        process.ready()
        crash()

    child = Child(be_ready_and_fail, waits_ready=True, restart="temporary")
    assert rooms.start_child(child).host == "proc"
    wait_until(lambda: rooms.children() == [])


def test_start_child_says_when_the_child_was_not_ready_in_time(rooms, observer):
    """§2.12"""
    before = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        rooms.start_child(Child(idle, name="one", waits_ready=True, ready_within=0.02))
    assert time.monotonic() - before < 2
    assert str(caught.value) == (
        "child one did not call process.ready() in 0.02 s and was terminated; "
        "Child(…, ready_within=…) waits longer"
    )
    assert process.registry.lookup("one") is None
    assert rooms.children() == []


def test_start_child_hears_of_the_end_of_its_supervisor(node, rooms):
    """§2.12"""
    gevent.spawn_later(0.02, node.terminate, process.registry.lookup("rooms"))
    with pytest.raises(ProcessDown, match="killed"):
        rooms.start_child(Child(idle, waits_ready=True))


def test_child_may_add_another_before_it_is_ready(rooms):
    """§2.12: nobody waits for each other in a circle."""
    pids = []

    def first():
        pids.append(rooms.start_child(idle))
        process.ready()
        idle()

    pid = rooms.start_child(Child(first, waits_ready=True))
    assert rooms.children() == [pid, *pids]


def test_added_children_of_one_for_one_do_not_wait_for_each_other(rooms):
    """§2.12: none depends on another."""
    gevent.spawn(lambda: rooms.start_child(Child(idle, waits_ready=True, ready_within=60)))
    gevent.sleep(0.01)
    assert process.is_alive(rooms.start_child(idle))
    process.terminate(process.registry.lookup("rooms"))


def test_added_child_waits_for_those_that_were_there_from_the_start(slow):
    """§2.12"""
    supervisor = Supervisor([slow.child("one")])
    supervisor.start()
    settle()
    added = gevent.spawn(supervisor.start_child, slow.child("two", waits_ready=False))
    settle()
    assert slow.notes == ["+one"]
    slow.tell("one", process.ready)
    assert process.is_alive(added.get(timeout=5))


def test_child_that_waits_for_ready_can_be_stopped(slow):
    """§2.12: who waits for it hears that it is gone."""
    supervisor = Supervisor()
    supervisor.start()
    added = gevent.spawn(supervisor.start_child, slow.child("one"))
    wait_until(lambda: slow.notes)
    assert supervisor.stop_child("one")
    with pytest.raises(ProcessDown, match="shutdown"):
        added.get(timeout=5)


def test_child_that_was_stopped_leaves_nothing_behind(node, slow):
    """§2.12"""
    pid = Supervisor([slow.child("one")]).start()
    settle()
    process.cancel(pid)
    wait_until(lambda: len(node) == 0)
    supervisors = node.shared(Supervisors)
    assert (supervisors._pids, supervisors._expected) == (set(), {})


def test_nothing_is_left_of_a_supervisor_that_was_killed_while_it_waited(node, slow):
    """§2.12"""
    pid = Supervisor([slow.child("one")]).start()
    settle()
    process.terminate(pid)
    wait_until(lambda: len(node) == 0)
    supervisors = node.shared(Supervisors)
    assert (supervisors._pids, supervisors._expected) == (set(), {})


def linger():
    """End a while after being asked."""
    idle()
    gevent.sleep(0.1)


def test_child_that_was_ready_in_time_is_not_terminated_by_a_busy_supervisor(rooms, caplog):
    """§2.12: it has said so while another one was being stopped."""

    def warm_up():
        gevent.sleep(0.03)
        process.ready()
        idle()

    lingering = rooms.start_child(linger)
    gevent.sleep(0)
    added = gevent.spawn(rooms.start_child, Child(warm_up, waits_ready=True, ready_within=0.06))
    gevent.sleep(0.01)
    assert rooms.stop_child(lingering)
    assert process.is_alive(added.get(timeout=5))
    assert caplog.messages == []


# -- bad use -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"waits_ready": 30}, TypeError, "for how long says ready_within=seconds"),
        ({"ready_within": 0}, ValueError, "more than 0, or None for no limit, got 0"),
        ({"ready_within": "30s"}, ValueError, "got '30s'"),
        ({"args": "tea"}, TypeError, r"args is a tuple, like \('tea',\); got 'tea'"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_written_down(fields, error, text):
    with pytest.raises(error, match=text):
        Child(idle, **fields)
