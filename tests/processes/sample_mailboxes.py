"""Mailboxes that a test itself takes from, and what it puts into them."""

import gevent
import greenlet

from greenrelay.message import Exit, Message
from greenrelay.pid import PID
from greenrelay.processes.mailbox import Mailbox

SOMEBODY = PID("proc@test/0123456789abcdef")


def own_mailbox(**options):
    """Return a mailbox that the caller may take from; the options are `Mailbox`'s."""
    return Mailbox(owner=greenlet.getcurrent(), **options)


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
