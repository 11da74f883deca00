"""A node in another interpreter that is killed and started again, or stopped and goes on (§7.2).

Each of the two is gone through once for each way to be joined; the tests look at what came of it.
"""

import contextlib
import signal
import time
from types import SimpleNamespace

import gevent
import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.errors import ProcessDown
from greenrelay.process import on_node
from greenrelay.testing import leaks, serving, wait_until
from tests.cluster.far import SECONDS, FarService
from tests.cluster.placed import Box, Watcher
from tests.cluster.places import FarPlaces
from tests.cluster.redis_servers import need_redis

IDLE = "tests.cluster.acts:idle"
LEASE_SECONDS = 1.5


@pytest.fixture(scope="module", params=["local", "redis"])
def service(request):
    if request.param == "redis":
        need_redis()
    service = FarService(request.param, lease=f"{LEASE_SECONDS}s")
    yield service
    service.stop()


@contextlib.contextmanager
def joined(service):
    """Have a node here and one there, and end what lives here; whatever became of it there."""
    places = FarPlaces(service)
    try:
        with on_node(places.here.node):
            yield places
    finally:
        places.here.end()
        places.here.cluster.stop()
        wait_until(lambda: not leaks(places.here.node), SECONDS)


@contextlib.contextmanager
def clients_of(places, target):
    """Have a WebSocket client and an event stream of a server here."""
    app = Flask("losses")
    relay = GreenRelay(app, node=places.here.node)
    app.add_url_rule("/ws", "ws", lambda: relay.websocket(target))
    app.add_url_rule("/sse", "sse", lambda: relay.sse(target))
    with serving() as serve:
        server = serve(app, own_thread=False)
        with server.connect_ws("/ws") as ws, server.connect_sse("/sse") as stream:
            yield ws, stream


def reasons(watcher, pid):
    return [(event.kind, event.reason) for event in watcher.events if event.sender == pid]


# -- killed, and started again ---------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(service):
    """Kill the other interpreter, start another, and return what was seen here."""
    with joined(service) as places:
        facts = SimpleNamespace(kind=service.kind)
        here, there = places.here, places.there
        facts.pid = pid = there.spawn("idle", name="room")
        there.run("join", "all", pid)
        watcher, box = Watcher(here), Box(here)
        for tie in (process.monitor, process.monitor, process.link):
            watcher.do(tie, pid)
        facts.linked = here.spawn("link", pid, box.pid)
        watcher.do(process.monitor, facts.linked)
        box.wait_for("ready")
        calling = gevent.spawn(here.run, process.call, pid, "ask", timeout=30)
        with clients_of(places, pid) as (ws, stream):
            places.settle()
            begin = time.monotonic()
            there.signal(signal.SIGKILL)
            wait_until(lambda: len(watcher.events) >= 4, SECONDS)
            facts.seconds = time.monotonic() - begin
            facts.close = ws.wait_closed(timeout=SECONDS)
            facts.rest_of_stream = list(stream)
            facts.called = pytest.raises(ProcessDown, calling.get, timeout=SECONDS).value
            facts.group, facts.sent = process.group("all").members(), process.send(pid, "topic")
            facts.next_of_name = process.spawn(IDLE, name="room")
            after_return(facts, service, watcher, pid)
    return facts


def after_return(facts, service, watcher, pid):
    """Start another interpreter of the name, and note what the old PID is."""
    facts.ties, facts.ends = reasons(watcher, pid), reasons(watcher, facts.linked)
    (again,) = service.start("there")
    wait_until(lambda: process.send(pid, "topic"), SECONDS)
    facts.name_there = again.run("lookup", "room")
    watcher.do(process.monitor, pid)
    wait_until(lambda: len(reasons(watcher, pid)) > len(facts.ties), SECONDS)
    facts.after_return = reasons(watcher, pid)[-1]
    facts.info_after_return = process.info(pid)


def test_each_tie_to_a_killed_node_gives_one_noconnection(killed):  # §7.2
    exits, downs = [("pid.exit", "noconnection")] * 2, [("pid.link.down", "noconnection")]
    assert sorted(killed.ties) == sorted(exits + downs)


def test_one_that_is_linked_and_traps_nothing_ends(killed):  # §7.2
    assert killed.ends == [("pid.exit", "noconnection")]


def test_a_killed_node_is_lost_in_time(killed):  # §7.2
    """Within 1 s over `local:`, within its lease over Redis; and a busy machine's second."""
    assert killed.seconds < (1 if killed.kind == "local" else 2 * LEASE_SECONDS) + 1


def test_clients_of_a_killed_node_are_closed_with_1012(killed):  # §7.2
    assert killed.close.code == 1012


def test_event_streams_of_a_killed_node_end(killed):  # §7.2
    last = killed.rest_of_stream[-1]
    assert (last.event, last.data) == ("done", '{"reason":"target process failed"}')


def test_a_call_to_a_killed_node_ends(killed):
    assert "noconnection" in str(killed.called)


def test_groups_have_nobody_of_a_killed_node(killed):  # §7.2
    assert killed.group == []


def test_a_send_to_a_killed_node_is_false(killed):  # §7.3
    assert not killed.sent


def test_names_of_a_killed_node_are_free(killed):  # §7.2
    assert killed.next_of_name.node == "here"


def test_a_node_that_is_started_again_knows_the_names(killed):  # §7.6
    assert killed.name_there == killed.next_of_name


def test_processes_of_before_a_restart_are_dead(killed):  # §7.2
    assert killed.after_return == ("pid.exit", "noproc")
    assert killed.info_after_return is None


# -- stopped for longer than its lease ---------------------------------------------------------


@pytest.fixture(scope="module")
def woken(service):
    """Stop the other interpreter until it is lost, let it go on, and return what was seen."""
    with joined(service) as places:
        facts = SimpleNamespace(here=None)
        here, there = places.here, places.there
        before = len(there.log)
        facts.echo = there.spawn("echo", name="kept")
        facts.loser = there.spawn("idle", name="taken")
        there.run("join", "all", facts.echo)
        watcher, box = Watcher(here), Box(here)
        watcher.do(process.monitor, facts.echo)
        facts.watched = here.spawn("idle")
        there.spawn("note_events", facts.watched)
        own = there.ask("open_websocket", there.spawn("report", box.pid))
        far = there.ask("open_websocket", here.spawn("idle"))
        incarnation = there.ask("tests.cluster.far_node:incarnation")
        places.settle()
        there.signal(signal.SIGSTOP)
        wait_until(lambda: watcher.events, SECONDS)
        facts.free = [process.registry.lookup(name) for name in ("kept", "taken")]
        facts.taker = process.spawn(IDLE, name="taken")
        there.signal(signal.SIGCONT)
        wait_until(lambda: process.send(facts.echo, "topic"), SECONDS)
        wait_until(lambda: process.registry.lookup("kept"), SECONDS)
        wait_until(lambda: there.run("lookup", "taken") == facts.taker, SECONDS)
        wait_until(lambda: process.group("all").members(), SECONDS)
        places.settle()
        there.ask("say", own, "still here")
        facts.own_client = box.wait_for("got", 2)
        facts.own_frames = there.ask("frames", own)
        facts.far_codes = there.ask("frames", far)
        facts.ties = reasons(watcher, facts.echo)
        facts.noted = there.ask("noted", facts.watched)
        facts.names = [process.registry.lookup(name) for name in ("kept", "taken")]
        facts.names_there = [there.run("lookup", name) for name in ("kept", "taken")]
        facts.group = process.group("all").members()
        facts.reply = process.call(facts.echo, "call", 1)
        facts.alive = [process.is_alive(pid) for pid in (facts.echo, facts.loser)]
        facts.is_another = there.ask("tests.cluster.far_node:incarnation") != incarnation
        facts.log = there.log[before:]
        there.end()
    return facts


def test_each_tie_to_a_hanging_node_gives_one_noconnection(woken):  # §7.2
    assert woken.ties == [("pid.exit", "noconnection")]


def test_names_of_a_hanging_node_are_free(woken):  # §7.2
    assert woken.free == [None, None]


def test_each_tie_of_a_woken_node_gives_one_noconnection(woken):  # §7.2
    assert woken.noted == [("pid.exit", "noconnection")]


def test_a_woken_node_has_another_incarnation(woken):  # §7.2
    assert woken.is_another


def test_processes_of_a_woken_node_are_what_they_were(woken):  # §7.2
    assert (woken.reply, woken.alive) == (1, [True, True])


def test_clients_of_a_woken_node_stay_connected(woken):  # §7.2
    assert [topic for topic, _, _ in woken.own_client] == ["ws.join", "ws.message"]
    assert woken.own_frames == []


def test_clients_of_a_woken_node_whose_target_was_elsewhere_are_closed(woken):  # §7.2
    assert [frame.code for frame in woken.far_codes] == [1012]


def test_a_name_that_nobody_took_meanwhile_is_its_again(woken):  # §7.2
    assert (woken.names[0], woken.names_there[0]) == (woken.echo, woken.echo)


def test_a_name_that_somebody_took_meanwhile_stays_taken(woken):  # §7.2
    assert (woken.names[1], woken.names_there[1]) == (woken.taker, woken.taker)
    assert woken.log.count("the name 'taken' is not") == 1


def test_groups_of_a_woken_node_come_back(woken):  # §7.2
    assert woken.group == [woken.echo]
