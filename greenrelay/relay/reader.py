"""The reading half of a connection's socket: a watcher on the hub, and turns.

    readable ─► recv, once, at most 65 KiB ─► receiver.on_bytes(data)
    defer()  ─► the others have their turn  ─► receiver.on_turn()
    the end, or a bug of the receiver's     ─► receiver.on_eof()

Two rules: nothing here blocks or switches; after `close()` the receiver hears nothing more.
It is the base of a transport, and no object that a transport holds: that would be one hop more
for each read, and 56 bytes for each idle connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent

from greenrelay.logs import log_soon
from greenrelay.relay.bytestream import Receiver
from greenrelay.relay.sockets import WOULD_BLOCK, StreamSocket
from greenrelay.wire import READ_BYTES, SHORT_READ_BYTES, TURN_SECONDS

_READ = 1  # libev's EV_READ

log = logging.getLogger("greenrelay")


class Reader:
    """A socket that is read while `resume()` and `pause()` say so.

    Args:
        sock: closed by this object.
        receiver: who gets the bytes.
    """

    __slots__ = (
        "_is_reading",
        "_may_read",
        "_read_size",
        "_sock",
        "_turn",
        "_watcher",
        "receiver",
    )

    def __init__(self, sock: StreamSocket, receiver: Receiver) -> None:
        self._sock = sock
        self.receiver: Receiver | None = receiver
        """Who gets the bytes; `None` when the socket is closed."""
        self._watcher: Any = None
        self._turn: Any = None
        self._is_reading = False
        self._may_read = False
        """Whether `resume()` does anything: it has begun, and the peer is not gone."""
        self._read_size = SHORT_READ_BYTES

    @property
    def is_reading(self) -> bool:
        """Whether the peer is listened to."""
        return self._is_reading

    def pause(self) -> None:
        """Stop reading, so that the peer's window fills, and put nothing off; idempotent."""
        if self._is_reading:
            self._is_reading = False
            self._watcher.stop()
        if self._turn is not None:
            self._turn.stop()

    def defer(self) -> None:
        """Stop reading, and have `receiver.on_turn()` called after the others' turn; idempotent.

        That is: when the loop has looked at all sockets again. Its callbacks would not do,
        of which it runs fifty and more before it does.
        """
        if self.receiver is None:
            return
        self.pause()
        if self._turn is None:
            self._turn = gevent.get_hub().loop.timer(0)
        self._turn.start(self._on_turn)

    def has_time(self) -> bool:
        """Tell whether less than TURN_SECONDS has passed since the loop polled."""
        return time.time() - gevent.get_hub().loop.now() < TURN_SECONDS

    def _on_turn(self) -> None:
        if self.receiver is not None:
            self._tell(self.receiver.on_turn)

    def resume(self) -> None:
        """Read again; idempotent."""
        if self.receiver is None or self._is_reading or not self._may_read:
            return
        if self._turn is not None:
            self._turn.close()
            self._turn = None
        if self._watcher is None:
            self._watcher = gevent.get_hub().loop.io(self._sock.fileno(), _READ)
        self._is_reading = True
        # With what it is called on as an argument: a bound method would be 16 bytes more.
        if self._sock.pending is None:
            self._watcher.start(Reader._on_readable, self)
        else:
            self._watcher.start(Reader._on_records, self)
            self._read_pending()

    def _on_readable(self) -> None:
        receiver = self.receiver
        if receiver is None or not self._is_reading:
            return  # closed or paused by another callback of the same turn
        try:
            data = self._sock.recv(self._read_size)
        except WOULD_BLOCK:
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
        else:
            self._end(receiver)

    def _on_records(self) -> None:
        self._on_readable()
        self._read_pending()

    def _read_pending(self) -> None:
        # TLS decrypts whole records: what is decrypted already wakes no watcher.
        pending = self._sock.pending
        if pending is not None and self._is_reading and pending():
            gevent.get_hub().loop.run_callback(self._on_records)

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        """Call a method of the receiver's; its bug ends this connection and nothing else."""
        receiver = self.receiver
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

    def close(self) -> None:
        """Close the socket at once; idempotent."""
        self.receiver = None
        for watcher in (self._watcher, self._turn):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._watcher = self._turn = None
        self._is_reading = False
        try:
            self._sock.close()
        except OSError:
            pass  # the descriptor is gone either way
