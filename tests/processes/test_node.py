"""A node: the table of everything that has a PID, and its mail (§1, §2)."""

import re

import pytest

from greenrelay import process
from greenrelay.errors import InvalidPID, NameNotRegistered, NameTaken, ProcessDown
from greenrelay.message import Exit, LinkDown
from greenrelay.pid import ID_BYTES, PID
from greenrelay.processes.functions import resolve_target
from greenrelay.processes.node import SPARE_IDS, Node, default_name
from greenrelay.testing import leaks, wait_until
from tests.sample_processes import collect, crash, idle

ELSEWHERE = PID("proc@elsewhere/0123456789abcdef")
UNKNOWN = PID("proc@test/0123456789abcdef")


class Connection:
    """An entity that is no process, and notes what happens to it."""

    is_full = False

    def __init__(self, node):
        self.pid = node.make_pid("ws")
        self.messages = []
        self.news = []
        node.add(self)

    def deliver(self, message):
        self.messages.append(message)
        return True

    def on_exit(self, exit):
        self.news.append(exit)

    on_link_down = on_exit

    def cancel(self, sender, reason):
        self.news.append(("cancel", sender, reason))

    def kill(self, reason):
        self.news.append(("kill", reason))

    def info(self):
        return {"kind": "fake"}


@pytest.fixture
def connection(node):
    connection = Connection(node)
    yield connection
    node.end(connection, "normal")


# -- names and PIDs (§1.1) ---------------------------------------------------------------


def test_pid_names_host_and_node(node):
    """§1.1"""
    pid = node.make_pid("app:processes")
    assert (pid.host, pid.node, len(pid.id)) == ("app:processes", "test", 16)


def test_pid_takes_its_randomness_from_an_argument():
    node = Node("n", random=lambda count: b"\xff" * count)
    assert node.make_pid("proc") == "proc@n/________________"


def test_no_two_pids_are_the_same(node):
    """§1.1"""
    assert len({node.make_pid("proc") for _ in range(3 * SPARE_IDS)}) == 3 * SPARE_IDS


def test_randomness_that_somebody_gives_is_asked_for_one_pid_at_a_time():
    """§1.1: a device may give less than is asked for, and a test's counter repeats itself."""
    asked = []
    node = Node("n", random=lambda count: asked.append(count) or bytes([len(asked)]) * count)
    pids = {node.make_pid("proc") for _ in range(3)}
    assert (len(pids), asked) == (3, [ID_BYTES] * 4)


@pytest.mark.parametrize("name", ["a@b", "a/b", "a b", "\n"])
def test_name_that_can_not_stand_in_a_pid_is_refused(name):
    with pytest.raises(InvalidPID, match="without '@', '/' and spaces"):
        Node(name)


def test_node_without_a_name_gets_one_of_its_own():
    assert Node().name == default_name()
    assert re.fullmatch(r"[\w.-]+-\d+", default_name())


def test_two_nodes_know_nothing_of_each_other(node):
    other = Node("other")
    pid = other.spawn(idle, name="idle")
    assert other.is_alive("idle")
    assert not node.is_alive("idle")
    other.terminate(pid)
    wait_until(lambda: not leaks(other))


# -- what can be spawned -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["tests.sample_processes:idle", "tests.sample_processes.idle"], ids=["colon", "dots"]
)
def test_function_may_be_named(text):
    """§2"""
    assert resolve_target(text) is idle


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        pytest.param("no.such:thing", ValueError, "'package.module:function'", id="no module"),
        pytest.param(
            "tests.sample_processes:no", ValueError, "has no attribute 'no'", id="no function"
        ),
        pytest.param("not a name", ValueError, "can't spawn 'not a name'", id="no name"),
        pytest.param("tests.sample_processes", TypeError, "spawn.. takes a function", id="module"),
        pytest.param(None, TypeError, "spawn.. takes a function .* got None", id="none"),
        pytest.param(42, TypeError, "spawn.. takes a function .* got 42", id="number"),
    ],
)
def test_what_can_not_be_spawned_is_refused(node, target, error, text):
    with pytest.raises(error, match=text):
        node.spawn(target)
    assert len(node) == 0


def test_bad_name_spawns_nothing(node):
    with pytest.raises(ValueError, match="has no '@'"):
        node.spawn(idle, name="a@b")
    assert len(node) == 0


def test_bad_host_spawns_nothing(node):
    with pytest.raises(InvalidPID, match="the host"):
        node.spawn(idle, host="a/b", name="idle")
    assert len(node) == len(node.registry) == 0


# -- mail --------------------------------------------------------------------------------


def test_message_goes_to_a_connection_as_to_a_process(node, connection):
    assert node.send(connection.pid, "topic", 1, sender=UNKNOWN)
    (message,) = connection.messages
    assert (message.topic, message.payload, message.sender) == ("topic", 1, UNKNOWN)


def test_broadcast_is_one_message_for_all(node, connection):
    """Encoded once: connections recognise it."""
    other = Connection(node)
    assert node.broadcast([connection.pid, other.pid], "topic") == 2
    assert connection.messages[0] is other.messages[0]
    node.table.remove(other)


def test_broadcast_counts_who_took_it(node, connection):
    """§2"""
    messages = []
    pid = node.spawn(collect, (messages,), name="receiver")
    dests = [connection.pid, "receiver", UNKNOWN, "nobody", str(pid)]
    assert node.broadcast(iter(dests), "topic") == 3


@pytest.mark.parametrize("dest", ["a@b", "a@b/c", "", "nobody", None, 7])
def test_bad_destination_is_an_error(node, dest):
    with pytest.raises((InvalidPID, NameNotRegistered)):
        node.send(dest, "topic")


def test_unknown_pid_is_no_error(node):
    """§2"""
    assert not node.send(UNKNOWN, "topic")
    assert not node.send(str(UNKNOWN), "topic")
    assert not node.cancel(UNKNOWN)
    assert not node.terminate(UNKNOWN)


# -- names and groups --------------------------------------------------------------------


def test_connection_may_have_a_name_and_be_in_groups(node, connection):
    node.register("name", connection.pid)
    node.join("group", connection.pid)
    assert node.resolve("name") == connection.pid
    node.end(connection, "normal")
    assert (len(node.registry), len(node.groups)) == (0, 0)


@pytest.mark.parametrize("enter", ["register", "join"])
def test_the_dead_are_in_no_table(node, enter):
    with pytest.raises(ProcessDown, match=f"{UNKNOWN} is down: noproc"):
        getattr(node, enter)("x", UNKNOWN)
    assert leaks(node) == []


def test_taken_name_names_its_holder(node, connection):
    pid = node.spawn(idle, name="name")
    with pytest.raises(NameTaken, match=pid):
        node.register("name", connection.pid)


# -- the end -----------------------------------------------------------------------------


@pytest.mark.parametrize("pid", [UNKNOWN, ELSEWHERE], ids=["here", "elsewhere"])
def test_the_unknown_are_reported_at_once(node, connection, pid):
    """§2.3, §2.4"""
    ref = node.monitor(connection, pid)
    node.link(connection, pid)
    exit, down = connection.news
    assert (exit.reason, exit.ref, exit.sender) == ("noproc", ref, pid)
    assert (down.reason, down.kind) == ("noproc", "pid.link.down")


def test_connection_is_told_of_ends(node, connection):
    """§2.3, §2.4"""
    pid = node.spawn(crash)
    ref = node.monitor(connection, pid)
    node.link(connection, pid)
    exit, down = wait_until(lambda: connection.news)
    assert (type(exit), exit.ref) == (Exit, ref)
    assert (type(down), down.reason) == (LinkDown, "error: RuntimeError: boom")


def test_names_and_groups_are_free_when_the_news_come(node):
    """Whoever waits for a name can take it then."""
    seen = []

    class Successor:
        def on_exit(self, exit):
            seen.extend([node.is_alive(exit.sender), len(node.registry), len(node.groups)])

    pid = node.spawn(idle, name="name")
    node.join("group", pid)
    node.monitor(Successor(), pid)
    node.terminate(pid)
    wait_until(lambda: seen)
    assert seen == [False, 0, 0]


def test_ending_twice_is_ending_once(node, connection, observer):
    observer.watch(connection.pid)
    for reason in ("normal", "killed"):
        node.end(connection, reason)
    assert [exit.reason for exit in observer.exits] == ["normal"]


def test_death_of_a_connection_is_never_raised_where_it_was_caused(node, in_process):
    """Whoever ended it would be stopped in the middle of that, and be left half ended."""
    connection = Connection(node)
    notes = []

    def body():
        process.link(connection.pid)
        node.end(connection, "connection_lost")
        notes.append("went on")
        process.inbox().receive()
        notes.append("and on")

    pid = node.spawn(body)
    wait_until(lambda: not node.is_alive(pid))
    assert notes == ["went on"]


# -- information -------------------------------------------------------------------------


def test_info_of_a_connection_has_its_own_and_the_node_s(node, connection, observer):
    """§2"""
    pid = node.spawn(idle)
    node.link(connection, pid)
    node.join("group", connection.pid)
    node.register("name", connection.pid)
    observer.watch(connection.pid)
    assert node.table.info(connection.pid) == {
        "pid": connection.pid,
        "names": ["name"],
        "groups": ["group"],
        "links": [pid],
        "watchers": 1,
        "kind": "fake",
    }


def test_info_of_the_dead_is_none(node):
    """§2"""
    assert node.table.info(UNKNOWN) is None
