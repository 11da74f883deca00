"""What waits to be sent on one socket, and the watcher that sends it when the peer reads.

    append(data) ─► backlog ─► flush(): one send ─┬─ some is left ─► again when writable
                                                  └─ nothing is   ─► owner.on_sent(0)

It lives as long as something is unsent: from the first write that did not fit, or from the
head of a transport that has not started, to the flush that leaves nothing. A connection that
keeps up has none. No method blocks, switches or raises.
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Protocol

import gevent

from greenrelay.logs import log_soon
from greenrelay.relay.backlog import Backlog
from greenrelay.relay.sockets import StreamSocket

_WRITE = 2  # libev's EV_WRITE
_FLUSH_BYTES = 256 * 1024
"""Joined for one send: more than a socket buffer takes at once is copied for nothing."""

log = logging.getLogger("greenrelay")


class Owner(Protocol):
    """Whose bytes these are."""

    @property
    def receiver(self) -> object:
        """Who is named in the log when a bug of ours ends it."""

    def on_sent(self, left: int) -> None:
        """Some bytes are with the kernel, and so many are left; at 0 this outbox is done with."""

    def on_lost(self) -> None:
        """Nothing can be sent any more; what is still written is swallowed."""


class Outbox(Backlog):
    """The backlog of one socket, which sends itself.

    Args:
        head: what goes out first and is never dropped.
    """

    __slots__ = ("_is_ending", "_owner", "_sock", "_watcher")

    def __init__(self, sock: StreamSocket, owner: Owner, head: bytes = b"") -> None:
        super().__init__(head)
        self._sock = sock
        self._owner = owner
        self._watcher: Any = None
        self._is_ending = False

    def keep(self, data: bytes, sent: int, is_control: bool) -> None:
        """Take a write of which the socket has already taken `sent` bytes; send the rest later."""
        self.append(data, is_control)
        self.take(sent, self._sock.begun)
        self._await_writable()

    def flush(self) -> None:
        """Send once; what is left waits until the peer reads."""
        if self.size:
            try:
                sent = self._sock.send(self.peek(_FLUSH_BYTES))
            except BlockingIOError:
                sent = 0
            except OSError:
                self.lose()
                return
            self.take(sent, self._sock.begun)
        if self.size:
            self._await_writable()
        else:
            self.stop()
        self._owner.on_sent(self.size)

    def end(self) -> None:
        """Tell the peer that nothing more will come, as soon as there is room for it.

        Over TLS that is a record, which may not fit.
        """
        self._is_ending = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._await_writable()
            return
        except OSError:
            pass  # the peer has reset: it knows
        self.stop()

    def lose(self) -> None:
        """Forget everything: the peer is gone."""
        self.stop()
        self.clear()
        self._owner.on_lost()

    def stop(self) -> None:
        """Send nothing more; idempotent."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _await_writable(self) -> None:
        if self._watcher is None:
            self._watcher = gevent.get_hub().loop.io(self._sock.fileno(), _WRITE)
            self._watcher.start(self._on_writable)

    def _on_writable(self) -> None:
        try:
            if self._is_ending:
                self.end()
            else:
                self.flush()
        except Exception:  # a bug of ours ends this connection and nothing else
            receiver = self._owner.receiver
            log_soon(log, logging.ERROR, "%r failed on its output", receiver, exc_info=True)
            self.lose()
