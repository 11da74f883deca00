"""Random programs of processes, on random schedules, against a model of Erlang's rules (§2.8).

Every operation is told to the model at the moment it happens, and so is every end: whatever the
order of things was, the model has seen the same one. When nothing more happens, the world has to
be what the model says: who lives, why the others ended, which news wait where and in which order,
who is linked, named, in groups.
"""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from greenrelay import process
from greenrelay.errors import CallTimeout, NameTaken, ProcessDown
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import leaks, wait_until
from tests.sample_processes import settle, waiting_events

NAMES = ("here", "there")
REASONS = ("normal", "shutdown", "bad")


class Done(Exception):
    """Raised by an operation to make its process return."""


@dataclass(eq=False)
class Actor:
    """A process, and what the model knows of it."""

    pause: int
    """Turns of the loop that its `finally` takes."""
    pid: Any = None
    traps: bool = False
    has_events: bool = False
    is_closed: bool = False
    """Its inbox is: it was cancelled."""
    early_cancel: Any = None
    killed_for: str | None = None
    """Why it will end: it was killed."""
    intent: str | None = None
    """Why it will end: it wants to."""
    returns: bool = False
    """It will end: its function is done."""
    ended: str | None = None
    """Why it has ended."""
    links: dict = field(default_factory=dict)
    monitors: dict = field(default_factory=dict)
    """Its own: ref → whom."""
    watchers: dict = field(default_factory=dict)
    """Others': ref → whose."""
    refs: list = field(default_factory=list)
    """All that it ever got."""
    events: list = field(default_factory=list)
    names: set = field(default_factory=set)
    groups: set = field(default_factory=set)
    timers: int = 0
    accepted: list = field(default_factory=list)
    received: list = field(default_factory=list)


class World:
    """A node, its model, and the operations that change both."""

    def __init__(self):
        self.node = Node("model")
        self.actors = []
        self.sent = 0

    # -- the model ---------------------------------------------------------------

    def link_down(self, actor, other, reason):
        if actor.traps:
            actor.events.append(("pid.link.down", other.pid, reason, None))
        elif actor.killed_for is None:
            self.mark_killed(actor, reason)

    def mark_killed(self, actor, reason):
        actor.killed_for = reason
        actor.names, actor.groups = set(), set()

    def add_link(self, actor, other):
        if other.ended:
            self.link_down(actor, other, "noproc")
        elif other is not actor:
            actor.links[other] = other.links[actor] = True

    def add_monitor(self, actor, other, ref):
        actor.refs.append(ref)
        if other.ended:
            actor.events.append(("pid.exit", other.pid, "noproc", ref))
        else:
            actor.monitors[ref] = other
            other.watchers[ref] = actor

    def drop_monitor(self, actor, ref):
        other = actor.monitors.pop(ref, None)
        if other is not None:
            del other.watchers[ref]

    def holder(self, name):
        return next((actor for actor in self.actors if name in actor.names), None)

    def on_exit(self, exit):
        """Take the end of a process: the world's own monitor of it."""
        actor = next(actor for actor in self.actors if actor.pid == exit.sender)
        returned = "cancelled" if actor.is_closed else actor.returns and "normal"
        expected = actor.killed_for or actor.intent or returned
        assert (actor.ended, exit.reason) == (None, expected)
        actor.ended = exit.reason
        actor.names, actor.groups, actor.timers = set(), set(), 0
        for ref in list(actor.monitors):
            self.drop_monitor(actor, ref)
        for ref, watcher in actor.watchers.items():
            del watcher.monitors[ref]
            watcher.events.append(("pid.exit", actor.pid, exit.reason, ref))
        links, actor.links = actor.links, {}
        for other in links:
            del other.links[actor]
            if exit.reason != "normal":
                self.link_down(other, actor, exit.reason)

    # -- processes ---------------------------------------------------------------

    def spawn(self, parent, other, pause, word):
        """Start an actor, in all the ways there are."""
        name = NAMES[pause % 2] if "n" in word else None
        link, monitor = (parent is not None and letter in word for letter in "lm")
        actor, holder = Actor(pause), self.holder(name)
        actor.pid = process.spawn(self.run, actor, name=name, link=link, monitor=monitor)
        if holder is None:
            self.actors.append(actor)
            actor.names = {name} - {None}
        else:
            assert actor.pid == holder.pid
        if link:
            self.add_link(parent, holder or actor)
        if monitor:
            (ref,) = self.node.find(parent.pid).monitors - set(parent.monitors)
            self.add_monitor(parent, holder or actor, ref)
        if holder is None:
            self.node.monitor(self, actor.pid)

    def run(self, actor):
        try:
            for message in process.inbox():
                actor.received.append(message.payload)
                if message.topic == "do":
                    self.do(actor, *message.payload[1:])
        except Done:
            return
        finally:
            for _ in range(actor.pause):
                gevent.sleep(0)

    def do(self, actor, deed, other, pause, word):
        assert actor.killed_for is None, "a dead man walks"
        getattr(self, deed)(actor, other, pause, word)
        for _ in range(pause):
            gevent.sleep(0)

    def tell(self, actor, topic, *payload):
        """Send a message; it is taken until the process is told to end."""
        self.sent += 1
        payload = (self.sent, *payload)
        is_taken = not (actor.ended or actor.is_closed or actor.killed_for)
        if is_taken:
            actor.accepted.append(payload)
        assert process.send(actor.pid, topic, payload) == is_taken

    # -- what they do, each: (who, to whom, how long, a word) ------------------------

    def send(self, actor, other, pause, word):
        self.tell(other, "word")

    def call(self, actor, other, pause, word):
        if other is not actor:
            self.sent += 1
            if not (other.ended or other.is_closed or other.killed_for):
                other.accepted.append((self.sent,))
            with contextlib.suppress(CallTimeout, ProcessDown):
                process.call(other.pid, "ask", (self.sent,), timeout=0.001)
            assert actor.killed_for is None, "a dead man walks"

    def link(self, actor, other, pause, word):
        self.add_link(actor, other)
        process.link(other.pid)

    def unlink(self, actor, other, pause, word):
        if actor.links.pop(other, None):
            del other.links[actor]
        actor.events = [e for e in actor.events if e[:2] != ("pid.link.down", other.pid)]
        process.unlink(other.pid)

    def monitor(self, actor, other, pause, word):
        self.add_monitor(actor, other, process.monitor(other.pid))

    def unmonitor(self, actor, other, pause, word):
        for ref in [ref for ref in actor.monitors if ref.pid == other.pid]:
            self.drop_monitor(actor, ref)
        actor.events = [e for e in actor.events if e[:2] != ("pid.exit", other.pid)]
        process.unmonitor(other.pid)

    def unmonitor_ref(self, actor, other, pause, word):
        refs = other.refs  # often one's own, sometimes a stranger's
        if refs:
            ref = refs[pause % len(refs)]
            self.drop_monitor(actor, ref)
            actor.events = [e for e in actor.events if e[3] != ref]
            process.unmonitor(ref)

    def trap(self, actor, other, pause, word):
        actor.traps = pause != 0
        process.trap_links(actor.traps)

    def watch_events(self, actor, other, pause, word):
        if not actor.has_events and actor.early_cancel:
            actor.events.append(actor.early_cancel)
            actor.is_closed = False
        actor.has_events = True
        process.events()

    def exit(self, actor, other, pause, word):
        actor.intent = REASONS[pause % 3]
        process.exit(actor.intent)

    def crash(self, actor, other, pause, word):
        actor.intent = "error: ZeroDivisionError: division by zero"
        1 / 0  # noqa: B018  # that is what it is for

    def finish(self, actor, other, pause, word):
        actor.returns = True
        raise Done

    def kill(self, actor, other, pause, word):
        if not other.ended and other.killed_for is None:
            self.mark_killed(other, "killed")
        assert process.terminate(other.pid) == (not other.ended)

    def cancel(self, actor, other, pause, word):
        news = ("pid.cancel", actor and actor.pid, word, None)
        if other.has_events and not other.ended:
            other.events.append(news)
        elif not other.ended:
            other.is_closed, other.early_cancel = True, news
        assert process.cancel(other.pid, word) == (not other.ended)

    def register(self, actor, other, pause, word):
        name = NAMES[pause % 2]
        if self.holder(name) in (None, actor):
            process.registry.register(name)
            actor.names.add(name)
        else:
            with pytest.raises(NameTaken, match=self.holder(name).pid):
                process.registry.register(name)

    def join(self, actor, other, pause, word):
        actor.groups.add(word)
        process.group(word or "group").join()
        actor.groups = {group or "group" for group in actor.groups}

    def leave(self, actor, other, pause, word):
        actor.groups.discard(word or "group")
        process.group(word or "group").leave()

    def set_timer(self, actor, other, pause, word):
        other.timers += not other.ended
        process.send_after(60, other.pid, "late")

    # -- the comparison ------------------------------------------------------------

    def check(self):
        """Wait until nothing happens any more, and compare."""
        settle(self.node)
        while any(entity.pid.host == "call" for entity in self.node):
            gevent.sleep(0.001)  # those that nobody replies to
            settle(self.node)
        living = [actor for actor in self.actors if not actor.ended]
        assert {entity.pid for entity in self.node} == {actor.pid for actor in living}
        assert len(self.node.table.timers) == sum(actor.timers for actor in living)
        for actor in self.actors:
            assert actor.received == actor.accepted[: len(actor.received)]
            self.check_tables(actor)
        for actor in living:
            assert not any((actor.killed_for, actor.intent, actor.returns, actor.is_closed))
            assert len(actor.received) == len(actor.accepted)
            self.check_mailbox(actor)

    def check_tables(self, actor):
        node, pid = self.node, actor.pid
        assert set(node.topology.linked(pid)) == {other.pid for other in actor.links}
        assert len(node.topology.watchers(pid)) == (not actor.ended) * (1 + len(actor.watchers))
        assert node.registry.names(pid) == actor.names
        assert node.groups.groups(pid) == actor.groups

    def check_mailbox(self, actor):
        living = self.node.find(actor.pid)
        assert (living.monitors or set()) == set(actor.monitors)
        events = waiting_events(living)
        got = [(e.kind, e.sender, e.reason, getattr(e, "ref", None)) for e in events]
        assert got == actor.events


DEEDS = (
    "send call link unlink monitor unmonitor unmonitor_ref trap watch_events exit crash finish "
    "kill cancel register join leave set_timer spawn"
).split()
BY_ANYBODY = ["kill", "cancel", "send"]

numbers = st.integers(0, 6)
pauses = st.integers(0, 3)
words = st.sampled_from(["", "n", "l", "m", "lm", "nlm"])


class Processes(RuleBasedStateMachine):
    """Any program. A number stands for a process, modulo how many there are."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.here = on_node(self.world.node)
        self.here.__enter__()

    def actor(self, number):
        return self.world.actors[-1 - number % len(self.world.actors)]

    @initialize()
    def begin(self):
        for _ in range(3):
            self.world.spawn(None, None, 0, "")

    @rule(pause=pauses, word=words)
    def spawn(self, pause, word):
        self.world.spawn(None, None, pause, word)

    @rule(one=numbers, deed=st.sampled_from(DEEDS), other=numbers, pause=pauses, word=words)
    def tell(self, one, deed, other, pause, word):
        self.world.tell(self.actor(one), "do", deed, self.actor(other), pause, word)

    @rule(deed=st.sampled_from(BY_ANYBODY), other=numbers, word=words)
    def interfere(self, deed, other, word):
        getattr(self.world, deed)(None, self.actor(other), 0, word)

    @rule(turns=st.integers(1, 3))
    def let_run(self, turns):
        for _ in range(turns):
            gevent.sleep(0)

    @rule()
    def settle(self):
        self.world.check()

    def teardown(self):
        try:
            self.world.check()
        finally:
            for entity in self.world.node:
                entity.kill("killed")
            self.world.on_exit = lambda exit: None
            wait_until(lambda: not leaks(self.world.node))
            self.here.__exit__(None, None, None)


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
