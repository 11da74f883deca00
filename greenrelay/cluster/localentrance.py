"""How two members meet: one listens, one connects, and each says who it is in its first frame.

    connection ─► is it our user's? ─► first frame ─► owner.on_hello(link, data)

Until then it is a stranger: little of what it sends is kept, and not for long. Strangers are told
in the log at a bounded rate.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import gevent

from greenrelay.cluster import localsockets
from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.locallink import Link
from greenrelay.cluster.locallink import Owner as LinkOwner
from greenrelay.errors import ClusterError
from greenrelay.logs import log_soon

log = logging.getLogger("greenrelay.cluster")

HELLO_BYTES: Final = 1024
"""The first frame says who is there; of a stranger no more is kept."""
_QUIET_SECONDS: Final = 1.0


class Complaints:
    """Log lines that others can bring about: one in a while."""

    def __init__(self) -> None:
        self._told_at = -math.inf

    def tell(self, level: int, text: str, *args: object) -> None:
        """Log, unless something was told just now."""
        now = time.monotonic()
        if now - self._told_at >= _QUIET_SECONDS:
            self._told_at = now
            log_soon(log, level, text, *args)


class Owner(LinkOwner, Protocol):
    """Whose entrance it is: who has the links that are made in it."""

    def is_friend(self, user: int | None) -> bool:
        """Tell whether a user may be at the other end."""

    def on_dead(self, incarnation: str) -> None:
        """Take note: nobody listens where this member did."""


class Entrance:
    """A listening socket, and the connections of which one side has not said who it is.

    Args:
        me: our incarnation, under which others find the socket.
        owner: who gets what comes.

    Raises:
        ClusterError: it can't listen.
    """

    def __init__(self, directory: Directory, me: str, owner: Owner, complaints: Complaints) -> None:
        self._directory = directory
        self._me = me
        self._owner = owner
        self._complaints = complaints
        self._strangers: set[Link] = set()
        try:
            self._listener = localsockets.listen(directory, me)
        except OSError as error:
            raise ClusterError(f"can't listen in {directory.path}: {error.strerror}") from None
        self._watcher: Any = gevent.get_hub().loop.io(self._listener.fileno(), 1)

    def open(self) -> None:
        """Take connections; idempotent."""
        if not self._watcher.active:
            self._watcher.start(self._on_connection)

    def close(self) -> None:
        """Take none any more, and close those that came to nothing."""
        self._watcher.stop()
        self._watcher.close()
        self._listener.close()
        for link in self._strangers:
            link.close()
        self._strangers.clear()

    def dial(self, incarnations: Iterable[str]) -> None:
        """Connect to members, unless that is under way."""
        under_way = {link.incarnation for link in self._strangers}
        for key in incarnations:
            if key in under_way:
                continue
            try:
                sock = localsockets.dial(self._directory, key)
            except BlockingIOError:
                continue  # it has no room at the moment
            except OSError:
                self._owner.on_dead(key)
                continue
            link = self._meet(sock)
            if link is not None:
                link.incarnation = key
                link.write(localsockets.hello(self._me))

    def _on_connection(self) -> None:
        try:
            sock = localsockets.accept(self._listener)
        except BlockingIOError:
            return
        except OSError as error:
            self._watcher.stop()  # it stays readable; until the owner opens it again
            self._complaints.tell(logging.ERROR, "can't accept a node's connection: %s", error)
            return
        self._meet(sock)

    def _meet(self, sock: Any) -> Link | None:
        user = localsockets.peer_user(sock)
        if not self._owner.is_friend(user):
            sock.close()
            self._complaints.tell(logging.WARNING, "refused a connection of user %s", user)
            return None
        link = Link(sock, self._owner, HELLO_BYTES)
        self._strangers.add(link)
        return link

    def admit(self, link: Link, incarnation: str) -> None:
        """Take one for a member; it is told who we are, unless it has been."""
        self._strangers.discard(link)
        if link.incarnation is None:
            link.write(localsockets.hello(self._me))
            link.incarnation = incarnation

    def forget(self, link: Link) -> None:
        """Take note that a stranger's connection has ended."""
        self._strangers.discard(link)

    def drop(self, is_over: Callable[[Link], bool]) -> None:
        """Close those for which `is_over(link)` holds."""
        for link in [link for link in self._strangers if is_over(link)]:
            self._strangers.discard(link)
            link.close()
