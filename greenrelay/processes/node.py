"""A node: everything that has a PID in one interpreter, and what can be done to a PID.

    send(pid, …) ─► one dict lookup ─► entity.deliver(message)

An *entity* is a process, a connection or a pending call; what is there, and what hangs on it,
stands in the `Table`, whose verbs are the node's. Two rules: nothing here blocks or switches;
whoever has a PID comes here with it.
"""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import gevent

from greenrelay.message import Message, MonitorRef, check_topic
from greenrelay.pid import ID_BYTES, PID
from greenrelay.processes.channel import Owner
from greenrelay.processes.entity import Entity
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.forks import at_fork, end_inherited
from greenrelay.processes.groups import Meta
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.registry import Scope
from greenrelay.processes.starting import Start, start_on
from greenrelay.processes.table import Table
from greenrelay.processes.timers import Timer, Timers
from greenrelay.processes.topology import Ref, Watcher
from greenrelay.processes.turn import Turn
from greenrelay.wire import (
    HOST_PROCESS,
    KILLED,
    MAX_MAILBOX_BYTES,
    MAX_MAILBOX_MESSAGES,
)

Shared = TypeVar("Shared")

SPARE_IDS: Final = 64
"""Of PIDs, that are made at once: to ask the system for each takes a third of its time."""


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
        self._clear()
        self.make_pid(HOST_PROCESS)  # a bad name is better refused now than at the first spawn
        at_fork(self._on_fork)

    def _clear(self) -> None:
        self.rotation = Rotation()
        self._spare_ids: list[bytes] = []
        """For PIDs to come, so that the system is asked once for many; a fork has its own."""
        self.counts: Counter[str] = Counter()
        """How often something happened that operators want to know of."""
        self._shared: dict[type[Any], Any] = {}
        table = self.table = Table(Timers(self.thread))
        self._entities = table.entities  # its dict: `find` would cost each message a tenth
        self.registry, self.groups, self.topology = table.registry, table.groups, table.topology
        # The table's own verbs, where a call more would be felt; what they promise stands there.
        # Not all: Python finds attributes more slowly in an object that has more than 30.
        self.find, self.resolve = table.find, table.registry.resolve
        self.add, self.release, self.end = table.add, table.release, table.end
        self.make_ref, self.monitor, self.unmonitor = table.make_ref, table.monitor, table.unmonitor
        self.link = table.link

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
        is_used = len(self.table) or self.table.elsewhere is not None
        if not (self.thread.is_own() or is_used):
            self.thread.move_here()
            self.rotation = Rotation()

    def note_draining(self, is_draining: bool) -> None:
        """Refuse new relays from now on, as the server stops, or take them again."""
        self.is_draining = is_draining
        if self.table.elsewhere is not None:
            self.table.elsewhere.tell_draining(is_draining)

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
        try:
            identity = self._spare_ids.pop()
        except IndexError:
            identity = self._make_id()
        return PID.make(host, self.name, identity)

    def _make_id(self) -> bytes:
        """Return an id for a PID, and put aside some more where they are asked of the system."""
        if self._random is not os.urandom:
            return self._random(ID_BYTES)  # a device may give less than is asked for
        many = self._random(SPARE_IDS * ID_BYTES)
        spare = self._spare_ids = [many[at : at + ID_BYTES] for at in range(0, len(many), ID_BYTES)]
        return spare.pop()

    def make_mailbox(self, owner: Owner, turn: Turn | None) -> Mailbox:
        """Return a mailbox for a greenlet, with this node's marks."""
        return Mailbox(self.max_mailbox, self.max_mailbox_bytes, self.rotation, owner, turn)

    def remove(self, entity: Entity) -> None:
        """Take out what nobody watches."""
        self.table.remove(entity)

    def info(self, pid: PID) -> dict[str, Any] | None:
        """Return what is known about an entity, `None` if it is dead."""
        return self.table.info(pid)

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
            NotPortable: the payload can't go to another node, or is too large for it.
        """
        if topic.__class__ is not str or not topic or topic[0] == "@":
            check_topic(topic)
        entity = self._entities.get(dest)
        if entity is None:
            pid = self.resolve(dest)
            entity = self._entities.get(pid)
            if entity is None:
                return self._send_elsewhere(pid, Message(topic, payload, sender))
        return entity.deliver(Message(topic, payload, sender))

    def _send_elsewhere(self, pid: PID, message: Message) -> bool:
        elsewhere = self.table.elsewhere
        if elsewhere is None:
            return False
        send = elsewhere.prepare(pid, message)
        return send is not None and send()

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
        if self.table.elsewhere is not None:
            return self.table.elsewhere.broadcast(pids, message)
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
        """Hand a message that has been checked to an entity; `False`: nobody is there.

        Raises:
            NotPortable: as `send()`.
        """
        entity = self._entities.get(pid)
        return self._send_elsewhere(pid, message) if entity is None else entity.deliver(message)

    def broadcast_group(self, group: str, message: Message) -> int:
        """Deliver a message that has been checked to a group; return how many took it."""
        if self.table.elsewhere is not None:
            return self.table.elsewhere.broadcast_group(group, message)
        return sum([self.deliver(pid, message) for pid in self.groups.members(group)])

    def reach(self, pid: str) -> Entity | None:
        """Return what lives under a PID, or stands for what does on another node."""
        entity = self._entities.get(pid)
        if entity is None and self.table.elsewhere is not None:
            entity = self.table.elsewhere.reach(pid)
        return entity

    def take_name(self, name: str, pid: PID, scope: Scope = "cluster") -> PID:
        """Give a name to what lives under `pid`, unless it is held; see `Table.take_name()`."""
        return self.table.take_name(name, pid, scope)

    def register(self, name: str, pid: PID, scope: Scope = "cluster") -> None:
        """Give `name` to a living process or connection; see `Table.register()`."""
        self.table.register(name, pid, scope)

    def join(self, group: str, pid: PID, meta: Meta | None = None) -> None:
        """Make a living process or connection a member of a group; see `Table.join()`."""
        self.table.join(group, pid, meta)

    def monitor_ahead(self, watcher: Watcher, pid: PID) -> MonitorRef:
        """Have `watcher.on_exit` called when what is about to be entered under `pid` ends."""
        return self.table.monitor_ahead(watcher, pid)

    def monitor_as(self, ref: Ref, watcher: Watcher) -> None:
        """Do what `monitor()` does for `ref.pid`, under a name that the watcher gives."""
        self.table.monitor_as(ref, watcher)

    def watchers(self, pid: PID) -> list[Watcher]:
        """Return who monitors `pid`, once for each monitor."""
        return self.topology.watchers(pid)

    def unlink(self, one: PID, other: PID) -> None:
        """Forget the link, if there is one."""
        self.table.unlink(one, other)

    def start_timer(
        self, seconds: float, dest: str, fire: Callable[[], None], kind: type[Timer] = Timer
    ) -> Timer:
        """Call `fire` in so many seconds, unless `dest` has ended by then; see `Timers.start()`."""
        return self.table.timers.start(seconds, dest, fire, kind)

    def cancel(self, pid: PID, sender: PID | None = None, reason: str | None = None) -> bool:
        """Ask `pid` to end; `False`: nobody is there."""
        entity = self.reach(pid)
        if entity is not None:
            entity.cancel(sender, reason)
        return entity is not None

    def terminate(self, pid: PID, reason: str = KILLED) -> bool:
        """Force `pid` to end; `False`: nobody is there."""
        entity = self.reach(pid)
        if entity is not None:
            entity.kill(reason)
        return entity is not None


def default_name() -> str:
    """Return a name that no other interpreter of this host has at the same time."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname().partition(".")[0]) or "node"
    return f"{host}-{os.getpid()}"
