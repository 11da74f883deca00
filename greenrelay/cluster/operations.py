"""What nodes tell each other: one operation each, as values and as bytes.

    Send(dest, topic, payload, sender, size) ─ encode ─► bytes, made once ─► envelopes ─ decode ─►

Two rules: no loop, no socket, no clock; and whatever the bytes are, `decode` returns an operation
whose fields are of the types in its class, or raises `BadOperation`. What a process has sent stands
in an operation as bytes of its own, packed once, and is unpacked where it is delivered.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final, NamedTuple

from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import GreenRelayError
from greenrelay.pid import PID


class BadOperation(GreenRelayError):
    """Drop it: it is none that this version knows, or is not made as one."""


# -- what processes do to each other --------------------------------------------------


class Send(NamedTuple):
    """A message for one process; `@reply` is the topic of a reply to a call."""

    dest: PID
    topic: str
    payload: bytes
    sender: PID | None
    size: int


class Call(NamedTuple):
    """A message whose sender waits for a reply."""

    dest: PID
    topic: str
    payload: bytes
    sender: PID | None
    reply_to: PID


class SendMany(NamedTuple):
    """One message for several processes of the node."""

    dests: list[Any]
    topic: str
    payload: bytes
    sender: PID | None


class GroupSend(NamedTuple):
    """One message for those members of a group that live on the node."""

    group: str
    topic: str
    payload: bytes
    sender: PID | None


class Cancel(NamedTuple):
    """A request to end."""

    dest: PID
    sender: PID | None
    reason: str | None


class Kill(NamedTuple):
    """An order to end."""

    dest: PID
    reason: str


# -- who watches whom -------------------------------------------------------------------


class Monitor(NamedTuple):
    """Tell us when this process ends; again is no error."""

    pid: PID


class Demonitor(NamedTuple):
    """Do not."""

    pid: PID


class Ended(NamedTuple):
    """A process that you monitor has ended."""

    pid: PID
    reason: str
    at: float
    value: bytes


class Link(NamedTuple):
    """A process of ours is linked with one of yours; again is no error."""

    ours: PID
    yours: PID


class Unlink(NamedTuple):
    """It is not any more; answer `Unlinked`."""

    ours: PID
    yours: PID


class Unlinked(NamedTuple):
    """An `Unlink` has been taken note of."""

    ours: PID
    yours: PID


class LinkDown(NamedTuple):
    """A process of ours that was linked with one of yours has ended."""

    ours: PID
    yours: PID
    reason: str
    at: float


# -- names, groups, mailboxes --------------------------------------------------------------


class Name(NamedTuple):
    """A process of ours holds a name."""

    name: str
    pid: PID


class Unname(NamedTuple):
    """It does not any more."""

    name: str
    pid: PID


class Join(NamedTuple):
    """A process of ours is a member of a group; again with other metadata is an update."""

    group: str
    pid: PID
    meta: dict[str, Any]


class Leave(NamedTuple):
    """It is not any more."""

    group: str
    pid: PID


class Full(NamedTuple):
    """A mailbox of ours is over its mark: hold back."""

    pid: PID


class Drained(NamedTuple):
    """It is not any more."""

    pid: PID


# -- between the nodes themselves --------------------------------------------------------------


class Sync(NamedTuple):
    """All that we are to each other follows, as ordinary operations, until `Synced`."""


class Synced(NamedTuple):
    """That was all: what you know of us and has not come since `Sync` is not so any more."""


class Resync(NamedTuple):
    """Something of yours is missing here: tell it all again."""


class Draining(NamedTuple):
    """This node is about to stop, or is not any more: what ends here ends for that."""

    is_draining: bool


class Ask(NamedTuple):
    """Do or look something up for us, and answer with this number."""

    number: int
    verb: str
    args: list[Any]


class Answer(NamedTuple):
    """What came of it: a value; or the name of an error, and what it is made of."""

    number: int
    error: str | None
    value: bytes


Operation = (
    Send | Call | SendMany | GroupSend | Cancel | Kill | Monitor | Demonitor | Ended
    | Link | Unlink | Unlinked | LinkDown | Name | Unname | Join | Leave | Full | Drained
    | Sync | Synced | Resync | Ask | Answer | Draining
)  # fmt: skip

_SENDER: Final = (PID, NoneType)

# Numbers on the wire and types of the fields. A number is never used for something else later.
_TABLE: Final[dict[int, tuple[Any, tuple[Any, ...]]]] = {
    1: (Send, (PID, str, bytes, _SENDER, int)),
    2: (Call, (PID, str, bytes, _SENDER, PID)),
    3: (SendMany, (list, str, bytes, _SENDER)),
    4: (GroupSend, (str, str, bytes, _SENDER)),
    5: (Cancel, (PID, _SENDER, (str, NoneType))),
    6: (Kill, (PID, str)),
    10: (Monitor, (PID,)),
    11: (Demonitor, (PID,)),
    12: (Ended, (PID, str, float, bytes)),
    13: (Link, (PID, PID)),
    14: (Unlink, (PID, PID)),
    15: (Unlinked, (PID, PID)),
    16: (LinkDown, (PID, PID, str, float)),
    20: (Name, (str, PID)),
    21: (Unname, (str, PID)),
    22: (Join, (str, PID, dict)),
    23: (Leave, (str, PID)),
    24: (Full, (PID,)),
    25: (Drained, (PID,)),
    30: (Sync, ()),
    31: (Synced, ()),
    32: (Resync, ()),
    33: (Ask, (int, str, list)),
    34: (Answer, (int, (str, NoneType), bytes)),
    35: (Draining, (bool,)),
}
_HEADS: Final[dict[Any, tuple[int, str]]] = {
    kind: (number, kind.__name__.lower()) for number, (kind, _) in _TABLE.items()
}
"""An operation's number, and what it is called in errors."""


_SUBJECTS: Final[dict[Any, int]] = {
    kind: types.index(PID) for kind, types in _TABLE.values() if PID in types
}
"""Which field has the process that an operation tells of. Groups and names may be PIDs, too."""


def subject(operation: Operation) -> PID:
    """Return the process that an operation tells of; it has to tell of one."""
    fields: tuple[Any, ...] = operation
    found: PID = fields[_SUBJECTS[type(operation)]]
    return found


def encode(operation: Operation) -> bytes:
    """Return an operation's bytes.

    Raises:
        NotPortable: a value in it, metadata say, can't go to another node.
    """
    number, root = _HEADS[type(operation)]
    return pack([number, *operation], root)


def decode(data: bytes) -> Operation:
    """Return the operation that bytes are.

    Raises:
        BadOperation: they are none that this version knows.
    """
    try:
        number, *fields = unpack(data)
        kind, types = _TABLE[number]
    except Exception as error:  # whatever hostile bytes make of it
        raise BadOperation(f"no operation of this version: {error!r}") from None
    if len(fields) < len(types):
        raise BadOperation(f"{kind.__name__} with {len(fields)} fields")
    # More of them are those of a newer version, which this one can do without.
    for field, expected in zip(fields, types, strict=False):
        if not isinstance(field, expected):
            raise BadOperation(f"{kind.__name__} with {type(field).__name__} for {expected}")
    operation: Operation = kind(*fields[: len(types)])
    if isinstance(operation, SendMany) and not all(type(pid) is PID for pid in operation.dests):
        raise BadOperation("SendMany to what is no PID")
    return operation
