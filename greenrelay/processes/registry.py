"""Names of processes on one node: unique, and gone when the process is.

A process may hold several names; a name has one holder.
"""

from __future__ import annotations

from greenrelay.errors import NameNotRegistered, NameTaken
from greenrelay.pid import PID


class Registry:
    """The names of one node."""

    def __init__(self) -> None:
        self._pids: dict[str, PID] = {}
        self._names: dict[PID, set[str]] = {}

    def register(self, name: str, pid: PID) -> None:
        """Give `name` to `pid`; again for the same holder is no error.

        Raises:
            NameTaken: somebody else holds it.
            ValueError: it could be mistaken for a PID.
        """
        check_name(name)
        holder = self._pids.setdefault(name, pid)
        if holder != pid:
            raise NameTaken(name, holder)
        self._names.setdefault(pid, set()).add(name)

    def lookup(self, name: str) -> PID | None:
        """Return who holds `name`, `None` if nobody does."""
        return self._pids.get(name)

    def resolve(self, dest: str) -> PID:
        """Return the PID that `dest`, a PID, its text or a registered name, stands for.

        Raises:
            NameNotRegistered: it is a name that nobody holds.
            InvalidPID: it is neither a PID nor a name.
        """
        if type(dest) is PID:
            return dest
        if not isinstance(dest, str) or "@" in dest:
            return PID.parse(dest)
        pid = self._pids.get(dest)
        if pid is None:
            raise NameNotRegistered(
                f"nobody holds the name {dest!r}; spawn(…, name={dest!r}) or register it first"
            )
        return pid

    def unregister(self, name: str) -> bool:
        """Free `name`; `False`: nobody held it."""
        pid = self._pids.pop(name, None)
        if pid is None:
            return False
        names = self._names[pid]
        names.discard(name)
        if not names:
            del self._names[pid]
        return True

    def names(self, pid: PID) -> frozenset[str]:
        """Return the names that `pid` holds."""
        return frozenset(self._names.get(pid, ()))

    def remove(self, pid: PID) -> None:
        """Free every name of a process that has ended."""
        for name in self._names.pop(pid, ()):
            del self._pids[name]

    def __len__(self) -> int:
        return len(self._pids)


def check_name(name: str) -> None:
    """Raise `ValueError` for what can't be a name: empty, or with the '@' of a PID."""
    if not isinstance(name, str) or not name or "@" in name:
        raise ValueError(f"a name is a string that is not empty and has no '@', got {name!r}")
