"""A client's connection to a node of `local:`: frames in both directions, for several threads.

A frame is its length in four bytes, and so many bytes.
"""

from __future__ import annotations

import _socket
import threading
from typing import Final

from greenrelay.cluster.backend import Member
from greenrelay.cluster.localsockets import HEAD

MAX_PENDING_BYTES: Final = 16 * 1024 * 1024
"""Not taken by the kernel yet: more than that is not taken from the sender."""
_READ_BYTES: Final = 256 * 1024


class Pipe:
    """A connection; `write()` and `pending` are for any thread, all else for the way's own."""

    def __init__(self, sock: _socket.socket, incarnation: str | None) -> None:
        self.sock = sock
        self.incarnation = incarnation
        """Whom it was made to; `None`: whoever it is has to say so first."""
        self.member: Member | None = None
        self.pending = 0
        self._lock = threading.Lock()
        self._out: list[bytes] = []
        self._is_open = True
        self._have = bytearray()

    def write(self, data: bytes) -> bool:
        """Send a frame, or as much of it as goes; return whether it was taken."""
        frame = HEAD.pack(len(data)) + data
        with self._lock:
            if not self._is_open or self.pending + len(frame) > MAX_PENDING_BYTES:
                return False
            self._out.append(frame)
            self.pending += len(frame)
            self._send()
            return self._is_open

    def flush(self) -> None:
        """Send what waits, as much as goes."""
        with self._lock:
            self._send()

    def _send(self) -> None:
        while self._out and self._is_open:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                self._out = [data]
                return
            except OSError:  # the thread reads the end, and tells
                self._is_open = False
                self._out.clear()
                self.pending = 0
                return
            self.pending -= sent
            self._out = [data[sent:]] if sent < len(data) else []

    def read(self, max_bytes: int) -> tuple[list[bytes], bool]:
        """Return the frames that have come, and whether more may."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return [], True
        except OSError:
            data = b""
        self._have += data
        frames: list[bytes] = []
        while len(self._have) >= HEAD.size:
            (size,) = HEAD.unpack_from(self._have)
            if size > max_bytes:
                return frames, False
            end = HEAD.size + size
            if len(self._have) < end:
                break
            frames.append(bytes(self._have[HEAD.size : end]))
            del self._have[:end]
        return frames, bool(data)

    def abandon(self) -> None:
        """In a child that was forked: close our copy, whoever held the lock in the parent."""
        self.sock.close()

    def close(self) -> None:
        """Close it; idempotent."""
        with self._lock:
            self._is_open = False
            self._out.clear()
            self.pending = 0
            self.sock.close()
