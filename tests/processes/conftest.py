"""What several tests of processes begin with."""

import gevent
import pytest

from greenrelay import process
from greenrelay.process import Child, on_node
from greenrelay.testing import wait_until
from tests.processes.sample_mailboxes import own_mailbox
from tests.sample_processes import collect


@pytest.fixture
def messages():
    return []


@pytest.fixture
def receiver(node, messages):
    """The PID of a process that keeps its messages."""
    return node.spawn(collect, (messages,), name="receiver")


class NotedChildren:
    """Children that note when they start and stop, and end as they are told."""

    names = ("one", "two", "three")

    def __init__(self, node):
        self.node = node
        self.notes = []

    def child(self, name, **options):
        return Child(self.act, (name,), name=name, **options)

    def children(self, **options):
        return [self.child(name, **options) for name in self.names]

    def act(self, name):
        self.notes.append(f"+{name}")
        try:
            for message in process.inbox():
                message.payload()
        finally:
            self.notes.append(f"-{name}")

    def tell(self, name, call=lambda: 1 / 0):
        """Have a child call something, by default fail, and wait until it has ended."""
        pid = process.registry.lookup(name)
        process.send(pid, "do", call)
        wait_until(lambda: not process.is_alive(pid))

    def wait_for(self, text):
        """Wait until the notes are these, and forget them."""
        wait_until(lambda: len(self.notes) >= len(text.split()))
        gevent.idle()  # nothing else may follow
        notes, self.notes[:] = " ".join(self.notes), []
        assert notes == text

    def start(self, supervisor, **options):
        """Start a supervisor, wait until its children are there, and return its PID."""
        pid = supervisor.start(**options)
        wait_until(lambda: len(self.notes) == len(supervisor.specs))
        self.notes.clear()
        return pid


@pytest.fixture
def noted(node):
    return NotedChildren(node)


@pytest.fixture
def mailbox():
    """A mailbox that the test itself may take from."""
    return own_mailbox(max_messages=4)


@pytest.fixture
def in_thread(node):
    """Call a function in an OS thread of its own, and return or raise what it does."""

    def run(call, *args):
        def there():
            with on_node(node):
                return call(*args)

        return gevent.get_hub().threadpool.apply(there)

    return run
