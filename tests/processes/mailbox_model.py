"""What is promised of a mailbox (§2.2, §2.5, §8), in plain lists and as little of it as will do."""

from dataclasses import dataclass, field


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
