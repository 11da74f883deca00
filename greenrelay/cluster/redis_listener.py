"""A subscription that comes back: some channels, one connection, one greenlet.

server ─ pushed messages ─► [its greenlet] the channel's handler, in the order of the publishes
broken, moved, silent ────► connect again, with back-off; then on_gap(): some may have been missed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from gevent.event import Event

from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_link import Link, LinkDown, Refusal
from greenrelay.cluster.redis_places import ANSWER_SECONDS, Places
from greenrelay.cluster.redis_urls import RedisUrl
from greenrelay.errors import ClusterError

MAX_SILENT_PINGS: Final = 2
"""A connection on which so many pings in a row are not answered is dead."""

YIELD_BYTES: Final = 65_536
"""After so many bytes the others have their turn, however fast more come."""

A_TURN: Final = 1e-6
"""Seconds: a timer, and not `sleep(0)`, of which many come before the loop looks at sockets."""


Handler = Callable[[bytes], None]


class Listener:
    """Hears channels of one server for as long as it is kept.

    Args:
        url: where, and who we are.
        places: which server has the channels.
        handlers: what takes the bytes of a channel's messages; it does not raise.
        on_gap: is told that the channels are heard again after they were not.
    """

    def __init__(
        self,
        url: RedisUrl,
        places: Places,
        handlers: Mapping[str, Handler],
        on_gap: Callable[[], None],
    ) -> None:
        self._url = url
        self._places = places
        self._channels = tuple(handlers)
        self._handlers = {channel.encode(): handler for channel, handler in handlers.items()}
        self._on_gap = on_gap
        self._link: Link | None = None
        self._is_up = Event()
        self._silent = 0
        self._problem: ClusterError | None = None
        self._greenlet = gevent.spawn(self._run)

    def wait(self, timeout: float) -> None:
        """Return when the channels are heard. Switches: yes.

        Raises:
            ClusterError: it is not, in time; the last reason why, in one line.
        """
        if not self._is_up.wait(timeout):
            raise ClusterError(
                f"{self._url.shown}: {self._problem or 'no answer to a subscription'}"
            )

    def ping(self) -> None:
        """Have the connection show that it lives; one that does not is given up. Never blocks."""
        if self._link is not None and self._is_up.is_set():
            if self._silent >= MAX_SILENT_PINGS:
                self._link.break_off()
            else:
                self._silent += 1
                gevent.spawn_raw(_ping, self._link)

    def reconnect(self) -> None:
        """Find the server anew. Never blocks."""
        if self._link is not None:
            self._link.break_off()

    def stop(self, block: bool = True) -> None:
        """Hear nothing more; with `block` it has happened when this returns, and switches."""
        self._greenlet.kill(block=block)

    def _run(self) -> None:
        backoff = Backoff(self._url.lease / 3)
        was_up = False
        while True:
            try:
                self._subscribe()
                backoff.reset()
                if was_up:
                    self._on_gap()
                was_up = True
                self._listen()
            except ClusterError as error:
                self._problem = error
                self._places.forget(str(error))
            finally:
                self._hang_up()
            gevent.sleep(backoff.next())

    def _subscribe(self) -> None:
        self._places.look()
        address = self._places.known(self._channels[0])
        if address is None:
            raise ClusterError(f"no server has the slot of {self._channels[0]}")
        self._link = Link(self._url, address, None)
        self._link.open()
        self._link.send([(self._places.subscribe, channel) for channel in self._channels])
        waiting = len(self._channels)
        with gevent.Timeout(ANSWER_SECONDS, LinkDown("no answer to a subscription")):
            while waiting:
                waiting -= self._take(self._link.receive())
        self._is_up.set()

    def _listen(self) -> None:
        assert self._link is not None
        taken = 0
        while True:
            answer = self._link.receive()
            self._take(answer)
            taken += len(answer[-1] or b"") + 100
            if taken > YIELD_BYTES:
                taken = 0
                gevent.sleep(A_TURN)

    def _take(self, answer: Any) -> bool:
        """Take what the server says; true if it is that a channel is heard."""
        self._silent = 0
        if isinstance(answer, Refusal):
            raise ClusterError(str(answer))
        kind = answer[0]
        if kind in (b"message", b"smessage"):
            self._handlers[answer[1]](answer[2])
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            raise LinkDown("a channel has moved to another server")
        return kind in (b"subscribe", b"ssubscribe")

    def _hang_up(self) -> None:
        self._is_up.clear()
        if self._link is not None:
            self._link.close()
            self._link = None


def _ping(link: Link) -> None:
    try:
        link.send([("PING",)])
    except LinkDown:
        link.break_off()  # the greenlet that reads finds out, and connects again
