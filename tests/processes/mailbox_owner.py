"""A process that uses its mailbox as it is told, and those who send to it."""

import time

from gevent.queue import Queue

from greenrelay import process
from greenrelay.message import Message
from greenrelay.processes.channel import ChannelClosed
from greenrelay.processes.fairness import Rotation
from tests.processes.mailbox_model import Closed, Model

IDLE, WAITING = "idle", "waiting"
EVENTS = 1
"""Where the channel of events is in the list of all."""


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


class FakeRotation(Rotation):
    """Makes each woken process wait for its turn, or none, whatever the time."""

    def __init__(self, is_late):
        super().__init__()
        self.is_late = is_late

    def begin(self):
        return self.wait() if self.is_late else time.monotonic()


class Owner:
    """A process that does what it is told, one order at a time."""

    def __init__(self, node, turns):
        self.orders = Queue()
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
