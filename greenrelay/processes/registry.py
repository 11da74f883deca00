"""Names of processes: unique, and gone when the process is.

A process may hold several names; a name has one holder. A plain table, of PIDs local or not: what
other nodes hold is entered by `note()`, and hides behind a name that is this node's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple, get_args

from greenrelay.errors import NameNotRegistered, NameTaken
from greenrelay.pid import PID

Scope = Literal["cluster", "node"]
"""Among whom a name is unique: all nodes that talk, or the processes of one."""
_SCOPES: Final[tuple[str, ...]] = get_args(Scope)


class NameChange(NamedTuple):
    """A name that all nodes know has got a holder, or has none any more."""

    name: str
    pid: PID
    is_held: bool


NameHook = Callable[[NameChange], None]
"""Takes a change. Must not block, switch or raise, nor change a name itself."""


class Registry:
    """The names that one node knows."""

    def __init__(self) -> None:
        self._pids: dict[str, PID] = {}
        self._names: dict[PID, set[str]] = {}
        self._own: set[str] = set()
        """Those of scope `node`."""
        self._hidden: dict[str, PID] = {}
        """Who elsewhere holds a name that is this node's own just now."""
        self._hooks: list[NameHook] = []

    def add_hook(self, hook: NameHook) -> None:
        """Have `hook` called after each change from now on, but of names of scope `node`."""
        self._hooks.append(hook)

    def remove_hook(self, hook: NameHook) -> None:
        """Call it no more."""
        self._hooks.remove(hook)

    def register(self, name: str, pid: PID, scope: Scope = "cluster") -> None:
        """Give `name` to `pid`; again for the same holder is no error.

        Args:
            scope: `node` leaves alone who holds the name elsewhere.

        Raises:
            NameTaken: somebody else holds it.
            ValueError: it could be mistaken for a PID.
        """
        check_name(name)
        holder = self._pids.get(name)
        if holder == pid:
            return
        if holder is not None:
            if scope == "cluster" or holder.node == pid.node:
                raise NameTaken(name, holder)
            self._hidden[name] = holder
            self._drop(name, holder)
        if scope == "node":
            self._own.add(name)
        self._enter(name, pid)

    def note(self, name: str, pid: PID) -> None:
        """Enter who holds a name elsewhere, whoever was known to hold it."""
        if name in self._own:
            self._hidden[name] = pid
            return
        holder = self._pids.get(name)
        if holder != pid:
            if holder is not None:
                self._drop(name, holder)
            self._enter(name, pid)

    def forget(self, name: str, pid: PID) -> None:
        """Take out a name, if `pid` is known to hold it."""
        if self._hidden.get(name) == pid:
            del self._hidden[name]
        elif self._pids.get(name) == pid:
            self.unregister(name)

    def is_own(self, name: str) -> bool:
        """Tell whether a name is of scope `node`."""
        return name in self._own

    def items(self) -> Iterator[tuple[str, PID]]:
        """Return the names that all nodes know, and who holds them."""
        held = [item for item in self._pids.items() if item[0] not in self._own]
        return iter(held + list(self._hidden.items()))

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
        pid = self._pids.get(name)
        if pid is None:
            return False
        self._drop(name, pid)
        return True

    def _enter(self, name: str, pid: PID) -> None:
        self._pids[name] = pid
        self._names.setdefault(pid, set()).add(name)
        self._tell(name, pid, True)

    def _drop(self, name: str, pid: PID) -> None:
        del self._pids[name]
        names = self._names[pid]
        names.discard(name)
        if not names:
            del self._names[pid]
        if name not in self._own:
            self._tell(name, pid, False)
            return
        self._own.discard(name)
        hidden = self._hidden.pop(name, None)
        if hidden is not None:
            self._enter(name, hidden)

    def _tell(self, name: str, pid: PID, is_held: bool) -> None:
        if self._hooks and name not in self._own:
            change = NameChange(name, pid, is_held)
            for hook in self._hooks:
                hook(change)

    def names(self, pid: PID) -> frozenset[str]:
        """Return the names that `pid` holds."""
        return frozenset(self._names.get(pid, ()))

    def remove(self, pid: PID) -> None:
        """Free every name of a process that has ended."""
        for name in tuple(self._names.get(pid, ())):
            self._drop(name, pid)

    def __len__(self) -> int:
        return len(self._pids)


def check_name(name: str) -> None:
    """Raise `ValueError` for what can't be a name: empty, or with the '@' of a PID."""
    if not isinstance(name, str) or not name or "@" in name:
        raise ValueError(f"a name is a string that is not empty and has no '@', got {name!r}")


def check_scope(scope: str) -> None:
    """Raise `ValueError` for what is no scope of names."""
    if scope not in _SCOPES:
        raise ValueError(f"a name's scope is one of {', '.join(_SCOPES)}, got {scope!r}")
