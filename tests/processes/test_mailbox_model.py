"""Random uses of one mailbox, against what is promised of it (§2.2, §2.5, §8), in plain lists.

The owner is a real process. It carries out one order at a time, and where an order waits, the
others go on: they send, cancel, kill, interrupt. They do so in one turn of the loop, until the
owner is let run; then it has to have got, left and told what the model says.
"""

import time
from dataclasses import dataclass, field

import gevent
from gevent.queue import SimpleQueue
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greenrelay import process
from greenrelay.message import Exit, Message
from greenrelay.pid import PID
from greenrelay.process import on_node
from greenrelay.processes.channel import ChannelClosed
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.node import Node

SOMEBODY = PID("proc@test/0123456789abcdef")
INBOX, EVENTS = 0, 1
IDLE, WAITING = "idle", "waiting"


# -- the model ---------------------------------------------------------------------------


class Closed(Exception):
    """The owner has been cancelled, and asks for more than there is."""


@dataclass(eq=False)
class Line:
    """A channel: what stands in it, as `(label, size)`; the size of an event is `None`."""

    topic: str | None = None
    items: list = field(default_factory=list)
    is_unlistened: bool = False


class Model:
    """What a mailbox promises."""

    def __init__(self, max_messages, max_bytes):
        self.max_messages = max_messages or float("inf")
        self.max_bytes = max_bytes or float("inf")
        self.inbox, self.events = Line(), Line()
        self.lines = [self.inbox, self.events]
        self.is_full = self.is_closed = self.has_events = False
        self.early_cancel = None
        self.held_back = []
        """Who waits to be told that it has drained, in the order in which they came."""

    @property
    def sizes(self):
        return [size for line in self.lines for _, size in line.items if size is not None]

    def put(self, topic, label, size):
        if self.is_closed:
            return False
        listeners = [x for x in self.lines if x.topic == topic and not x.is_unlistened]
        (listeners[0] if listeners else self.inbox).items.append((label, size))
        if len(self.sizes) >= self.max_messages or (size and sum(self.sizes) >= self.max_bytes):
            self.is_full = True
        return True

    def put_event(self, label):
        self.events.items.append((label, None))

    def listen(self, topic):
        """Return the line of a topic, and whether it is new."""
        for line in self.lines:
            if line.topic == topic and not line.is_unlistened:
                return line, False
        self.lines.append(Line(topic))
        return self.lines[-1], True

    def unlisten(self, line):
        if line.topic is not None:
            line.is_unlistened = True
            self.inbox.items += line.items
            line.items = []

    def discard(self, label):
        self.events.items = [item for item in self.events.items if item[0] != label]

    def open_events(self):
        self.has_events = True
        if self.early_cancel:
            self.put_event(self.early_cancel)
            self.early_cancel, self.is_closed = None, False

    def cancel(self, label):
        if self.has_events:
            self.put_event(label)
        else:
            self.early_cancel, self.is_closed = label, True

    def take(self, lines):
        """Return `(which line, label)`, `None` if there is nothing.

        Raises:
            Closed: there will not be.
            ValueError: a line is unlistened.
        """
        for line in lines:
            if line.items:
                label, size = line.items.pop(0)
                if size is not None:
                    self.tell(1)
                return self.lines.index(line), label
        if self.is_closed and any(line is not self.events for line in lines):
            self.early_cancel = None  # it has been noticed
            raise Closed
        if any(line.is_unlistened for line in lines):
            raise ValueError
        return None

    def tell(self, how_many=None):
        """If it has drained, say so to that many of those who hold back, or to all of them."""
        sizes = self.sizes
        if 2 * len(sizes) > self.max_messages or 2 * sum(sizes) > self.max_bytes:
            return False
        self.is_full = False
        told = self.held_back[:how_many]
        del self.held_back[:how_many]
        for client in told:
            client.tell(self)
        return bool(told)

    def receive(self, lines, timeout):
        """As `take()`, but wait if there is nothing: yields while it does."""
        while (taken := self.take(lines)) is None and (timeout is None or timeout > 0):
            if self.tell():
                continue  # whoever was told may have sent more
            if timeout is not None:
                return None
            yield
        return taken

    def loop(self, line, most, unlistens):
        """Take so many items, or until the loop ends; yields while it waits."""
        got = []
        while len(got) < most and (self.is_closed or not line.is_unlistened):
            try:
                got.append((yield from self.receive([line], None))[1])
            except Closed:
                break
            if unlistens:
                self.unlisten(line)
        return got

    def release(self):
        self.is_closed = True
        for line in self.lines:
            line.items = []
        self.tell()


# -- the owner ---------------------------------------------------------------------------


class Interrupt(Exception):
    """Thrown into the owner by somebody else, as a time-out around it would be."""


class Client:
    """Holds back until it is told, as connections do; then it may send at once again."""

    def __init__(self, key, is_eager):
        self.key, self.is_eager = key, is_eager
        self.told = {}
        """Whose mailbox has told it, and how often."""

    def hold_back(self, mailbox):
        if isinstance(mailbox, Model):
            if self not in mailbox.held_back:
                mailbox.held_back.append(self)
        else:
            mailbox.on_drained(self, lambda: self.tell(mailbox))

    def tell(self, mailbox):
        self.told[mailbox] = self.told.get(mailbox, 0) + 1
        if self.is_eager:
            label = f"{self.key}, told {self.told[mailbox]} times"
            if isinstance(mailbox, Model):
                mailbox.put("a", label, 1)
            else:
                mailbox.put(Message("a", label, size=1))
            if mailbox.is_full:
                self.hold_back(mailbox)


class Turns:
    """Notes whether a turn is under way."""

    def __init__(self):
        self.is_entered = False

    def enter(self):
        assert not self.is_entered
        self.is_entered = True

    def leave(self):
        assert self.is_entered
        self.is_entered = False

    def close(self, error):
        self.leave()


class Rota(Rotation):
    """Makes each woken process wait for its turn, or none, whatever the time."""

    def __init__(self, is_late):
        super().__init__()
        self.is_late = is_late

    def begin(self):
        return self.wait() if self.is_late else time.monotonic()


class Owner:
    """A process that does what it is told, one order at a time."""

    def __init__(self, node, turns):
        self.orders = SimpleQueue()
        self.state, self.outcome = "new", None
        pid = node.spawn(self.run, turn=turns)
        node.monitor(self, pid)
        self.process = node.find(pid)
        self.mailbox = self.process.mailbox
        self.channels = [self.mailbox.inbox, self.mailbox.events]

    def on_exit(self, exit):
        self.state = exit.reason

    def run(self):
        self.state = IDLE
        while True:
            try:
                order, *args = self.orders.get()
            except Interrupt:
                continue  # it was too late for what it was meant for
            if order is None:
                return
            self.state = WAITING
            try:
                self.outcome = order(*args)
            except (Interrupt, ValueError) as error:
                self.outcome = type(error)
            self.state = IDLE

    # -- orders ------------------------------------------------------------------

    def receive(self, numbers, timeout, swallows):
        channels = [self.channels[number] for number in numbers]
        try:
            if len(channels) == 1:
                item = channels[0].receive(timeout)
                return None if item is None else (numbers[0], label_of(item))
            taken = process.select(*channels, timeout=timeout)
            return None if taken is None else (self.channels.index(taken[0]), label_of(taken[1]))
        except ChannelClosed:
            if not swallows:
                raise
            return Closed

    def loop(self, number, most, unlistens):
        channel, got = self.channels[number], []
        for item in channel:
            got.append(label_of(item))
            if unlistens:
                process.unlisten(channel)
            if len(got) == most:
                break
        return got

    def listen(self, topic, is_new):
        channel = process.listen(topic)
        if is_new:
            assert channel not in self.channels
            self.channels.append(channel)
        return self.channels.index(channel)

    def unlisten(self, number):
        process.unlisten(self.channels[number])

    def open_events(self):
        assert process.events() is self.channels[EVENTS]

    def discard(self, label):
        self.mailbox.discard(lambda event: label_of(event) == label)

    def count(self):
        return [len(channel) for channel in self.channels]


def label_of(item):
    return item.payload if isinstance(item, Message) else item.reason


# -- the comparison ----------------------------------------------------------------------

topics = st.sampled_from("abc")
sizes = st.sampled_from([0, 0, 1, 3])
numbers = st.integers(0, 5)
timeouts = st.sampled_from([None, None, 0, -1, 0.0005])
few = st.integers(1, 3)


settings_of_a_mailbox = {
    "max_messages": st.integers(0, 5),
    "max_bytes": st.integers(0, 8),
    "has_turns": st.booleans(),
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
        self.node.rotation = Rota(is_late)
        self.here = on_node(self.node)
        self.here.__enter__()
        self.model = Model(max_messages, max_bytes)
        self.clients = [Client(f"client {number}", is_eager=number == 2) for number in range(3)]
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
    @rule(number=numbers, timeout=timeouts, swallows=st.booleans())
    def receive(self, number, timeout, swallows):
        self.select([number], timeout, swallows)

    @precondition(is_idle)
    @rule(
        picked=st.lists(numbers, min_size=2, max_size=4), timeout=timeouts, swallows=st.booleans()
    )
    def select_several(self, picked, timeout, swallows):
        self.select(picked, timeout, swallows)

    def select(self, picked, timeout, swallows):
        picked, lines = zip(*map(self.line, picked), strict=True)
        self.swallows = swallows
        model = self.model.receive(lines, timeout)
        self.order(self.owner.receive, picked, timeout, swallows, model=model)

    @precondition(is_idle)
    @rule(number=numbers, most=few, unlistens=st.booleans())
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
        number, line = self.line(number)
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
    @rule()
    def finish(self):
        self.end("cancelled" if self.model.is_closed else "normal")
        self.do(None, gives=self.expected)

    # -- what others do, whatever the owner is at -----------------------------------

    @rule(topic=topics, size=sizes)
    def put(self, topic, size):
        label = self.label()
        is_taken = self.owner.process.deliver(Message(topic, label, size=size))
        assert is_taken == self.model.put(topic, label, size)

    @rule()
    def put_event(self):
        if self.is_alive:
            label = self.label()
            self.model.put_event(label)
            self.owner.process.on_exit(Exit(SOMEBODY, label, at=0.0))

    @rule()
    def cancel(self):
        label = self.label()
        assert self.node.cancel(self.owner.process.pid, None, label) == self.is_alive
        if self.is_alive:
            self.model.cancel(label)

    @precondition(lambda self: self.is_alive)
    @rule()
    def kill(self):
        self.owner.process.kill()
        self.is_killed = self.model.is_closed = True

    @precondition(lambda self: self.model.is_full)
    @rule(number=numbers)
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
TestMailboxes.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
