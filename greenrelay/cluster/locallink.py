"""A connection between two members: frames in both directions, on the hub.

    write(data) ─► gathered, and sent in the loop's next turn; what does not fit waits
    readable    ─► one recv, at most 64 KiB ─► owner.on_frame(link, data) for each frame
    the end, or what is no frame           ─► owner.on_end(link, fault), once

A frame is its length in four bytes, and so many bytes. Rules: nothing here blocks or switches; a
length above the limit ends the connection before a byte of it is kept; after `close()` the owner
hears nothing.
"""

from __future__ import annotations

import _socket
import logging
from collections import deque
from typing import Any, Final, Protocol

import gevent

from greenrelay.cluster.backend import Member
from greenrelay.cluster.localsockets import HEAD
from greenrelay.logs import log_soon

log = logging.getLogger("greenrelay.cluster")

_READ, _WRITE = 1, 2  # libev's EV_READ and EV_WRITE
_READ_BYTES: Final = 64 * 1024
_JOIN_BYTES: Final = 256 * 1024
"""Gathered for one send: a socket's buffer takes less than that at once."""
_LARGE_BYTES: Final = 64 * 1024
"""From here on a frame's head is sent beside it: to copy it costs more than to gather it."""
_SENDS_PER_TURN: Final = 4
_LAST_READS: Final = 64
"""Of one that has ended: what the kernel holds for it is less than so many."""


class Owner(Protocol):
    """Whose connection it is."""

    def on_frame(self, link: Link, data: bytes) -> None:
        """Take a frame."""

    def on_end(self, link: Link, fault: str) -> None:
        """Take note: it has ended; `fault` says why if the other side broke the rules."""


class Link:
    """One connection.

    Args:
        sock: non-blocking and connected; closed by this object.
        max_bytes: the longest frame that is taken.
    """

    __slots__ = (
        "_have",
        "_is_flushing",
        "_loop",
        "_need",
        "_out",
        "_owner",
        "_parts",
        "_reader",
        "_sock",
        "_writer",
        "has_heard",
        "incarnation",
        "max_bytes",
        "member",
        "pending",
        "silence",
    )

    def __init__(self, sock: _socket.socket, owner: Owner, max_bytes: int) -> None:
        self.incarnation: str | None = None
        """Who is at the other end, or should be; `None`: it has not said so yet."""
        self.member: Member | None = None
        """Who it is, once both know each other."""
        self.max_bytes = max_bytes
        self.pending = 0
        """Bytes that were written and that the kernel has not taken yet."""
        self.has_heard = False
        """Whether anything has come since somebody looked."""
        self.silence = 0
        """For how many looks nothing has come."""
        self._sock: _socket.socket | None = sock
        self._owner = owner
        self._out: deque[Any] = deque()
        self._parts: list[bytes] = []
        self._have, self._need = 0, HEAD.size
        self._is_flushing = False
        self._loop = gevent.get_hub().loop
        self._writer: Any = None
        self._reader = self._loop.io(sock.fileno(), _READ)
        self._reader.start(self._on_readable)

    @property
    def is_open(self) -> bool:
        """Whether it may be written to."""
        return self._sock is not None

    # -- writing ----------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send a frame, behind those before it. Never blocks; does nothing when it is closed."""
        if self._sock is None:
            return
        size = len(data)
        if size < _LARGE_BYTES:
            self._out.append(HEAD.pack(size) + data)
        else:
            self._out.append(HEAD.pack(size))
            self._out.append(data)
        self.pending += HEAD.size + size
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        """Send what the kernel takes; the rest waits until there is room."""
        sock, out = self._sock, self._out
        for _ in range(_SENDS_PER_TURN):
            if sock is None:
                return
            if not out:
                break
            data = self._gather()
            try:
                sent = sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.pending = 0
                out.clear()  # nobody reads it; that it has ended is seen by reading
                break
            self.pending -= sent
            if sent < len(data):
                out.appendleft(memoryview(data)[sent:])
                self._await_room()
                return
        if out:
            if self._writer is None or not self._writer.active:
                self._loop.run_callback(self._flush)  # after the others' turn
        else:
            self._is_flushing = False
            if self._writer is not None:
                self._writer.stop()

    def _gather(self) -> Any:
        out = self._out
        if self.pending <= _JOIN_BYTES:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            return data
        parts = [out.popleft()]
        size = len(parts[0])
        while out and size + len(out[0]) <= _JOIN_BYTES:
            parts.append(out.popleft())
            size += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _await_room(self) -> None:
        assert self._sock is not None
        if self._writer is None:
            self._writer = self._loop.io(self._sock.fileno(), _WRITE)
        self._writer.start(self._flush)

    # -- reading ----------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            self._read()
        except Exception:  # a bug of ours ends this connection and nothing else
            log_soon(log, logging.ERROR, "the connection to %s failed", self.member, exc_info=True)
            self._end("a bug of ours")

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        if self._sock is None:
            return False
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end("")
            return False
        self.has_heard = True
        self._parts.append(data)
        self._have += len(data)
        if self._have >= self._need:
            whole = data if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._parse(whole)
        return True

    def _parse(self, data: bytes) -> None:
        on_frame = self._owner.on_frame
        begin, have, need = 0, len(data), HEAD.size
        while have - begin >= HEAD.size:
            (size,) = HEAD.unpack_from(data, begin)
            if size > self.max_bytes:
                self._end(f"a frame of {size} bytes, and {self.max_bytes} is the limit")
                return
            need = HEAD.size + size
            end = begin + need
            if end > have:
                break
            on_frame(self, data[end - size : end])
            if self._sock is None:
                return
            begin, need = end, HEAD.size
        self._have, self._need = have - begin, need
        if self._have:
            self._parts.append(data[begin:])

    def read_rest(self) -> None:
        """Hand over what has come already, of one that is gone."""
        for _ in range(_LAST_READS):
            if not self._read():
                return

    # -- end --------------------------------------------------------------------

    def _end(self, fault: str) -> None:
        if self._sock is not None:
            self.close()
            self._owner.on_end(self, fault)

    def close(self) -> None:
        """Close it at once; idempotent."""
        if self._sock is None:
            return
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._sock.close()
        self._sock = None
        self._out.clear()
        self._parts.clear()
        self.pending = 0
