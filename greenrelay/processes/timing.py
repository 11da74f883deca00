"""Messages at their time: once, later, or again and again; see `greenrelay.process`."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, NamedTuple

from greenrelay.errors import GreenRelayError
from greenrelay.logs import log_soon
from greenrelay.message import Exit, Message, check_topic
from greenrelay.pid import PID
from greenrelay.processes.children import is_number
from greenrelay.processes.current import current_node, current_pid, require_process
from greenrelay.processes.node import Node
from greenrelay.processes.timers import Ticker, Timer

log = logging.getLogger("greenrelay.node")


def send_after(seconds: float, dest: str, topic: str, payload: Any = None) -> Timer:
    """Send a message later; it is dropped if `dest` is dead by then.

    Args:
        seconds: from now on.
        dest, topic, payload: as for `send()`; a name is looked up when the time has come.

    Returns:
        A timer with `cancel()`, which returns whether it was in time.

    Raises:
        ValueError: the topic is empty or reserved, or `seconds` is negative.
        InvalidPID: `dest` is neither a PID nor a name.
        NotPortable: `dest` is on another node, to which the payload can't go.
    """
    node = current_node()
    return node.thread.run(_start_timer, node, seconds, dest, topic, payload, current_pid())


def _start_timer(
    node: Node, seconds: float, dest: str, topic: str, payload: Any, sender: PID | None
) -> Timer:
    check_topic(topic)
    if not seconds >= 0:
        raise ValueError(f"send_after() takes seconds from now on, got {seconds!r}")
    is_name = isinstance(dest, str) and "@" not in dest
    to = dest if is_name else PID.parse(dest)
    _check_portable(node, to, Message(topic, payload, sender))
    fire = partial(_send_late, node, to, topic, payload, sender)
    timer = node.start_timer(seconds, to, fire)
    if isinstance(to, PID) and to.node == node.name and node.find(to) is None:
        timer.cancel()  # nobody will ever live there
    return timer


def _check_portable(node: Node, dest: str, message: Message) -> None:
    """Refuse now what could not go to another node then."""
    if isinstance(dest, PID) and node.table.elsewhere is not None:
        node.table.elsewhere.prepare(dest, message)


def every(seconds: float, topic: str, payload: Any = None, dest: str | None = None) -> Timer:
    """Send a message again and again, the first one in so many seconds.

    It goes by the clock: however long a message takes, or is late, the next is due `seconds`
    after this one was due. Those that could not be sent in time, because the event loop stood
    still, are left out and not made up for.

    Args:
        seconds: more than 0.
        topic, payload: as for `send()`.
        dest: a PID or a registered name, by default the caller. It means the process that is
            there now: it ends with that one, also if the name has another holder then.

    Returns:
        A timer with `cancel()`, which returns whether it was running. It is over already if
        `dest` is dead.

    Raises:
        NotAProcess: there is no `dest`, and the caller is no process.
        NameNotRegistered: `dest` is a name that nobody holds.
        InvalidPID: `dest` is neither a PID nor a name.
        NotPortable: `dest` is on another node, to which the payload can't go.
        ValueError: the topic is empty or reserved, or `seconds` is no such number.
    """
    node, caller = current_node(), current_pid()
    if dest is None:
        dest = require_process("every(seconds, topic)").pid
    return node.thread.run(_start_ticker, node, seconds, dest, topic, payload, caller)


def _start_ticker(
    node: Node, seconds: float, dest: str, topic: str, payload: Any, sender: PID | None
) -> Timer:
    check_topic(topic)
    if not is_number(seconds) or seconds <= 0:
        raise ValueError(f"every() takes seconds, more than 0, got {seconds!r}")
    to = node.resolve(dest)
    _check_portable(node, to, Message(topic, payload, sender))
    ticker = node.start_timer(
        seconds, to, partial(_send_late, node, to, topic, payload, sender), Ticker
    )
    if node.find(to) is None:
        node.monitor(_LastOf(ticker), to)  # elsewhere, or nowhere
    return ticker


class _LastOf(NamedTuple):
    """Who watches a receiver on another node, for a ticker that ends with it."""

    ticker: Timer

    def on_exit(self, exit: Exit) -> None:
        """Tick no more."""
        self.ticker.cancel()


def _send_late(node: Node, dest: str, topic: str, payload: Any, sender: PID | None) -> None:
    try:
        node.send(dest, topic, payload, sender)
    except GreenRelayError as error:  # nobody is left to raise it to
        log_soon(log, logging.WARNING, "a timed %r was not sent: %s", topic, error)
