"""Mailboxes that a test itself takes from, and what it puts into them."""

from types import SimpleNamespace

import gevent
import greenlet

from greenrelay.message import Exit, Message
from greenrelay.pid import PID

SOMEBODY = PID("proc@test/0123456789abcdef")


def own(mailbox, turn=None):
    """Make the calling greenlet the one that takes from it."""
    return own_by(greenlet.getcurrent(), mailbox, turn)


def own_by(owner, mailbox, turn=None):
    """Make a greenlet the one that takes from it."""
    mailbox.belong_to(SimpleNamespace(greenlet=owner), turn)
    return mailbox


def fill(mailbox, topics):
    return [mailbox.put(Message(topic)) for topic in topics]


def drain(channel):
    """Return the topics of what a channel has."""
    taken = iter(lambda: channel.receive(timeout=0), None)
    return [message.topic for message in taken]


def soon(call, *args):
    """Call from the hub, in the loop's next turn."""
    gevent.get_hub().loop.run_callback(call, *args)


def an_exit(reason="normal"):
    return Exit(SOMEBODY, reason, at=0.0)
