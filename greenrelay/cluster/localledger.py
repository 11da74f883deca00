"""Who is a member and who holds which name, by a deployment's records in their order.

    join    node, lease    the author is a member
    gone    incarnation    a member is none any more, by itself or declared lost; its names are free
    claim   name, pid      the author holds the name, if nobody does
    release name, pid      and no longer
    close                  nothing that follows counts: the log goes on in the next file

Two rules: whoever reads the same records knows the same; a record whose author is no member does
nothing. So a member that was declared lost while it hung can change nothing when it wakes up, and
of two that declare each other lost, one is.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from greenrelay.errors import ClusterError

VERSION: Final = 1
"""Of the records, and of what members say to each other."""

JOIN: Final = "join"
GONE: Final = "gone"
CLAIM: Final = "claim"
RELEASE: Final = "release"
CLOSE: Final = "close"


class Entry(NamedTuple):
    """What is known of a member."""

    node: str
    lease: float
    """Seconds of silence after which it takes others for lost, and expects them to take it."""
    records: int
    """How many it has written so far."""


class Holder(NamedTuple):
    """Who holds a name."""

    pid: str
    incarnation: str


class Ledger:
    """What the records say so far.

    Args:
        text: where the log begins, as `snapshot()` made it.

    Raises:
        ClusterError: another version of greenrelay wrote it.
    """

    def __init__(self, text: bytes = b"") -> None:
        self.members: dict[str, Entry] = {}
        """By incarnation, the first to join first."""
        self.names: dict[str, Holder] = {}
        self.is_closed = False
        """Whether the log goes on elsewhere."""
        if text:
            self._load(text)

    def _load(self, text: bytes) -> None:
        try:
            known = json.loads(text)
            version = known["version"]
            if version == VERSION:
                self.members = {key: Entry(*entry) for key, *entry in known["members"]}
                self.names = {name: Holder(*holder) for name, *holder in known["names"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"the deployment's ledger can't be read: {error!r}") from None
        if version != VERSION:
            raise ClusterError(
                f"the deployment's ledger has version {version!r}, and this is {VERSION}: another "
                "version of greenrelay runs there; stop it, or choose another name"
            )

    def snapshot(self) -> bytes:
        """Return all of it as one line, the same wherever the same records were read."""
        known = {
            "version": VERSION,
            "members": [[key, *entry] for key, entry in self.members.items()],
            "names": [[name, *holder] for name, holder in self.names.items()],
        }
        return json.dumps(known).encode() + b"\n"

    def has_counted(self, incarnation: str, count: int) -> bool:
        """Tell whether the record of this number has been read from a member's."""
        entry = self.members.get(incarnation)
        return entry is not None and entry.records >= count

    def apply(self, line: bytes) -> bool:
        """Take the next record; return whether it was one.

        A line that is none was cut short, by the death of its author or a full disk.
        """
        try:
            author, count, verb, *rest = json.loads(line)
            return self._apply(author, count, verb, rest)
        except (ValueError, TypeError):
            return False

    def _apply(self, author: str, count: int, verb: str, rest: list[Any]) -> bool:
        if self.is_closed:
            return True
        entry = self.members.get(author)
        if entry is not None:
            if count > entry.records:  # else it was written twice, round the end of a file
                self.members[author] = entry._replace(records=count)
                self._act(author, verb, rest)
        elif verb == JOIN:
            node, lease = rest
            self.members[author] = Entry(str(node), float(lease), count)
        return True

    def _act(self, author: str, verb: str, rest: list[Any]) -> None:
        if verb == CLAIM:
            name, pid = rest
            self.names.setdefault(name, Holder(pid, author))
        elif verb == RELEASE:
            name, pid = rest
            if self.names.get(name) == (pid, author):
                del self.names[name]
        elif verb == GONE:
            (incarnation,) = rest
            if self.members.pop(incarnation, None) is not None:
                lost = [name for name, held in self.names.items() if held[1] == incarnation]
                for name in lost:
                    del self.names[name]
        elif verb == CLOSE:
            self.is_closed = True


def record(author: str, count: int, verb: str, *rest: object) -> bytes:
    """Return a record as it is appended: a line of its own, whatever stands before it."""
    return b"\n" + json.dumps([author, count, verb, *rest]).encode() + b"\n"
