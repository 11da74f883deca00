"""Children that come and go while their supervisor runs (§2.12)."""

import dataclasses
import functools

import gevent
import pytest
from flask import Flask, current_app

from greenrelay import GreenRelay, process
from greenrelay.errors import NameNotRegistered, NameTaken, NotAProcess, ProcessDown
from greenrelay.process import Child, Supervisor
from greenrelay.processes.calls import ask
from greenrelay.processes.children import as_fields
from greenrelay.processes.supervised import CHILDREN, START_CHILD, STOP_CHILD
from greenrelay.testing import wait_until
from tests.sample_processes import Stage, idle, sleep


@pytest.fixture
def rooms(node):
    """A supervisor that runs and has no children yet."""
    rooms = Supervisor()
    rooms.start(name="rooms")
    return rooms


def fail(pid):
    """Have a noted child fail, and wait until it has."""
    process.send(pid, "do", lambda: 1 / 0)
    wait_until(lambda: not process.is_alive(pid))


# -- starting ----------------------------------------------------------------------------


def test_start_child_gives_the_pid_of_one_that_runs(rooms):
    """§2.12"""
    pid = rooms.start_child(idle)
    assert process.is_alive(pid)
    assert rooms.children() == [pid]


def test_start_child_takes_what_a_supervisor_is_given(rooms):
    """§2.12: a callable, a text, a Child, a supervisor."""
    for spec in (idle, "tests.sample_processes:sleep", Child(idle, name="x"), Supervisor([idle])):
        rooms.start_child(spec)
    assert len(rooms.children()) == 4


def test_child_that_was_added_is_linked_with_its_supervisor(rooms):
    """§2.12, §2.8"""
    pid = rooms.start_child(idle)
    assert process.info(pid)["links"] == [process.registry.lookup("rooms")]


def test_supervisor_takes_children_at_once(node):
    """§2.12: also one that has not taken its first step."""
    supervisor = Supervisor()
    supervisor.start()
    assert process.is_alive(supervisor.start_child(idle))


def test_children_stand_in_the_order_of_their_start(noted):
    """§2.12"""
    supervisor = Supervisor([noted.child("one")])
    supervisor.start()
    added = [supervisor.start_child(noted.child(name)) for name in ("two", "three")]
    assert supervisor.children() == [process.registry.lookup("one"), *added]


def test_process_adds_a_child(node, rooms):
    """§2.12"""
    stage = Stage(node)
    assert process.is_alive(stage.do(rooms.start_child, idle))
    process.cancel(stage.pid)


def test_child_adds_its_sibling(node, rooms):
    """§2.12: its supervisor does not wait for it meanwhile."""
    pids = []
    rooms.start_child(Child(lambda: pids.append(rooms.start_child(idle)), restart="temporary"))
    wait_until(lambda: pids)
    assert rooms.children() == pids


def test_thread_adds_and_stops_a_child(rooms, in_thread):
    """§2.9, §2.12: as a view may."""
    pid = in_thread(rooms.start_child, idle)
    assert in_thread(rooms.children) == [pid]
    assert in_thread(rooms.stop_child, pid) is True
    assert in_thread(process.supervisor("rooms").children) == []


def test_view_adds_a_child(node):
    """§2.12, §2.7: which runs in the app in which the supervisor was started."""
    app = Flask("shop")
    relay = GreenRelay(app, node=node)
    rooms, names = Supervisor(), []
    relay.spawn(rooms, app=app)
    gevent.sleep(0)
    job = Child(lambda: names.append(current_app.name), restart="temporary")
    app.add_url_rule("/", view_func=lambda: rooms.start_child(job))
    assert "@test/" in app.test_client().get("/").text
    wait_until(lambda: names == ["shop"])


# -- by its name or its PID ----------------------------------------------------------------


def test_supervisor_is_found_by_its_name_or_its_pid(rooms):
    """§2.12"""
    pid = process.supervisor("rooms").start_child(idle)
    by_pid = process.supervisor(process.registry.lookup("rooms"))
    assert by_pid.children() == rooms.children() == [pid]
    assert by_pid.stop_child(pid)


def test_name_that_nobody_holds_is_no_supervisor(node):
    with pytest.raises(NameNotRegistered):
        process.supervisor("rooms").children()


def test_process_that_is_no_supervisor_says_so(node):
    """§2.12: it would never answer."""
    pid = node.spawn(idle)
    with pytest.raises(ValueError, match=rf"{pid} is no supervisor; process.Supervisor"):
        process.supervisor(pid).start_child(idle)


def test_supervisor_that_was_not_started_has_no_children(node):
    with pytest.raises(NotAProcess, match=r"start_child\(\) asks a supervisor that runs; call sta"):
        Supervisor().start_child(idle)


def test_supervisor_that_has_ended_takes_no_child(node, rooms):
    """§2.12"""
    process.cancel("rooms")
    wait_until(lambda: len(node) == 0)
    with pytest.raises(ProcessDown, match="noproc"):
        rooms.start_child(idle)


def test_supervisor_means_the_process_that_runs_it_now(node):
    """§2.12, §2.8: its own supervisor has started it anew."""
    inner = Supervisor()
    Supervisor([Child(inner, name="inner")]).start()
    first = wait_until(lambda: process.registry.lookup("inner"))
    process.terminate(first)
    wait_until(lambda: process.registry.lookup("inner") not in (None, first))
    gevent.sleep(0)
    assert process.is_alive(inner.start_child(idle))


# -- stopping ----------------------------------------------------------------------------


def test_stopped_child_has_ended_and_stays_so(noted):
    """§2.12"""
    supervisor = Supervisor()
    supervisor.start()
    pid = supervisor.start_child(noted.child("one"))
    gevent.sleep(0)
    assert supervisor.stop_child(pid) is True
    noted.wait_for("+one -one")
    assert supervisor.children() == []


@pytest.mark.parametrize("known", ["its PID", "its name", "a name of its own"])
def test_child_is_stopped_by(node, rooms, known):
    """§2.12"""
    pid = rooms.start_child(Child(idle, name="room"))
    process.registry.register("tea", pid)
    dest = {"its PID": str(pid), "its name": "room", "a name of its own": "tea"}[known]
    assert rooms.stop_child(dest)
    assert not process.is_alive(pid)


def test_child_is_known_by_its_pid_when_it_has_another(noted):
    """§2.12: start_child() has returned it, and who has it knows no other."""
    supervisor = Supervisor()
    supervisor.start()
    pid = supervisor.start_child(noted.child("one"))
    for _ in range(2):
        wait_until(lambda: process.registry.lookup("one"))
        gevent.sleep(0)
        fail(process.registry.lookup("one"))
    wait_until(lambda: process.registry.lookup("one"))
    assert supervisor.stop_child(pid)
    assert process.registry.lookup("one") is None
    assert not supervisor.stop_child(pid)


def test_child_is_known_by_the_pid_that_it_has_now(noted):
    """§2.12"""
    supervisor = Supervisor()
    supervisor.start()
    pid = supervisor.start_child(noted.child("one"))
    gevent.sleep(0)
    fail(pid)
    wait_until(lambda: process.registry.lookup("one"))
    assert supervisor.stop_child(process.registry.lookup("one"))
    assert supervisor.children() == []


def test_child_is_stopped_while_it_waits_to_be_started_anew(noted):
    """§2.12: it is not started any more."""
    supervisor = Supervisor()
    supervisor.start()
    pid = supervisor.start_child(noted.child("one"))
    for _ in range(2):
        gevent.sleep(0)
        fail(wait_until(lambda: process.registry.lookup("one")))
    assert supervisor.stop_child(pid)
    noted.wait_for("+one -one +one -one")
    gevent.sleep(0.1)
    assert noted.notes == []


def test_child_that_was_there_from_the_start_can_be_stopped(noted):
    """§2.12: and leaves the others alone."""
    supervisor = Supervisor(noted.children(), strategy="one_for_all")
    noted.start(supervisor)
    assert supervisor.stop_child("two")
    noted.wait_for("-two")
    noted.tell("one")
    noted.wait_for("-one -three +one +three")


def test_stopping_nobodys_child_says_so(node, rooms):
    """§2.12"""
    stranger = node.spawn(idle)
    assert rooms.stop_child(stranger) is False
    assert rooms.stop_child("nobody") is False
    assert process.is_alive(stranger)


def test_stop_waits_as_long_as_the_child_may_take(node, rooms, observer):
    """§2.12: then it is terminated."""
    pid = rooms.start_child(Child(sleep, shutdown=0.02))
    observer.watch(pid)
    assert rooms.stop_child(pid)
    assert observer.wait_for(pid).reason == "killed"


def test_child_may_stop_itself(node, rooms, observer):
    """§2.12: it gets its answer first, or would wait for its own end."""
    answers = []

    def stop_myself():
        process.inbox().receive()
        answers.append(rooms.stop_child(process.pid()))
        process.inbox().receive()

    pid = rooms.start_child(stop_myself)
    observer.watch(pid)
    process.send(pid, "go")
    assert observer.wait_for(pid).reason == "cancelled"
    assert answers == [True]
    assert rooms.children() == []


def test_added_children_end_with_their_supervisor_the_last_first(noted, observer):
    """§2.12, §2.8"""
    supervisor = Supervisor([noted.child("one")])
    pid = supervisor.start()
    for name in ("two", "three"):
        supervisor.start_child(noted.child(name))
    noted.wait_for("+one +two +three")
    process.cancel(pid)
    assert observer.reason_of(pid) == "shutdown"
    noted.wait_for("-three -two -one")


# -- starting anew -----------------------------------------------------------------------


def test_added_child_is_started_anew(noted):
    """§2.12, §2.8"""
    supervisor = Supervisor()
    supervisor.start()
    pid = supervisor.start_child(noted.child("one"))
    gevent.sleep(0)
    fail(pid)
    noted.wait_for("+one -one +one")
    assert supervisor.children() == [process.registry.lookup("one")]


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_nothing_is_kept_of_an_added_child_that_is_done(node, rooms, restart):
    """§2.12: its name is free for the next one."""
    for _ in range(3):
        pid = rooms.start_child(Child(lambda: None, name="job", restart=restart))
        wait_until(lambda pid=pid: not process.is_alive(pid))
    assert rooms.children() == []
    assert rooms.stop_child("job") is False


@pytest.mark.parametrize(
    ("strategy", "notes"),
    [
        ("one_for_one", "-two +two"),
        ("one_for_all", "-two -three -one +one +two +three"),
        ("rest_for_one", "-two -three +two +three"),
    ],
)
def test_strategy_counts_those_that_were_added(noted, strategy, notes):
    """§2.12, §2.8"""
    supervisor = Supervisor([noted.child("one")], strategy=strategy)
    noted.start(supervisor)
    for name in ("two", "three"):
        supervisor.start_child(noted.child(name))
    noted.wait_for("+two +three")
    noted.tell("two")
    noted.wait_for(notes)


def test_restarts_of_all_children_are_counted_together(noted, observer):
    """§2.12, §2.8"""
    supervisor = Supervisor([noted.child("one")], max_restarts=1)
    pid = supervisor.start()
    supervisor.start_child(noted.child("two"))
    gevent.sleep(0)
    observer.watch(pid)
    noted.tell("one")
    wait_until(lambda: process.registry.lookup("one"))
    noted.tell("two")
    assert observer.wait_for(pid).reason == "shutdown"


def test_end_of_an_added_child_in_good_order_is_not_worth_a_line(node, rooms, caplog):
    """§2.12: a job each minute would fill the log."""
    rooms.start_child(Child(lambda: None, restart="temporary"))
    wait_until(lambda: rooms.children() == [])
    assert caplog.messages == []


# -- names -------------------------------------------------------------------------------


def test_name_of_another_child_is_taken(rooms):
    """§2.12: as Erlang's `already_started`, and who holds it is said."""
    pid = rooms.start_child(Child(idle, name="room"))
    with pytest.raises(NameTaken) as caught:
        rooms.start_child(Child(idle, name="room"))
    assert (caught.value.name, caught.value.holder) == ("room", pid)
    assert rooms.children() == [pid]


def test_name_of_a_stranger_is_taken(node, rooms):
    """§2.12: nothing waits for it."""
    stranger = node.spawn(idle, name="room")
    with pytest.raises(NameTaken) as caught:
        rooms.start_child(Child(idle, name="room"))
    assert caught.value.holder == stranger
    process.terminate(stranger)
    gevent.idle()
    assert process.registry.lookup("room") is None


def test_name_of_a_child_that_waits_to_be_started_anew_is_taken(noted):
    """§2.12"""
    supervisor = Supervisor()
    supervisor.start()
    supervisor.start_child(noted.child("one"))
    for _ in range(2):
        gevent.sleep(0)
        fail(wait_until(lambda: process.registry.lookup("one")))
    with pytest.raises(NameTaken):
        supervisor.start_child(Child(idle, name="one"))


# -- bad use -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (3, TypeError, "function or 'package.module:function', got 3"),
        ("no.such:thing", ValueError, "package.module:function"),
        ([idle], TypeError, "takes a function or"),
    ],
)
def test_bad_child_is_an_error_where_it_is_written(rooms, spec, error, text):
    with pytest.raises(error, match=text):
        rooms.start_child(spec)
    assert rooms.children() == []


def test_stop_takes_a_pid_or_a_name(rooms):
    with pytest.raises(TypeError, match=r"takes the PID of start_child\(\), or a name"):
        rooms.stop_child(Child(idle))


def test_keywords_of_a_child_may_have_the_names_of_options(rooms):
    """§2.12: they are its function's, and the supervisor lives on."""
    seen = []
    spec = Child(lambda name, link: seen.append((name, link)), (), {"name": 1, "link": 2})
    rooms.start_child(functools.partial(rooms_free, seen))
    rooms.start_child(spec)
    wait_until(lambda: (1, 2) in seen)
    assert process.is_alive("rooms")


def rooms_free(seen):
    seen.append("free")
    idle()


def test_child_that_fails_at_once_was_there(rooms):
    """§2.12: without waits_ready it is there when it is started."""
    pid = rooms.start_child(Child(lambda: 1 / 0, restart="temporary"))
    wait_until(lambda: not process.is_alive(pid))
    assert rooms.children() == []


# -- from another node -------------------------------------------------------------------


def test_child_for_another_node_is_plain_values():
    """§2.12, §7.4: of which the other node makes the same child."""
    child = Child(idle, ("tea",), {"seats": 3}, name="room", shutdown=None, waits_ready=True)
    fields = as_fields(child)
    assert fields["target"] == "tests.sample_processes:idle"
    assert Child(**fields) == dataclasses.replace(child, target=fields["target"])


@pytest.mark.parametrize("target", [lambda: None, Stage(None, lambda run: None).do, Supervisor()])
def test_child_that_another_node_cannot_find_is_refused(target):
    with pytest.raises(ValueError, match=r"another node can't find .*; name 'package.module:func"):
        as_fields(Child(target))


def ask_as_another_node(node, topic, payload):
    """Ask as a message that came over the wire does, and return the answer."""
    return ask(node, process.registry.lookup("rooms"), (topic, payload), None, 5.0)


def test_supervisor_answers_another_node_in_plain_values(node, rooms):
    """§2.12, §7.4"""
    error, pid = ask_as_another_node(node, START_CHILD, as_fields(Child(idle, name="room")))
    assert (error, process.registry.lookup("room")) == (None, pid)
    assert ask_as_another_node(node, CHILDREN, None) == [None, [pid]]
    again = ask_as_another_node(node, START_CHILD, as_fields(Child(idle, name="room")))
    assert again == ["NameTaken", ["room", pid]]
    assert ask_as_another_node(node, STOP_CHILD, str(pid)) == [None, True]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"target": "no.such:thing"}, "ValueError"),
        ({"target": 3}, "TypeError"),
        ({"nmae": "room"}, "TypeError"),
        (None, "TypeError"),
    ],
)
def test_what_is_no_child_here_is_told_to_the_other_node(node, rooms, fields, error):
    """§2.12: and the supervisor lives on."""
    assert ask_as_another_node(node, START_CHILD, fields)[0] == error
    assert rooms.children() == []
