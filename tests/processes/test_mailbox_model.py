"""Random uses of one mailbox, against what is promised of it (§2.2, §2.5, §8), in plain lists.

The owner is a real process. It carries out one order at a time, and where an order waits, the
others go on: they send, cancel, kill, interrupt. They do so in one turn of the loop, until the
owner is let run; then it has to have got, left and told what the model says.
"""

import gevent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greenrelay.message import Exit, Message
from greenrelay.pid import PID
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from tests.processes.mailbox_model import Closed, Model
from tests.processes.mailbox_owner import (
    IDLE,
    WAITING,
    Client,
    FakeRotation,
    Interrupt,
    Owner,
    Turns,
)

SOMEBODY = PID("proc@test/0123456789abcdef")

topics = st.sampled_from("ab")
sizes = st.sampled_from([0, 0, 1, 3])
numbers = st.sampled_from([0, 0, 1, 2, 3, 4])
timeouts = st.sampled_from([None, None, 0, -1, 0.0005])
several = st.integers(1, 9)
seldom = st.sampled_from([False] * 3 + [True])
mostly = st.sampled_from([True] * 3 + [False])


settings_of_a_mailbox = {
    "max_messages": st.integers(0, 5),
    "max_bytes": st.integers(0, 8),
    "has_turns": seldom,
    "is_late": st.booleans(),
}


class Mailboxes(RuleBasedStateMachine):
    """Any use. A number stands for a channel or a client, modulo how many there are."""

    def is_idle(self):
        return self.state == IDLE and not self.is_killed

    def __init__(self):
        super().__init__()
        self.labels = 0
        self.under_way = None
        """What the model's owner is at: a generator that yields while it waits."""

    def label(self):
        self.labels += 1
        return str(self.labels)

    @initialize(**settings_of_a_mailbox)
    def begin(self, **given):
        self.start(**given)

    @precondition(lambda self: not self.is_alive)
    @rule(**settings_of_a_mailbox)
    def begin_again(self, **given):
        self.leave()
        self.start(**given)

    def start(self, max_messages, max_bytes, has_turns, is_late):
        self.node = Node("model", max_mailbox=max_messages, max_mailbox_bytes=max_bytes)
        self.node.rotation = FakeRotation(is_late)
        self.here = on_node(self.node)
        self.here.__enter__()
        self.model = Model(max_messages, max_bytes)
        self.clients = [Client(f"client {number}", is_eager=number == 3) for number in range(5)]
        self.turns = Turns() if has_turns else None
        self.owner = Owner(self.node, self.turns)
        self.mailbox = self.owner.mailbox
        self.expected, self.state = None, IDLE
        self.is_killed = self.swallows = False
        self.settle()

    def leave(self):
        if self.is_alive:
            self.kill()
        self.settle()
        self.here.__exit__(None, None, None)

    def teardown(self):
        self.leave()

    @property
    def is_alive(self):
        return self.state in (IDLE, WAITING)

    # -- letting the owner run ----------------------------------------------------

    def settle(self):
        """Let the owner do what the model says it does, and nothing else."""
        self.run_model()
        gevent.sleep(0)
        for _ in range(50):
            if self.owner.state == self.state and not self.node.rotation:
                break
            gevent.sleep(0.001)
        assert self.owner.state == self.state
        assert self.owner.outcome == self.expected
        if self.turns is not None:
            assert self.turns.is_entered == (self.state == IDLE)

    def run_model(self):
        if self.is_killed:
            self.end("killed")
        if self.state != WAITING:
            return
        try:
            next(self.under_way)
        except StopIteration as stop:
            self.state, self.expected = IDLE, stop.value
        except ValueError:
            self.state, self.expected = IDLE, ValueError
        except Closed:
            if self.swallows:
                self.state, self.expected = IDLE, Closed
            else:
                self.end("cancelled")

    def end(self, reason):
        if self.is_alive:
            self.state = reason
            self.model.release()

    def order(self, order, *args, model):
        """Tell the owner what to do, and the model what comes of it."""
        self.under_way, self.state = model, WAITING
        self.owner.orders.put((order, *args))
        self.settle()

    def do(self, order, *args, gives=None):
        """Tell the owner to do what needs no waiting."""
        self.expected = gives
        self.owner.orders.put((order, *args))
        self.settle()

    def line(self, number):
        """Return a channel's number, and the model's half of it."""
        number %= len(self.model.lines)
        return number, self.model.lines[number]

    # -- what the owner does ------------------------------------------------------

    @precondition(is_idle)
    @rule(number=numbers, timeout=timeouts, swallows=mostly)
    def receive(self, number, timeout, swallows):
        self.select([number], timeout, swallows)

    @precondition(is_idle)
    @rule(picked=st.lists(numbers, min_size=2, max_size=4), timeout=timeouts, swallows=mostly)
    def select_several(self, picked, timeout, swallows):
        self.select(picked, timeout, swallows)

    def select(self, picked, timeout, swallows):
        picked, lines = zip(*map(self.line, picked), strict=True)
        self.swallows = swallows
        model = self.model.receive(lines, timeout)
        self.order(self.owner.receive, picked, timeout, swallows, model=model)

    @precondition(is_idle)
    @rule(number=numbers, most=several, unlistens=st.booleans())
    def loop(self, number, most, unlistens):
        number, line = self.line(number)
        model = self.model.loop(line, most, unlistens)
        self.order(self.owner.loop, number, most, unlistens, model=model)

    @precondition(is_idle)
    @rule(topic=topics)
    def listen(self, topic):
        line, is_new = self.model.listen(topic)
        self.do(self.owner.listen, topic, is_new, gives=self.model.lines.index(line))

    @precondition(is_idle)
    @rule(number=numbers)
    def unlisten(self, number):
        number, line = self.line(-1 - number)
        self.model.unlisten(line)
        self.do(self.owner.unlisten, number)

    @precondition(is_idle)
    @rule()
    def open_events(self):
        self.model.open_events()
        self.do(self.owner.open_events)

    @precondition(lambda self: self.is_idle() and self.model.events.items)
    @rule(number=numbers)
    def discard(self, number):
        label, _ = self.model.events.items[number % len(self.model.events.items)]
        self.model.discard(label)
        self.do(self.owner.discard, label)

    @precondition(is_idle)
    @rule()
    def count(self):
        self.do(self.owner.count, gives=[len(line.items) for line in self.model.lines])

    @precondition(is_idle)
    @rule(does=seldom)
    def finish(self, does):
        if does:
            self.end("cancelled" if self.model.is_closed else "normal")
            self.do(None, gives=self.expected)

    # -- what others do, whatever the owner is at -----------------------------------

    @rule(burst=st.lists(st.tuples(topics, sizes), min_size=1, max_size=4))
    def put_several(self, burst):
        for topic, size in burst:
            self.put(topic, size)

    def put(self, topic, size):
        label = self.label()
        is_taken = self.owner.process.deliver(Message(topic, label, size=size))
        assert is_taken == self.model.put(topic, label, size)

    @precondition(lambda self: self.is_alive)
    @rule(topic=topics, clients=st.lists(st.integers(0, 4), min_size=1, unique=True))
    def flood(self, topic, clients):
        """Put until the mailbox is full, and one more each; as connections do."""
        for _ in range(6):
            if not self.model.is_full:
                self.put(topic, 1)
        for number in clients:
            self.put(topic, 0)
            if self.model.is_full:
                self.hold_back(number)

    @rule()
    def put_event(self):
        if self.is_alive:
            label = self.label()
            self.model.put_event(label)
            self.owner.process.on_exit(Exit(SOMEBODY, label, at=0.0))

    @rule(does=st.booleans())
    def cancel(self, does):
        label = self.label()
        if not does:
            return
        assert self.node.cancel(self.owner.process.pid, None, label) == self.is_alive
        if self.is_alive:
            self.model.cancel(label)

    @precondition(lambda self: self.is_alive)
    @rule(does=seldom)
    def kill_seldom(self, does):
        if does:
            self.kill()

    def kill(self):
        self.owner.process.kill()
        self.is_killed = self.model.is_closed = True

    def hold_back(self, number):
        client = self.clients[number % len(self.clients)]
        for mailbox in (self.mailbox, self.model):
            client.hold_back(mailbox)

    @rule(number=numbers)
    def hold_back_no_more(self, number):
        client = self.clients[number % len(self.clients)]
        self.owner.process.forget_drained(client)
        self.model.held_back = [other for other in self.model.held_back if other is not client]

    @precondition(lambda self: self.state == WAITING and not self.is_killed)
    @rule(topic=topics, is_put_first=st.booleans())
    def interrupt(self, topic, is_put_first):
        """Throw something into a wait, just before or after a message."""
        self.settle()
        if self.state != WAITING:
            return  # something had come already
        if is_put_first:
            self.put(topic, 0)
            if not self.node.rotation.is_late:
                self.run_model()
        gevent.get_hub().loop.run_callback(self.owner.process.greenlet.throw, Interrupt)
        if not is_put_first:
            self.put(topic, 0)
        if self.state == WAITING:
            self.state, self.expected = IDLE, Interrupt
        self.settle()

    @rule()
    def let_run(self):
        self.settle()

    @rule()
    def look_on(self):
        """Somebody else asks what waits for each channel, and moves nothing by that."""
        waiting = [len(channel) for channel in self.owner.channels]
        assert waiting == [len(line.items) for line in self.model.lines]
        assert self.owner.process.info()["mailbox"] == len(self.model.sizes)

    # -- the comparison -------------------------------------------------------------

    @invariant()
    def agrees(self):
        """What can be seen from outside, at any moment."""
        model, process = self.model, self.owner.process
        assert len(self.mailbox) == len(model.sizes)
        assert self.mailbox.is_closed == model.is_closed
        assert process.is_full == model.is_full
        for client in self.clients:
            assert client.told.get(self.mailbox, 0) == client.told.get(model, 0)


TestMailboxes = Mailboxes.TestCase
TestMailboxes.settings = settings(max_examples=450, stateful_step_count=50, deadline=None)
