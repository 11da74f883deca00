"""A node: everything that has a PID in one interpreter, and what can be done to a PID.

    send(pid, …) ─► one dict lookup ─► entity.deliver(message)

An *entity* is a process, a connection or a pending call; what is there stands in the `Table`.
Two rules: nothing here blocks or switches; whoever has a PID comes here with it, and is told
here if nobody lives under it (`_absence`).
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import gevent

from greenrelay.errors import ProcessDown
from greenrelay.message import Exit, LinkDown, Message, MonitorRef
from greenrelay.pid import ID_BYTES, PID
from greenrelay.processes.channel import Owner
from greenrelay.processes.entity import Entity, check_topic, default_name
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.forks import at_fork, end_inherited
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.starting import Start, start_on
from greenrelay.processes.table import Table
from greenrelay.processes.timers import Timers
from greenrelay.processes.topology import Watcher
from greenrelay.processes.turn import Turn
from greenrelay.wire import (
    HOST_PROCESS,
    KILLED,
    MAX_MAILBOX_BYTES,
    MAX_MAILBOX_MESSAGES,
    NOPROC,
)

Shared = TypeVar("Shared")


class Node:
    """The processes and connections of one interpreter.

    Args:
        name: its name in PIDs, without '@', '/' and spaces; by default made of the
            host's name and the interpreter's process id.
        max_mailbox: messages in a process's mailbox from which on connections pause; 0 is off.
        max_mailbox_bytes: the same in bytes of clients' text and binary messages; 0 is off.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        max_mailbox: int = MAX_MAILBOX_MESSAGES,
        max_mailbox_bytes: int = MAX_MAILBOX_BYTES,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.has_default_name = name is None
        self.name = default_name() if name is None else name
        self.max_mailbox = max_mailbox
        self.max_mailbox_bytes = max_mailbox_bytes
        self.thread = HubThread()
        """Where all of it happens; other threads hand over what they want done."""
        self.is_draining = False
        """Whether the server is stopping: new relays are refused."""
        self._random = random
        self._numbers = itertools.count(1)
        self._clear()
        self.make_pid(HOST_PROCESS)  # a bad name is better refused now than at the first spawn
        at_fork(self._on_fork)

    def _clear(self) -> None:
        self.rotation = Rotation()
        self.counts: Counter[str] = Counter()
        """How often something happened that operators want to know of."""
        self._shared: dict[type[Any], Any] = {}
        table = self.table = Table(Timers(self.thread))
        self._entities = table.entities  # its dict: `find` would cost each message a tenth
        self.find, self.resolve = table.find, table.registry.resolve
        self.registry, self.groups, self.topology = table.registry, table.groups, table.topology

    # -- what it is -------------------------------------------------------------

    def _on_fork(self) -> None:
        """Begin anew in a child: what lived here lives in its parent; see `forks`."""
        inherited = self.table
        self._clear()
        self.renew_name()
        if len(inherited) or len(inherited.timers):
            gevent.get_hub().loop.run_callback(end_inherited, inherited)

    def renew_name(self) -> None:
        """Be called after the calling interpreter, unless somebody has chosen the name."""
        if self.has_default_name:
            self.name = default_name()

    def settle_here(self) -> None:
        """Belong to the calling thread's event loop, if nothing lives in another one's yet."""
        if not (self.thread.is_own() or len(self.table)):
            self.thread.move_here()
            self.rotation = Rotation()

    def note_draining(self, is_draining: bool) -> None:
        """Refuse new relays from now on, as the server stops, or take them again."""
        self.is_draining = is_draining

    def count(self, event: str, times: int = 1) -> None:
        """Add to `counts`."""
        self.counts[event] += times

    def shared(self, kind: type[Shared]) -> Shared:
        """Return the one object of a kind that all on this node share, made at first."""
        found: Shared | None = self._shared.get(kind)
        if found is None:
            found = self._shared[kind] = kind()
        return found

    # -- what lives here --------------------------------------------------------

    def make_pid(self, host: str) -> PID:
        """Return a PID that nobody has.

        Raises:
            InvalidPID: the host, or the node's name, can't stand in a PID.
        """
        return PID.make(host, self.name, self._random(ID_BYTES))

    def make_mailbox(self, owner: Owner, turn: Turn | None) -> Mailbox:
        """Return a mailbox for a greenlet, with this node's marks."""
        return Mailbox(self.max_mailbox, self.max_mailbox_bytes, self.rotation, owner, turn)

    def add(self, entity: Entity) -> None:
        """Enter something that has a PID."""
        self.table.add(entity)

    def release(self, pid: PID) -> None:
        """Free the names and groups of a process that is as good as dead."""
        self.table.release(pid)

    def end(
        self, entity: Entity, reason: str, value: Any = None, error: BaseException | None = None
    ) -> None:
        """Take an entity out and tell everyone who watches it; see `Table.end()`."""
        self.table.end(entity, reason, value, error)

    def is_alive(self, pid: str) -> bool:
        """Tell whether something lives under `pid`, a PID or a name, and has not been killed."""
        entity = self.find(pid) or self.find(self.registry.lookup(pid) or "")
        return entity is not None and not entity.is_killed

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Entity]:
        return iter(self.table)

    def spawn(
        self,
        target: Callable[..., Any] | str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> PID:
        """Start a process and return its PID, or the PID that already holds its name.

        `options` are further fields of `Start`; it raises what `start_on()` does.
        """
        return start_on(self, Start(target, args, kwargs or {}, **options))[0]

    # -- what can be done to a PID ----------------------------------------------

    def send(self, dest: str, topic: str, payload: Any = None, sender: PID | None = None) -> bool:
        """Deliver a message to a PID or a registered name; `False`: nobody is there.

        Raises:
            NameNotRegistered: `dest` is a name that nobody holds.
            InvalidPID: `dest` is neither a PID nor a name.
            ValueError: the topic is empty or reserved.
        """
        if topic.__class__ is not str or not topic or topic[0] == "@":
            check_topic(topic)
        entity = self._entities.get(dest)
        if entity is None:
            entity = self._entities.get(self.resolve(dest))
            if entity is None:
                return False
        return entity.deliver(Message(topic, payload, sender))

    def broadcast(
        self, pids: Iterable[str], topic: str, payload: Any = None, sender: PID | None = None
    ) -> int:
        """Deliver one message to many, encoded once for all connections; return how many took it.

        A PID that is dead, or a name that nobody holds, is passed over.

        Raises:
            ValueError: the topic is empty or reserved.
            TypeError: `pids` is one PID instead of several.
        """
        check_topic(topic)
        if isinstance(pids, str):
            raise TypeError(f"broadcast() takes several PIDs, got {pids!r}; for one, send() is it")
        message = Message(topic, payload, sender)
        find, lookup = self.find, self.registry.lookup
        taken = 0
        for pid in pids:
            entity = find(pid)
            if entity is None:
                entity = find(lookup(pid) or "")
            if entity is not None and entity.deliver(message):
                taken += 1
        return taken

    def deliver(self, pid: PID, message: Message) -> bool:
        """Hand a message that has been checked to an entity; `False`: nobody is there."""
        entity = self._entities.get(pid)
        return entity is not None and entity.deliver(message)

    def register(self, name: str, pid: PID) -> None:
        """Give `name` to a living process or connection.

        Raises:
            NameTaken: somebody else holds it.
            ProcessDown: `pid` is dead.
        """
        self._require_alive(pid)
        self.registry.register(name, pid)

    def join(self, group: str, pid: PID) -> None:
        """Make a living process or connection a member of a group.

        Raises:
            ProcessDown: `pid` is dead.
        """
        self._require_alive(pid)
        self.groups.join(group, pid)

    def _require_alive(self, pid: PID) -> None:
        if pid not in self.table:
            raise ProcessDown(pid, self._absence(pid))

    def make_ref(self, pid: PID) -> MonitorRef:
        """Return a ref for a further monitor of `pid`."""
        return MonitorRef(pid, next(self._numbers))

    def monitor(self, watcher: Watcher, pid: PID, ref: MonitorRef | None = None) -> MonitorRef:
        """Have `watcher.on_exit` called when `pid` ends: at once if it is dead or unknown.

        Args:
            ref: of `make_ref()`, for a watcher that must know it first.
        """
        ref = self.make_ref(pid) if ref is None else ref
        if pid in self.table:
            self.topology.monitor(ref, watcher)
        else:
            watcher.on_exit(Exit(pid, self._absence(pid), time.time(), ref=ref))
        return ref

    def unmonitor(self, refs: Iterable[MonitorRef]) -> None:
        """Forget monitors."""
        for ref in refs:
            self.topology.unmonitor(ref)

    def link(self, entity: Entity, pid: PID) -> None:
        """Link an entity with `pid`; a dead one acts like its death."""
        if pid in self.table:
            if pid != entity.pid:
                self.topology.link(entity.pid, pid)
        else:
            entity.on_link_down(LinkDown(pid, self._absence(pid), time.time()))

    def cancel(self, pid: PID, sender: PID | None = None, reason: str | None = None) -> bool:
        """Ask `pid` to end; `False`: nobody is there."""
        entity = self.find(pid)
        if entity is not None:
            entity.cancel(sender, reason)
        return entity is not None

    def terminate(self, pid: PID, reason: str = KILLED) -> bool:
        """Force `pid` to end; `False`: nobody is there."""
        entity = self.find(pid)
        if entity is not None:
            entity.kill(reason)
        return entity is not None

    def _absence(self, pid: PID) -> str:
        """Return why nobody lives under `pid` here."""
        # Without a cluster no other node has ever been there to be lost.
        return NOPROC
