"""A connection's socket on the hub: a read watcher, and a bounded write buffer.

    readable ─► recv, once, at most 65 KiB ─► receiver.on_bytes(data)
    defer()  ─► the others have their turn  ─► receiver.on_turn()
    write(data) ─► send, once; what does not fit waits ─► flushed when writable

Two rules: nothing here blocks or switches; after `close()` the receiver hears
nothing more. A transport starts corked: what is written waits until `start()`.

By hand, because gevent's own sockets wait in a greenlet, and a connection has none.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

from greenrelay.logs import log_soon
from greenrelay.relay.backlog import Backlog
from greenrelay.relay.tls import TlsSocket
from greenrelay.wire import READ_BYTES, SHORT_READ_BYTES, TURN_SECONDS

_READ = 1  # libev's EV_READ and EV_WRITE
_WRITE = 2
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_FLUSH_BYTES = 256 * 1024
"""Joined for one send: more than a socket buffer takes at once is copied for nothing."""
_INT = struct.Struct("i")

log = logging.getLogger("greenrelay")


class Receiver(Protocol):
    """Who gets the bytes."""

    def on_bytes(self, data: bytes) -> None:
        """Take what has arrived; never empty."""

    def on_turn(self) -> None:
        """Go on with what `defer()` has put off; nothing is read until it calls `resume()`."""

    def on_eof(self) -> None:
        """The peer will send nothing more, or the connection is broken."""

    def on_flushed(self) -> None:
        """Everything that was written is with the kernel."""


class Transport:
    """A non-blocking, connected stream socket, watched by the hub.

    Args:
        sock: a socket that raises `BlockingIOError`, or an SSL socket that raises
            `SSLWantReadError`, instead of waiting. Closed by this object.
        head: what is sent first, when it is started.
    """

    __slots__ = (
        "_buffer",
        "_is_corked",
        "_is_reading",
        "_pending",
        "_read_size",
        "_reader",
        "_receiver",
        "_sock",
        "_turn",
        "_writer",
        "on_closed",
        "send",
        "unsent",
    )

    def __init__(self, sock: Any, receiver: Receiver, head: bytes) -> None:
        if hasattr(sock, "unwrap"):
            sock = TlsSocket(sock)
        self._sock = sock
        self._pending: Callable[[], int] | None = getattr(sock, "pending", None)
        self._receiver: Receiver | None = receiver
        self._reader: Any = None
        self._turn: Any = None
        self._writer: Any = None
        self._is_reading = False
        self._read_size = SHORT_READ_BYTES
        self._is_corked = True
        self._buffer: Backlog | None = Backlog(head)
        self.unsent = len(head)
        """Bytes that were written and that the kernel has not taken yet."""
        self.send: Callable[[bytes], int] | None = None
        """The socket's own `send` while nothing is unsent, for the one caller in a hurry;
        what it does not take is handed to `keep()`."""
        self.on_closed: Callable[[], object] | None = None
        """Called when the socket is closed."""

    def start(self, early: bytes = b"") -> None:
        """Send what waits, and begin to read.

        Args:
            early: what the server has already read of the client's bytes.
        """
        if self._receiver is None:
            return
        self._is_corked = False
        self._flush()
        self.resume()  # before the early bytes: they may be enough for now
        if early and self._receiver is not None:
            self._tell(self._receiver.on_bytes, early)

    @property
    def is_closed(self) -> bool:
        return self._receiver is None

    @property
    def remote_address(self) -> str:
        """The peer's address, `""` when it is unknown: a proxy's, if there is one."""
        try:
            address = self._sock.getpeername()
        except OSError:
            return ""
        return (
            f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "unix")
        )

    @property
    def is_reading(self) -> bool:
        """Whether the peer is listened to."""
        return self._is_reading

    # -- reading ----------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading, so that the peer's window fills, and put nothing off; idempotent."""
        if self._is_reading:
            self._is_reading = False
            self._reader.stop()
        if self._turn is not None:
            self._turn.stop()

    def defer(self) -> None:
        """Stop reading, and have `receiver.on_turn()` called after the others' turn; idempotent.

        That is: when the loop has looked at all sockets again. Its callbacks would not do,
        of which it runs fifty and more before it does.
        """
        if self._receiver is None:
            return
        self.pause()
        if self._turn is None:
            self._turn = gevent.get_hub().loop.timer(0)
        self._turn.start(self._on_turn)

    def has_time(self) -> bool:
        """Tell whether the others have hardly waited yet since the loop looked at its sockets."""
        return time.time() - gevent.get_hub().loop.now() < TURN_SECONDS

    def _on_turn(self) -> None:
        if self._receiver is not None:
            self._tell(self._receiver.on_turn)

    def resume(self) -> None:
        """Read again; idempotent."""
        if self._receiver is None or self._is_reading or self._is_corked:
            return
        if self._turn is not None:
            self._turn.close()
            self._turn = None
        if self._reader is None:
            self._reader = gevent.get_hub().loop.io(self._sock.fileno(), _READ)
        self._is_reading = True
        self._reader.start(self._on_readable)
        self._read_pending()

    def _on_readable(self) -> None:
        receiver = self._receiver
        if receiver is None or not self._is_reading:
            return  # closed or paused by another callback of the same turn
        try:
            data = self._sock.recv(self._read_size)
        except _WOULD_BLOCK:
            return
        except OSError:
            data = b""  # a reset is an end like any other: the receiver knows what was missing
        if data:
            size = len(data)
            if size == self._read_size:
                self._read_size = READ_BYTES
            elif size < SHORT_READ_BYTES:
                self._read_size = SHORT_READ_BYTES
            try:
                receiver.on_bytes(data)
            except Exception:  # a bug of ours ends this connection and nothing else
                self._fail(receiver)
            if self._pending is not None:
                self._read_pending()
        else:
            self._end(receiver)

    def _read_pending(self) -> None:
        # TLS decrypts whole records: what is decrypted already wakes no watcher.
        if self._pending is not None and self._is_reading and self._pending():
            gevent.get_hub().loop.run_callback(self._on_readable)

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        """Call a method of the receiver's; its bug ends this connection and nothing else."""
        receiver = self._receiver
        try:
            call(*args)
        except Exception:
            if receiver is not None:
                self._fail(receiver)

    def _fail(self, receiver: Receiver) -> None:
        log_soon(log, logging.ERROR, "%r failed, its connection ends", receiver, exc_info=True)
        self._end(receiver)

    def _end(self, receiver: Receiver) -> None:
        self.pause()
        try:
            receiver.on_eof()
        except Exception:  # it can't even end: the socket is all that is left to take care of
            log_soon(log, logging.ERROR, "%r failed at its end", receiver, exc_info=True)
            self.close()

    # -- writing ----------------------------------------------------------------

    def write(self, data: bytes, is_control: bool = False) -> None:
        """Send `data`, now or when the peer reads; never blocks.

        Args:
            is_control: `drop_oldest()` leaves it alone.
        """
        if self._receiver is None:
            return
        if self._buffer is None:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lose()
                return
            if sent != len(data):
                self.keep(data, sent, is_control)
        else:
            self._buffer.append(data, is_control)
            self.unsent = self._buffer.size

    def keep(self, data: bytes, sent: int, is_control: bool = False) -> None:
        """Keep what the first write that did not fit has left, until the peer reads.

        Args:
            sent: bytes of `data` that have been taken.
        """
        self.send = None
        self._buffer = Backlog()
        self._buffer.append(data, is_control)
        self._take(self._buffer, sent)
        self._await_writable()

    def discard_unsent(self) -> None:
        """Drop what waits, except the rest of a write that has partly gone out."""
        if self._buffer is not None:
            self._buffer.discard()
            self.unsent = self._buffer.size

    def drop_oldest(self, size: int) -> int:
        """Drop the oldest writes until `size` bytes are free; return how many writes went.

        A write that has partly gone out stays, and control frames do.
        """
        if self._buffer is None:
            return 0
        dropped = self._buffer.drop_oldest(size)
        self.unsent = self._buffer.size
        return dropped

    @property
    def undelivered(self) -> int:
        """Bytes that the peer's system has not got yet: unsent, or held by our kernel."""
        return self.unsent + _held_by_kernel(self._sock)

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more will come, when nothing is unsent."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._await_writable()
        except OSError:
            pass  # the peer has reset: it knows
        else:
            self._forget_writable()

    def _await_writable(self) -> None:
        if self._writer is None:
            self._writer = gevent.get_hub().loop.io(self._sock.fileno(), _WRITE)
            self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        try:
            if self._buffer is None:
                self.shutdown_write()  # for which there was no room
            else:
                self._flush()
        except Exception:  # a bug of ours ends this connection and nothing else
            log_soon(log, logging.ERROR, "%r failed on its output", self._receiver, exc_info=True)
            self._lose()

    def _flush(self) -> None:
        buffer = self._buffer
        if buffer is None or self._receiver is None:
            return
        if buffer.size:
            try:
                sent = self._sock.send(buffer.peek(_FLUSH_BYTES))
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lose()
                return
            self._take(buffer, sent)
            if buffer.size:
                self._await_writable()
                return
        self._buffer = None
        self.send = self._sock.send
        self._forget_writable()
        self._tell(self._receiver.on_flushed)

    def _take(self, buffer: Backlog, sent: int) -> None:
        buffer.take(sent, getattr(self._sock, "begun", 0))
        self.unsent = buffer.size

    def _forget_writable(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _lose(self) -> None:
        # Told from the loop: the receiver may be in the middle of a write.
        self.pause()
        self._forget_writable()
        self._buffer = Backlog()  # swallows what is still written until then
        self._is_corked = True
        self.send = None
        gevent.get_hub().loop.run_callback(self._report_lost)

    def _report_lost(self) -> None:
        if self._receiver is not None:
            self.unsent = 0
            self._end(self._receiver)

    # -- end --------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket at once; idempotent."""
        if self._receiver is None:
            return
        self._receiver = None
        for watcher in (self._reader, self._turn, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._turn = self._writer = self._buffer = self._pending = self.send = None
        self.unsent = 0
        self._is_reading = False
        try:
            self._sock.close()
        except OSError:
            pass  # the descriptor is gone either way
        if self.on_closed is not None:
            self.on_closed()


def _held_by_kernel(sock: Any) -> int:
    with contextlib.suppress(OSError, ValueError):  # it is closed, or no system that tells
        held: int = _INT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
        return held
    return 0
