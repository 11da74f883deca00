"""Random programs of processes on three nodes that talk, with envelopes lost and nodes that wake.

What one node does takes time to reach another, so no model can say what has happened when. It says
what has to be so when nothing is under way any more: each monitor of one who is dead has fired
once, both ends of a link know it, all nodes know the same names and members, and what one process
has sent to another has come in its order (§2.2, §2.3, §2.4, §7.2, §7.3).
"""

import contextlib
from collections import defaultdict

import gevent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from greenrelay import process
from greenrelay.errors import ClusterError, NameTaken
from greenrelay.testing import leaks, wait_until
from tests.cluster.places import MemoryPlaces

NAMES = ("one", "two")
GROUPS = ("red", "blue")


class Actor:
    """A process that does what it is told, and notes what it gets."""

    def __init__(self, world, place):
        self.world, self.place = world, place
        self.refs, self.dropped, self.exits = {}, set(), defaultdict(list)
        self.got = defaultdict(list)
        self.traps = False
        self.pid = place.spawn(self.run)

    def run(self):
        inbox, events = process.inbox(), process.events()
        while True:
            channel, item = process.select(inbox, events)
            if channel is events:
                if item.kind == "pid.exit":
                    self.exits[item.ref].append(item.reason)
                elif item.kind == "pid.cancel":
                    return
            elif item.topic == "do":
                deed, other, word = item.payload
                getattr(self, deed)(other, word)
            else:
                self.got[item.sender].append(item.payload)

    # -- what it does ----------------------------------------------------------------

    def say(self, other, word):
        for _ in range(3):
            self.world.sent[self.pid, other.pid] += 1
            process.send(other.pid, "word", self.world.sent[self.pid, other.pid])

    def shout(self, other, word):
        everybody = [actor.pid for actor in self.world.actors]
        for pid in everybody:
            self.world.sent[self.pid, pid] += 1
        for pid in everybody:  # each has its own count
            process.broadcast([pid], "word", self.world.sent[self.pid, pid])

    def monitor(self, other, word):
        self.refs[process.monitor(other.pid)] = other

    def unmonitor(self, other, word):
        for ref, watched in list(self.refs.items()):
            if watched is other:
                process.unmonitor(ref)
                self.refs.pop(ref)
                self.exits.pop(ref, None)

    def link(self, other, word):
        if other is not self:
            process.link(other.pid)

    def unlink(self, other, word):
        process.unlink(other.pid)

    def trap(self, other, word):
        process.trap_links(word == 0)

    def end(self, other, word):
        process.exit(("shutdown", "bad")[word])

    def kill(self, other, word):
        process.terminate(other.pid)

    def cancel(self, other, word):
        process.cancel(other.pid)

    def join(self, other, word):
        process.group(GROUPS[word]).join(meta={"at": len(self.world.sent)})

    def leave(self, other, word):
        process.group(GROUPS[word]).leave()

    def register(self, other, word):
        try:
            process.registry.register(NAMES[word])
        except (NameTaken, ClusterError):
            pass

    def unregister(self, other, word):
        if process.registry.lookup(NAMES[word]) == process.pid():
            process.registry.unregister(NAMES[word])

    def spawn_named(self, other, word):
        with contextlib.suppress(ClusterError):  # while we are taken for lost
            process.spawn("tests.cluster.acts:idle", name=NAMES[word])

    def ask(self, other, word):
        process.info(other.pid)

    @property
    def is_alive(self):
        return self.place.node.find(self.pid) is not None


DEEDS = (
    "say shout monitor unmonitor link unlink trap end kill cancel join leave register unregister "
    "spawn_named ask"
).split()

TOLD = [deed for deed in DEEDS if deed != "ask"]
"""Those that wait for no answer: a lost one would take seconds."""

numbers = st.integers(0, 7)


class Programs(RuleBasedStateMachine):
    """Any program on three nodes."""

    def __init__(self):
        super().__init__()
        self.places = MemoryPlaces()
        self.places.add("third")
        self.actors, self.sent = [], defaultdict(int)
        self.has_lost = self.has_parted = False
        for place in self.places.all * 2:
            self.actors.append(Actor(self, place))

    @rule(where=st.integers(0, 2))
    def spawn(self, where):
        self.actors.append(Actor(self, self.places.all[where]))

    @rule(one=numbers, deed=st.sampled_from(DEEDS), other=numbers, word=st.integers(0, 1))
    def tell(self, one, deed, other, word):
        actor, other = (self.actors[-1 - number % len(self.actors)] for number in (one, other))
        actor.place.node.send(actor.pid, "do", (deed, other, word))

    @rule(turns=st.integers(1, 3))
    def let_run(self, turns):
        for _ in range(turns):
            gevent.sleep(0)

    @rule(one=numbers, deed=st.sampled_from(TOLD), other=numbers, word=st.integers(0, 1))
    def tell_and_lose(self, one, deed, other, word):
        """Have the next envelope lost of the node on which something is done."""
        self.has_lost = True
        place = self.actors[-1 - one % len(self.actors)].place
        self.places.settle()
        self.tell(one, deed, other, word)
        place.backend.drop(1)
        self.let_run(2)
        place.backend.drop(0)

    @rule(where=st.integers(0, 2))
    def part(self, where):
        """Have a node taken for lost, and wake up."""
        self.has_parted = True
        backend = self.places.all[where].backend
        backend.be_lost()
        gevent.sleep(0)
        backend.wake()

    @rule()
    def settle(self):
        self.check()

    # -- the comparison -------------------------------------------------------------------

    def check(self):
        self.heal()
        for actor in self.actors:
            self.check_order(actor)
            if actor.is_alive:
                self.check_monitors(actor)
                self.check_links(actor)
        nodes = [place.node for place in self.places.all]
        alive = {entity.pid for node in nodes for entity in node}
        for name in NAMES:
            holders = {node.registry.lookup(name) for node in nodes}
            assert len(holders) == 1
            assert holders <= alive | {None}
        for group in GROUPS:
            one, *others = ({*node.groups.details(group)} for node in nodes)
            assert all(one == other for other in others)
            assert one <= alive

    def heal(self):
        """Wait until nothing is under way; and have lost envelopes noticed."""
        self.let_run(3)
        for _ in range(2):
            self.places.settle()
            for place in self.places.all:
                place.backend.drop(0)
                for peer in place.cluster.peers:
                    place.cluster._syncing.tell(peer)
        self.places.settle()

    def check_order(self, actor):
        for sender, numbers in actor.got.items():
            assert numbers == sorted(set(numbers))
            if not (self.has_lost or self.has_parted):
                assert numbers == list(range(1, len(numbers) + 1))
                if actor.is_alive:
                    assert len(numbers) == self.sent[sender, actor.pid]

    def check_monitors(self, actor):
        for ref, other in actor.refs.items():
            count = len(actor.exits[ref])
            if self.has_parted and actor.place is not other.place:
                assert count <= 1
                assert other.is_alive or count == 1
            else:
                assert count == (not other.is_alive)

    def check_links(self, actor):
        for pid in actor.place.node.topology.linked(actor.pid):
            other = next(each for each in self.actors if each.pid == pid)
            assert other.is_alive
            assert actor.pid in other.place.node.topology.linked(pid)

    def teardown(self):
        try:
            self.check()
        finally:
            for place in self.places.all:
                place.end()
            self.heal()
            for place in self.places.all:
                wait_until(lambda place=place: not leaks(place.node))
            self.places.stop()


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
