"""With whom a supervisor ends, and with whom not; how long its children may take (§2.8)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.process import Child, Supervisor
from greenrelay.testing import wait_until
from tests.sample_processes import idle, sleep


@pytest.fixture
def start(node):
    """Start a process that starts a linked supervisor, then obeys; return both PIDs."""

    def start(supervisor, link=True):
        started = []

        def starter():
            started.append(supervisor.start(link=link))
            for message in process.inbox():
                message.payload()

        pid = process.spawn(starter)
        wait_until(lambda: started)
        gevent.idle()
        return pid, started[0]

    return start


def tell(pid, call):
    process.send(pid, "do", call)


# -- its name ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("children", "name"),
    [
        ([], "<Supervisor one_for_all: no children>"),
        (
            [idle, "tests.sample_processes:sleep"],
            "<Supervisor one_for_all: idle, tests.sample_processes:sleep>",
        ),
        ([Child(idle, name=n) for n in "abcdefg"], "<Supervisor one_for_all: a, b, c, d, e, …>"),
        ([Supervisor([sleep])], "<Supervisor one_for_all: <Supervisor one_for_one: sleep>>"),
    ],
)
def test_supervisor_is_shown_with_its_strategy_and_its_children(children, name):
    """§2.8"""
    assert repr(Supervisor(children, strategy="one_for_all")) == name


def test_supervisor_among_children_is_named_in_the_log(node, caplog):
    """§2.8"""
    plan = Supervisor([Supervisor([Child(lambda: 1 / 0, name="child")], max_restarts=0)])
    pid = plan.start()
    wait_until(lambda: "giving up" in caplog.text and not process.is_alive(pid))
    assert "child <Supervisor one_for_one: child> ended: shutdown; restart 1 of 3" in caplog.text


# -- its starter ---------------------------------------------------------------

ENDS = {
    "normal": lambda pid: tell(pid, process.exit),
    "cancelled": process.cancel,
    "killed": process.terminate,
    "bad": lambda pid: tell(pid, lambda: process.exit("bad")),
    "shutdown": lambda pid: tell(pid, lambda: process.exit("shutdown")),
}


@pytest.mark.parametrize("reason", ENDS)
def test_supervisor_ends_with_its_starter_whatever_the_reason(node, start, observer, reason):
    """§2.8: with the same one, and its children before it."""
    starter, supervisor = start(Supervisor([Child(idle, name="child")]))
    child = process.registry.lookup("child")
    observer.watch(supervisor, child)
    ENDS[reason](starter)
    assert observer.wait_for(supervisor).reason == reason
    assert [exit.sender for exit in observer.exits] == [child, supervisor]


def test_supervisor_whose_starter_has_returned_already_ends(node, observer):
    """§2.8: before its first step."""
    pids = []
    process.spawn(lambda: pids.append(Supervisor([idle]).start(link=True)))
    wait_until(lambda: pids)
    assert observer.reason_of(pids[0]) in ("normal", "noproc")
    wait_until(lambda: len(node) == 0)


def test_supervisor_that_is_the_target_of_a_linked_spawn_ends_with_its_starter(node, observer):
    """§2.8: however it was started."""
    pids = []

    def starter():
        pids.append(process.spawn(Supervisor([idle]), link=True))
        process.inbox().receive()

    pid = process.spawn(starter)
    wait_until(lambda: len(node) == 3)
    observer.watch(*pids)
    process.send(pid, "go")
    assert observer.wait_for(pids[0]).reason == "normal"


def test_supervisor_ends_with_the_supervisor_above_it(node, observer):
    """§2.8: which is its starter, and waits for it."""
    top = Supervisor([Supervisor([Child(idle, name="child")])]).start()
    wait_until(lambda: process.registry.lookup("child"))
    child = process.registry.lookup("child")
    observer.watch(child, top)
    process.cancel(top)
    assert observer.wait_for(top).reason == "shutdown"
    assert [exit.sender for exit in observer.exits] == [child, top]


@pytest.mark.parametrize("reason", ENDS)
def test_supervisor_started_without_a_link_outlives_its_starter(node, start, observer, reason):
    """§2.8, §2.4"""
    starter, supervisor = start(Supervisor([idle]), link=False)
    observer.watch(starter)
    ENDS[reason](starter)
    assert observer.wait_for(starter).reason == reason
    gevent.idle()
    assert process.is_alive(supervisor)


@pytest.mark.parametrize("reason", ["normal", "bad"])
def test_supervisor_whose_starter_has_unlinked_outlives_it(node, start, observer, reason):
    """§2.8: as in Erlang's shell."""
    starter, supervisor = start(Supervisor([idle]))
    tell(starter, lambda: process.unlink(supervisor))
    observer.watch(starter)
    ENDS[reason](starter)
    observer.wait_for(starter)
    gevent.idle()
    assert process.is_alive(supervisor)


# -- and nobody else -----------------------------------------------------------


@pytest.mark.parametrize("reason", ENDS)
def test_supervisor_outlives_a_stranger_that_has_linked_it(node, start, observer, reason):
    """§2.8: nobody can take it along but its starter."""
    _, supervisor = start(Supervisor([Child(idle, name="child")]))
    stranger = process.spawn(lambda: [message.payload() for message in process.inbox()])
    tell(stranger, lambda: process.link(supervisor))
    gevent.idle()
    observer.watch(stranger)
    ENDS[reason](stranger)
    assert observer.wait_for(stranger).reason == reason
    gevent.idle()
    assert process.is_alive(supervisor)
    assert process.is_alive("child")


def test_stranger_that_links_before_the_first_step_is_no_starter(node, observer):
    """§2.8"""
    pids = []

    def stranger():
        pids.append(Supervisor([idle]).start())
        process.link(pids[0])

    observer.reason_of(process.spawn(stranger))
    gevent.idle()
    assert process.is_alive(pids[0])


def test_child_that_is_linked_to_a_crashing_process_is_started_anew(node, start):
    """§2.8, §2.4: links of its children are not its own."""
    _, supervisor = start(Supervisor([Child(idle, name="child")]))
    first = process.registry.lookup("child")

    def crash_linked():
        process.link(first)
        process.exit("bad")

    process.spawn(crash_linked)
    wait_until(lambda: process.registry.lookup("child") not in (None, first))
    assert process.is_alive(supervisor)


def test_messages_to_a_supervisor_do_not_pile_up(node, start, caplog):
    """§2.8: it has no use for them, and says so once."""
    _, supervisor = start(Supervisor([idle]))
    for _ in range(100):
        process.send(supervisor, "hello")
    wait_until(lambda: process.info(supervisor)["mailbox"] == 0)
    assert [text for text in caplog.messages if "'hello'" in text] == [
        f"supervisor {supervisor} drops 'hello' from None, and whatever else is sent to it: "
        "send to its children, by their names"
    ]


# -- how long a child may take -------------------------------------------------


def linger():
    """End a while after being asked."""
    idle()
    gevent.sleep(0.1)


def test_child_without_a_limit_is_waited_for(node, start, observer):
    """§2.8: Erlang's `infinity`."""
    _, supervisor = start(Supervisor([Child(linger, name="child", shutdown=None)]))
    child = process.registry.lookup("child")
    observer.watch(child, supervisor)
    process.cancel(supervisor)
    observer.wait_for(supervisor)
    assert [exit.reason for exit in observer.exits] == ["cancelled", "shutdown"]


def test_supervisor_as_a_child_has_no_limit(node):
    """§2.8: as Erlang's; it has to wait for its own children."""
    inner = Supervisor([idle])
    assert [child.shutdown for child in Supervisor([inner, idle]).specs] == [None, 5.0]


def test_child_without_a_moment_is_terminated_at_once(node, start, observer, caplog):
    """§2.8: Erlang's `brutal_kill`, which nobody need be told of."""
    _, supervisor = start(Supervisor([Child(sleep, name="child", shutdown=0)]))
    child = process.registry.lookup("child")
    observer.watch(child)
    process.cancel(supervisor)
    assert observer.wait_for(child).reason == "killed"
    assert caplog.messages == []


def swallow(until):
    """Take no notice of the end, until it is allowed."""
    while not until:
        try:
            gevent.sleep(60)
        except BaseException:
            pass


def test_child_that_swallows_its_end_is_named_and_left(node, start, observer, caplog):
    """§2.8"""
    until = []
    plan = Supervisor([Child(swallow, (until,), name="child", shutdown=0)])
    plan.kill_seconds = 0.02
    _, supervisor = start(plan)
    child = process.registry.lookup("child")
    process.cancel(supervisor)
    assert observer.reason_of(supervisor) == "shutdown"
    assert caplog.messages == [f"{child} has not ended, in {__name__}:swallow; it is left alone"]
    until.append(True)
    process.terminate(child)


# -- bad plans -----------------------------------------------------------------


@pytest.mark.parametrize("value", ["soon", -1, float("nan"), float("inf"), True])
def test_child_takes_seconds_or_none_for_its_end(node, value):
    with pytest.raises(ValueError, match="shutdown is seconds, 0 or more, or None for no limit"):
        Child(idle, shutdown=value)


def test_name_that_is_none_is_refused_at_once(node):
    with pytest.raises(ValueError, match="a@b"):
        Child(idle, name="a@b")


def test_two_children_of_one_name_are_refused(node):
    """As Erlang's: the second would wait for the first for ever."""
    with pytest.raises(ValueError, match="two children have the name 'child'"):
        Supervisor([Child(idle, name="child"), Child(sleep, name="child")])


@pytest.mark.parametrize(
    "intensity", [{"max_restarts": -1}, {"max_restarts": None}, {"within": 0}, {"within": "5"}]
)
def test_intensity_is_a_count_and_seconds(node, intensity):
    with pytest.raises(ValueError, match="supervisor takes max_restarts"):
        Supervisor([idle], **intensity)
