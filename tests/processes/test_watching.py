"""Monitors and links: Erlang's rules, one by one (§2.3, §2.4, §2.8)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.sample_processes import Cast, crash, idle

BOOM = "error: RuntimeError: boom"


def rule(title, script, reasons, news=None):
    return pytest.param(script, reasons, news or {}, id=title)


LINKS = [
    rule("a normal end kills nobody", "a link b | a exit", {"a": "normal"}),
    rule("an abnormal end kills", "a link b | a exit bad", {"a": "bad", "b": "bad"}),
    rule("a crash kills with its reason", "a link b | a crash", {"a": BOOM, "b": BOOM}),
    rule("killed spreads as killed", "a link b | kill a", {"a": "killed", "b": "killed"}),
    rule("shutdown spreads", "a link b | a exit shutdown", {"a": "shutdown", "b": "shutdown"}),
    rule("cancelled spreads", "a link b | cancel a", {"a": "cancelled", "b": "cancelled"}),
    rule("a link has no direction", "a link b | b exit bad", {"a": "bad", "b": "bad"}),
    rule(
        "linking twice is linking once", "a link b | a link b | a unlink b | b crash", {"b": BOOM}
    ),
    rule("both may link", "a link b | b link a | a unlink b | b crash", {"b": BOOM}),
    rule("both may unlink", "a link b | b unlink a | b crash", {"b": BOOM}),
    rule("unlinked death is silent", "a link b | a unlink b | b exit bad", {"b": "bad"}),
    rule("unlinking a stranger is nothing", "a unlink b | b exit bad", {"b": "bad"}),
    rule("a self-link is nothing", "a link a | a trap | a exit", {"a": "normal"}),
    rule("a self-link kills nobody twice", "a link a | a exit bad", {"a": "bad"}),
    rule(
        "the reason goes along the chain",
        "a link b | b link c | c link d | a exit bad",
        dict.fromkeys("abcd", "bad"),
    ),
    rule(
        "a ring dies once",
        "a link b | b link c | c link a | b crash",
        dict.fromkeys("abc", BOOM),
    ),
    rule(
        "a star dies whole",
        "a link b | a link c | a link d | c exit bad",
        dict.fromkeys("abcd", "bad"),
    ),
    rule(
        "a normal end breaks the chain",
        "a link b | b link c | b exit | a exit bad",
        {"a": "bad", "b": "normal"},
    ),
    rule("a link with the dead kills", "b exit | a link b", {"b": "normal", "a": "noproc"}),
]

TRAPS = [
    rule(
        "a trapper gets news instead",
        "b trap | a link b | a exit bad",
        {"a": "bad"},
        {"b": [("link.down", "a", "bad")]},
    ),
    rule(
        "a trapper ends the chain",
        "b trap | a link b | b link c | a crash",
        {"a": BOOM},
        {"b": [("link.down", "a", BOOM)]},
    ),
    rule(
        "another's kill is trapped",
        "b trap | a link b | kill a",
        {"a": "killed"},
        {"b": [("link.down", "a", "killed")]},
    ),
    rule("one's own kill is not", "a trap | kill a", {"a": "killed"}),
    rule("a trapper's kill spreads", "a trap | a link b | kill a", dict.fromkeys("ab", "killed")),
    rule("a normal end is no news", "b trap | a link b | a exit", {"a": "normal"}),
    rule(
        "trapping ends when it is told to",
        "b trap | a link b | b trap off | a exit bad",
        dict.fromkeys("ab", "bad"),
    ),
    rule(
        "trapping may begin after linking",
        "a link b | b trap | a exit bad",
        {"a": "bad"},
        {"b": [("link.down", "a", "bad")]},
    ),
    rule(
        "a link with the dead is news to a trapper",
        "b exit | a trap | a link b",
        {"b": "normal"},
        {"a": [("link.down", "b", "noproc")]},
    ),
    rule(
        "every death is news of its own",
        "a trap | a link b | a link c | b exit bad | c crash",
        {"b": "bad", "c": BOOM},
        {"a": [("link.down", "b", "bad"), ("link.down", "c", BOOM)]},
    ),
    rule(
        "unlinking takes back what was queued",
        "a trap | a link b | b exit bad | a unlink b",
        {"b": "bad"},
    ),
]

MONITORS = [
    rule(
        "a normal end is news",
        "a monitor b | b exit",
        {"b": "normal"},
        {"a": [("exit", "b", "normal")]},
    ),
    rule("a crash is news", "a monitor b | b crash", {"b": BOOM}, {"a": [("exit", "b", BOOM)]}),
    rule(
        "a kill is news",
        "a monitor b | kill b",
        {"b": "killed"},
        {"a": [("exit", "b", "killed")]},
    ),
    rule("a monitor has one direction", "a monitor b | a exit bad", {"a": "bad"}),
    rule(
        "the dead are noproc",
        "b exit bad | a monitor b",
        {"b": "bad"},
        {"a": [("exit", "b", "noproc")]},
    ),
    rule(
        "monitors stack",
        "a monitor b | a monitor b | b exit",
        {"b": "normal"},
        {"a": [("exit", "b", "normal")] * 2},
    ),
    rule(
        "each watcher has its own",
        "a monitor c | b monitor c | a unmonitor c | c exit",
        {"c": "normal"},
        {"b": [("exit", "c", "normal")]},
    ),
    rule("unmonitored death is silent", "a monitor b | a unmonitor b | b exit", {"b": "normal"}),
    rule(
        "unmonitoring a PID takes all",
        "a monitor b | a monitor b | a unmonitor b | b exit",
        {"b": "normal"},
    ),
    rule(
        "unmonitoring one PID of several leaves the others",
        "b monitor c | b monitor c | a monitor b | a monitor c | a unmonitor c | b exit | c exit",
        {"b": "normal", "c": "normal"},
        {"a": [("exit", "b", "normal")]},
    ),
    rule(
        "unmonitoring takes back what was queued",
        "a monitor b | a monitor c | b exit | c exit | a unmonitor b",
        {"b": "normal", "c": "normal"},
        {"a": [("exit", "c", "normal")]},
    ),
    rule("unmonitoring a stranger is nothing", "a unmonitor b | b exit bad", {"b": "bad"}),
    rule("a process is no news to itself", "a monitor a | a exit bad", {"a": "bad"}),
    rule(
        "a link and a monitor are two things",
        "a trap | a link b | a monitor b | b exit bad",
        {"b": "bad"},
        {"a": [("exit", "b", "bad"), ("link.down", "b", "bad")]},
    ),
    rule(
        "who dies of a link has its reason",
        "c monitor b | a link b | a exit bad",
        {"a": "bad", "b": "bad"},
        {"c": [("exit", "b", "bad")]},
    ),
]


@pytest.mark.parametrize(("script", "reasons", "news"), LINKS + TRAPS + MONITORS)
def test_rule(node, script, reasons, news):
    """§2.3, §2.4, §2.8"""
    cast = Cast(node, "abcd")
    cast.play(script)
    assert (cast.reasons, cast.news()) == (reasons, news)


def test_process_that_links_the_dead_goes_no_further(node, observer):
    """§2.4: as if that one had died just then."""
    notes, dead = [], node.spawn(crash)
    observer.reason_of(dead)
    pid = node.spawn(lambda: (process.link(dead), notes.append("further")))
    assert observer.reason_of(pid) == "noproc"
    assert notes == []


# -- refs (§2.3) -------------------------------------------------------------------------


def test_each_exit_answers_one_monitor(node, in_process):
    """§2.3"""

    def body():
        pid = process.spawn(idle)
        refs = [process.monitor(pid) for _ in range(3)]
        process.terminate(pid)
        return refs, [process.events().receive().ref for _ in refs]

    refs, answered = in_process(body)
    assert answered == refs
    assert len(set(refs)) == 3


def test_monitor_that_has_fired_is_forgotten(in_process):
    """A room that watches its guests does not remember all that ever were."""

    def body():
        process.spawn(crash, monitor=True)
        process.events().receive()
        return process.info(process.pid())["monitors"]

    assert in_process(body) == []


@pytest.mark.parametrize("has_ended", [False, True], ids=["before the end", "queued"])
def test_unmonitor_of_a_ref_takes_that_one_only(in_process, has_ended):
    """§2.3"""

    def body():
        pid = process.spawn(idle)
        kept, dropped = process.monitor(pid), process.monitor(pid)
        process.terminate(pid)
        if has_ended:
            gevent.idle()
        process.unmonitor(dropped)
        return kept, process.events().receive().ref, process.events().receive(timeout=0.005)

    kept, answered, rest = in_process(body)
    assert (answered, rest) == (kept, None)


def test_unmonitor_takes_back_a_noproc(in_process):
    """§2.3"""

    def body():
        dead = process.spawn(idle)
        process.terminate(dead)
        gevent.idle()
        process.unmonitor(process.monitor(dead))
        return process.events().receive(timeout=0.005)

    assert in_process(body) is None


def test_monitor_of_somebody_else_is_left_alone(node, in_process):
    """§2.3"""
    pid, exits = node.spawn(idle), []

    def watcher():
        exits.append(process.monitor(pid))
        exits.append(process.events().receive())

    node.spawn(watcher)
    in_process(lambda: process.unmonitor(exits[0]))
    node.terminate(pid)
    assert wait_until(lambda: exits[1:])[0].ref == exits[0]


def test_names_may_be_watched(node, in_process):
    """§2: a PID, its text, or a registered name."""
    node.spawn(idle, name="name")

    def body():
        process.trap_links()
        process.link("name")
        process.monitor("name")
        process.unmonitor("name")
        process.unlink("name")
        process.terminate("name")
        return process.events().receive(timeout=0.01)

    assert in_process(body) is None


# -- before the first step ---------------------------------------------------------------


def test_process_that_ends_at_once_was_monitored_in_time(in_process):
    """§2: in force before its first step."""

    def body():
        pid = process.spawn(crash, monitor=True)
        exit = process.events().receive()
        return exit.sender == pid, exit.reason, exit.ref.pid == pid

    assert in_process(body) == (True, BOOM, True)


def test_process_that_ends_at_once_was_linked_in_time(node, observer):
    """§2: in force before its first step."""
    pid = node.spawn(lambda: process.spawn(crash, link=True) and idle())
    assert observer.reason_of(pid) == BOOM


@pytest.mark.parametrize("option", ["link", "monitor"])
def test_holder_of_a_name_is_watched_as_a_new_process_would_be(node, in_process, option):
    """§2: who asks for it gets the news, whoever was first."""
    holder = node.spawn(idle, name="room")

    def body():
        process.trap_links()
        pid = process.spawn(crash, name="room", **{option: True})
        process.terminate(pid)
        return pid, process.events().receive().reason

    assert in_process(body) == (holder, "killed")
