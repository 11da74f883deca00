"""A connection's socket on the hub: what reads from it, and what writes to it.

    write(data) ─► send, once; what does not fit waits in an outbox ─► receiver.on_flushed()
    sink        ─► the socket itself, for who would rather send than call `write()`

Two rules: nothing here blocks or switches; after `close()` the receiver hears
nothing more. Until `start()` nothing is read, and what is written waits.

By hand, because gevent's own sockets wait in a greenlet, and a connection has none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent

from greenrelay.relay.bytestream import Receiver
from greenrelay.relay.outbox import Outbox
from greenrelay.relay.reader import Reader
from greenrelay.relay.sockets import StreamSocket, held_by_kernel, remote_address, stream_socket


class Transport(Reader):
    """A non-blocking, connected stream socket, watched by the hub.

    Args:
        sock: a socket that raises `BlockingIOError`, or an SSL socket that raises
            `SSLWantReadError`, instead of waiting. Closed by this object.
        head: what is sent first, when it is started.
    """

    __slots__ = ("_on_closed", "_outbox", "sink")

    def __init__(self, sock: Any, receiver: Receiver, head: bytes) -> None:
        super().__init__(stream_socket(sock), receiver)
        self._outbox: Outbox | None = Outbox(self._sock, self, head)
        """What is unsent; `None` while nothing is."""
        self.sink: StreamSocket | None = None
        """The socket while nothing is unsent, so that a broadcast saves the call of `write()`; what
        its `send()` does not take is handed to `keep()`. `None` while something is."""
        self._on_closed: Callable[[], object] | None = None

    def start(self, early: bytes = b"") -> None:
        """Send what waits, and begin to read.

        Args:
            early: what the server has already read of the client's bytes.
        """
        if self.receiver is None:
            return
        self._may_read = True
        if self._outbox is not None:
            self._outbox.flush()
        self.resume()  # before the early bytes: they may be enough for now
        if early and self.receiver is not None:
            self._tell(self.receiver.on_bytes, early)

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""
        return 0 if self._outbox is None else self._outbox.size

    @property
    def remote_address(self) -> str:
        """The peer's address, `""` when it is unknown: a proxy's, if there is one."""
        return remote_address(self._sock)

    # -- writing ----------------------------------------------------------------

    def write(self, data: bytes, is_control: bool = False) -> None:
        """Send `data`, now or when the peer reads; never blocks.

        Args:
            is_control: `drop_oldest()` leaves it alone.
        """
        if self.receiver is None:
            return
        outbox = self._outbox
        if outbox is None:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._open_outbox().lose()
                return
            if sent != len(data):
                self.keep(data, sent, is_control)
        else:
            outbox.append(data, is_control)

    def keep(self, data: bytes, sent: int, is_control: bool = False) -> None:
        """Keep what the first write that did not fit has left, until the peer reads.

        Args:
            sent: bytes of `data` that have been taken.
        """
        self._open_outbox().keep(data, sent, is_control)

    def _open_outbox(self) -> Outbox:
        self.sink = None
        self._outbox = Outbox(self._sock, self)
        return self._outbox

    def discard_unsent(self) -> None:
        """Drop what waits, except the rest of a write that has partly gone out."""
        if self._outbox is not None:
            self._outbox.discard()

    def drop_oldest(self, size: int) -> int:
        """Drop the oldest writes until `size` bytes are free; return how many writes went.

        A write that has partly gone out stays, and control frames do.
        """
        return 0 if self._outbox is None else self._outbox.drop_oldest(size)

    @property
    def undelivered(self) -> int:
        """Bytes that the peer's system has not got yet: unsent, or held by our kernel."""
        return self.unsent + held_by_kernel(self._sock)

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more will come, when nothing is unsent."""
        if self.receiver is None:
            return
        if self._outbox is not None:
            self._outbox.end()
        elif self._sock.pending is not None:
            self._open_outbox().end()  # TLS says it in a record, for which there may be no room
        else:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the peer has reset: it knows

    def on_sent(self, left: int) -> None:
        """Take the outbox's news: so many bytes are left, and at 0 it is done with."""
        if not left and self.receiver is not None:
            self._outbox = None
            self.sink = self._sock
            self._tell(self.receiver.on_flushed)

    def on_lost(self) -> None:
        """Take the outbox's news: the peer is gone."""
        self.pause()
        self._may_read = False
        self.sink = None
        # Told from the loop: the receiver may be in the middle of a write.
        gevent.get_hub().loop.run_callback(self._report_lost)

    def _report_lost(self) -> None:
        if self.receiver is not None:
            if self._outbox is not None:
                self._outbox.clear()  # of what was still written meanwhile
            self._end(self.receiver)

    # -- end --------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket at once; idempotent."""
        if self.receiver is None:
            return
        if self._outbox is not None:
            self._outbox.stop()
        self._outbox = self.sink = None
        super().close()
        if self._on_closed is not None:
            self._on_closed()

    def when_closed(self, call: Callable[[], object]) -> None:
        """Have `call` called when the socket is closed; at once if it is. One caller only."""
        if self.receiver is None:
            call()
        else:
            self._on_closed = call
