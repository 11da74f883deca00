"""A node: the table of everything that has a PID in one interpreter, and its mail.

    send(pid, …) ─► one dict lookup ─► entity.deliver(message)
    entity ends  ─► out of the table, names and groups freed, watchers and links told

An *entity* is a process, a connection or a pending call. Two rules: nothing here
blocks or switches; what ends leaves nothing behind.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import gevent

from greenrelay.errors import GreenRelayError, ProcessDown
from greenrelay.logs import log_soon
from greenrelay.message import Exit, LinkDown, Message, MonitorRef
from greenrelay.pid import ID_BYTES, PID
from greenrelay.processes.entity import Entity, check_topic, default_name, resolve_target
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.forks import at_fork, end_inherited
from greenrelay.processes.groups import Groups
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.registry import Registry, check_name
from greenrelay.processes.timers import Timer, Timers
from greenrelay.processes.topology import Topology, Watcher
from greenrelay.processes.turn import Turn
from greenrelay.wire import (
    HOST_PROCESS,
    KILLED,
    MAX_MAILBOX_BYTES,
    MAX_MAILBOX_MESSAGES,
    NOPROC,
    NORMAL,
)

log = logging.getLogger("greenrelay.node")


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
        self.lingering: set[Any] = set()
        """Connections that have ended for everybody, and whose last bytes are on their way."""
        self.blamed: Message | None = None
        """The last message that a connection has complained of: once, however many receive it."""
        self._random = random
        self._numbers = itertools.count(1)
        self._clear()
        self.make_pid(HOST_PROCESS)  # a bad name is better refused now than at the first spawn
        at_fork(self._on_fork)

    def _clear(self) -> None:
        self.registry = Registry()
        self.groups = Groups()
        self.topology = Topology()
        self.rotation = Rotation()
        self._entities: dict[str, Entity] = {}
        self._timers = Timers(self.thread)
        self.counts: Counter[str] = Counter()
        """How often something happened that operators want to know of."""

    def _on_fork(self) -> None:
        """Begin anew in a child: what lived here lives in its parent; see `forks`."""
        entities, registry, timers = self._entities, self.registry, self._timers
        self._clear()
        if self.has_default_name:
            self.name = default_name()
        if entities or len(timers):
            callback = gevent.get_hub().loop.run_callback
            callback(timers.clear)
            callback(end_inherited, entities.values(), registry)

    # -- the table --------------------------------------------------------------

    def make_pid(self, host: str) -> PID:
        """Return a PID that nobody has.

        Raises:
            InvalidPID: the host, or the node's name, can't stand in a PID.
        """
        return PID.make(host, self.name, self._random(ID_BYTES))

    def add(self, entity: Entity) -> None:
        """Enter something that has a PID."""
        self._entities[entity.pid] = entity

    def find(self, pid: str) -> Entity | None:
        """Return what lives under `pid`, `None` if nothing does."""
        return self._entities.get(pid)

    def is_alive(self, pid: str) -> bool:
        """Tell whether something lives under `pid`, a PID or a name, and has not been killed."""
        entity = self._entities.get(pid) or self._entities.get(self.registry.lookup(pid) or "")
        return entity is not None and not entity.is_killed

    def settle_here(self) -> None:
        """Belong to the calling thread's event loop, if nothing lives in another one's yet."""
        if not (self.thread.is_own() or self._entities):
            self.thread.move_here()
            self.rotation = Rotation()

    def remove(self, entity: Entity) -> None:
        """Take out what nobody watches."""
        self._entities.pop(entity.pid, None)

    def info(self, pid: PID) -> dict[str, Any] | None:
        """Return what is known about an entity, `None` if it is dead."""
        entity = self._entities.get(pid)
        if entity is None:
            return None
        return {
            "pid": entity.pid,
            "names": sorted(self.registry.names(pid)),
            "groups": sorted(self.groups.groups(pid)),
            "links": sorted(self.topology.linked(pid)),
            "watchers": len(self.topology.watchers(pid)),
            **entity.info(),
        }

    def __len__(self) -> int:
        return len(self._entities)

    def __iter__(self) -> Iterator[Entity]:
        return iter(list(self._entities.values()))

    def release(self, pid: PID) -> None:
        """Free the names and groups of a process that is as good as dead."""
        self.registry.remove(pid)
        self.groups.remove(pid)

    def end(self, entity: Entity, exit: Exit) -> None:
        """Take an entity out and tell everyone who watches it."""
        pid = entity.pid
        if self._entities.pop(pid, None) is None:
            return
        self._timers.remove(pid)
        self.release(pid)
        watchers, linked = self.topology.remove(pid)
        for ref, watcher in watchers.items():
            watcher.on_exit(
                Exit(pid, exit.reason, exit.at, exit.value, exit.error, ref)  # one per monitor
            )
        if exit.reason != NORMAL:
            news = LinkDown(pid, exit.reason, exit.at, exit.error)
            for other in linked:
                peer = self._entities.get(other)
                if peer is not None:
                    peer.on_link_down(news)

    # -- processes --------------------------------------------------------------

    def spawn(
        self,
        target: Callable[..., Any] | str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        host: str = HOST_PROCESS,
        name: str | None = None,
        link: Process | None = None,
        monitor: Process | None = None,
        turn: Turn | None = None,
        on_start: Callable[[PID], None] | None = None,
    ) -> PID:
        """Start a process and return its PID, or the PID that already holds `name`.

        Args:
            target: a callable, or `"package.module:function"`.
            link: linked with the new process before its first step, or with the holder.
            monitor: monitors the new process before its first step, or the holder.
            turn: what surrounds the handling of each message.
            on_start: is told the PID if a process was started, and not when `name` was held.

        Raises:
            TypeError: `target` can't be called.
            ValueError: `target` names nothing, or `name` is no name.
        """
        function = resolve_target(target)
        if name is not None:
            check_name(name)
            holder = self.registry.lookup(name)
            if holder is not None:
                self._watch(holder, link, monitor)
                return holder
        process = Process(
            self.make_pid(host),
            (function, args, kwargs or {}),
            Mailbox(self.max_mailbox, self.max_mailbox_bytes, self.rotation),
            self._on_process_end,
            turn,
        )
        process.node = self
        process.starter = None if link is None else link.pid
        self.add(process)
        if name is not None:
            self.registry.register(name, process.pid)
        self._watch(process.pid, link, monitor)
        if on_start is not None:
            on_start(process.pid)
        process.start()
        return process.pid

    def _watch(self, pid: PID, link: Process | None, monitor: Process | None) -> None:
        if link is not None:
            self.link(link, pid)
        if monitor is not None:
            self.monitor(monitor, pid)

    def _on_process_end(self, process: Process, exit: Exit) -> None:
        for ref in process.monitors or ():
            self.topology.unmonitor(ref)
        self.end(process, exit)

    # -- mail -------------------------------------------------------------------

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
        find = self._entities.get
        lookup = self.registry.lookup
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

    def post(self, dest: str, topic: str, payload: Any = None) -> bool:
        """Send a message from another thread, without waiting for this node's.

        Returns:
            `False`: nobody is there now.

        Raises:
            NameNotRegistered, InvalidPID, ValueError: as `send()`.
        """
        check_topic(topic)
        pid = self.resolve(dest)
        if not self.is_alive(pid):
            return False
        self.thread.post(self.deliver, pid, Message(topic, payload))
        return True

    def reply(self, pid: PID, message: Message) -> bool:
        """Bring a reply to its call, from any thread; `False`: nobody waits for it."""
        if self.thread.is_here():
            return self.deliver(pid, message)
        if pid not in self._entities:
            return False
        self.thread.post(self.deliver, pid, message)
        return True

    def send_after(
        self, seconds: float, dest: str, topic: str, payload: Any = None, sender: PID | None = None
    ) -> Timer:
        """Send a message later, unless `dest` has ended by then.

        Raises:
            ValueError: the topic is empty or reserved, or `seconds` is negative.
            InvalidPID: `dest` is neither a PID nor a name.
        """
        check_topic(topic)
        if not seconds >= 0:
            raise ValueError(f"send_after() takes seconds from now on, got {seconds!r}")
        is_name = isinstance(dest, str) and "@" not in dest
        to = dest if is_name else PID.parse(dest)
        fire = partial(self._send_late, to, topic, payload, sender)
        timer = self._timers.start(seconds, to, fire)
        if isinstance(to, PID) and to.node == self.name and to not in self._entities:
            timer.cancel()  # nobody will ever live there
        return timer

    def _send_late(self, dest: str, topic: str, payload: Any, sender: PID | None) -> None:
        try:
            self.send(dest, topic, payload, sender)
        except GreenRelayError as error:  # nobody is left to raise it to
            log_soon(log, logging.WARNING, "a timed %r was not sent: %s", topic, error)

    def count_timers(self) -> int:
        """Count the messages that wait for their time."""
        return len(self._timers)

    def resolve(self, dest: str) -> PID:
        """Return the PID that `dest`, a PID, its text or a registered name, stands for.

        Raises:
            NameNotRegistered: it is a name that nobody holds.
            InvalidPID: it is neither a PID nor a name.
        """
        if type(dest) is PID:
            return dest
        if isinstance(dest, str) and "@" not in dest:
            return self.registry.resolve(dest)
        return PID.parse(dest)

    # -- names and groups -------------------------------------------------------

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
        if pid not in self._entities:
            raise ProcessDown(pid, self._absence(pid))

    # -- who watches whom -------------------------------------------------------

    def monitor(self, watcher: Watcher, pid: PID) -> MonitorRef:
        """Have `watcher.on_exit` called when `pid` ends: at once if it is dead or unknown."""
        ref = MonitorRef(pid, next(self._numbers))
        if pid in self._entities:
            self.topology.monitor(ref, watcher)
            if isinstance(watcher, Process):
                if watcher.monitors is None:
                    watcher.monitors = set()
                watcher.monitors.add(ref)
        else:
            watcher.on_exit(Exit(pid, self._absence(pid), time.time(), ref=ref))
        return ref

    def link(self, entity: Entity, pid: PID) -> None:
        """Link an entity with `pid`; a dead one acts like its death."""
        if pid in self._entities:
            if pid != entity.pid:
                self.topology.link(entity.pid, pid)
        else:
            entity.on_link_down(LinkDown(pid, self._absence(pid), time.time()))

    def cancel(self, pid: PID, sender: PID | None = None, reason: str | None = None) -> bool:
        """Ask `pid` to end; `False`: nobody is there."""
        entity = self._entities.get(pid)
        if entity is None:
            return False
        entity.cancel(sender, reason)
        return True

    def terminate(self, pid: PID, reason: str = KILLED) -> bool:
        """Force `pid` to end; `False`: nobody is there."""
        entity = self._entities.get(pid)
        if entity is None:
            return False
        entity.kill(reason)
        return True

    def _absence(self, pid: PID) -> str:
        # Without a cluster no other node has ever been there to be lost.
        return NOPROC
