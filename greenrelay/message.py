"""What travels between processes: messages, their topics, and the news of ends.

`Message` is made for each delivery and kept small; the three events are rare
and frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeGuard

from greenrelay.errors import NotACall
from greenrelay.pid import PID


class MonitorRef(NamedTuple):
    """What `monitor()` returns: it names one monitor, and the `Exit` that will answer it."""

    pid: PID
    """Who is monitored."""
    number: int
    """Unique on the watcher's node."""


class Message:
    """One message in a mailbox."""

    __slots__ = ("payload", "sender", "size", "topic")

    topic: str
    """What it is about: the app's word, or one of the relay's (`ws.join` …)."""
    payload: Any
    """What was sent: on one node the very object, not a copy."""
    sender: PID | Any
    """The PID of the process or connection that sent it; `None` from a view or plain code.

    Its type says `Any` for the latter: every message of a browser has a sender, and so has every
    one of a process, so a loop need not look; one that views send to as well may.
    """

    size: int
    """Bytes of client text that count towards the mark of a mailbox; 0 from a process."""

    def __init__(
        self, topic: str, payload: Any = None, sender: PID | None = None, size: int = 0
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.sender = sender
        self.size = size

    def reply(self, payload: Any = None) -> bool:
        """Give the sender of a `call()` its reply; `False`: it does not wait any more.

        Raises:
            NotACall: the message came by `send()`; answer with `send(message.sender, …)`.
        """
        raise NotACall(
            f"{self.topic!r} was sent, not called: nobody waits for a reply; "
            "use process.send(message.sender, topic, payload)"
        )

    def __repr__(self) -> str:
        return f"Message({self.topic!r}, {self.payload!r}, sender={self.sender!r})"


class Replier(Protocol):
    """Whoever brings a reply to its caller: a node."""

    def reply(self, pid: PID, message: Message) -> bool:
        """Hand over a message; `False`: nobody is there."""


class Request(Message):
    """A message whose sender waits for `reply()`."""

    __slots__ = ("_replier", "reply_to")

    reply_to: PID
    """Where the reply goes; gone when the caller does not wait any more."""

    def __init__(
        self, topic: str, payload: Any, sender: PID | None, replier: Replier, reply_to: PID
    ) -> None:
        super().__init__(topic, payload, sender)
        self._replier = replier
        self.reply_to = reply_to

    def reply(self, payload: Any = None) -> bool:
        """Give the caller its reply; `False`: it does not wait any more."""
        return self._replier.reply(self.reply_to, Message("@reply", payload))


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that somebody monitored has ended."""

    sender: PID
    """Who ended."""
    reason: str
    """`normal`, `shutdown`, `killed`, `noproc`, `noconnection`, `cancelled`, a connection's
    reason, or `error: <Type>: <text>`."""
    at: float
    """When, in unix seconds."""
    value: Any = None
    """What its function returned."""
    error: BaseException | None = field(default=None, compare=False)
    """The exception that ended it; only on its own node."""
    ref: MonitorRef | None = None
    """The monitor that this answers, as `monitor()` returned it."""

    kind = "pid.exit"


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A linked process has ended abnormally, and this one traps links."""

    sender: PID
    reason: str
    at: float
    error: BaseException | None = field(default=None, compare=False)

    kind = "pid.link.down"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody asks this process to end."""

    sender: PID | None
    reason: str | None
    at: float

    kind = "pid.cancel"


Event = Exit | LinkDown | Cancel


def is_topic(value: object) -> TypeGuard[str]:
    """Tell whether a value can be a topic: a str that is not empty and has no `@` first."""
    return isinstance(value, str) and bool(value) and not value.startswith("@")


def check_topic(topic: object) -> None:
    """Raise `ValueError` or `TypeError` for what can't be a topic."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, got {type(topic).__name__}")
    if not is_topic(topic):
        raise ValueError(f"a topic is not empty and has no '@' first, got {topic!r}")
