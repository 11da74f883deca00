"""The file to which the members of a deployment append their records, and read all of them.

    append ─► log.N ─► sync: every record, in the order of the file ─► Ledger

Its order is everybody's, because an append is one `write` at the end of a file: the kernel puts
one behind the other. (On a disk of this machine; over NFS it does not.) No lock is taken, so a
member that is stopped in the middle keeps nobody waiting.

A file that has grown is closed by a record, and what the ledger then says is where the next one
begins: `log.N+1`, made by whoever reads the record first. Rule: the file of the highest number
counts, and is never removed while somebody uses the directory; who has made a lower one, because
it slept in between, removes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.localledger import CLAIM, CLOSE, GONE, JOIN, RELEASE, Ledger, record
from greenrelay.errors import ClusterError

COMPACT_BYTES: Final = 1024 * 1024
"""A file that has grown by so much, and to four times its beginning, is followed by the next."""
_GROWTH: Final = 4
_READ_BYTES: Final = 256 * 1024
_PREFIX: Final = "log."


class Log:
    """A deployment's records, and what they say.

    Args:
        incarnation: who appends.

    Raises:
        ClusterError: the file can't be opened or read.
    """

    def __init__(
        self, directory: Directory, incarnation: str, compact_bytes: int = COMPACT_BYTES
    ) -> None:
        self._directory = directory
        self._me = incarnation
        self._compact_bytes = compact_bytes
        self._count = 0
        self._fd = -1
        self._number = 0
        self._offset = self._begin = 0
        self._rest = b""
        self.ledger = Ledger()
        with self._told("can't be opened"):
            self._open_next()
            self._read()

    # -- writing ----------------------------------------------------------------

    def join(self, node: str, lease: float) -> bool:
        """Be a member."""
        return self._submit(JOIN, node, lease)

    def declare_gone(self, incarnation: str) -> bool:
        """Have a member be none any more; tell whether we were one to say so."""
        if incarnation not in self.ledger.members:
            return True
        return self._submit(GONE, incarnation) or incarnation == self._me

    def claim(self, name: str, pid: str) -> str | None:
        """Return the PID that holds a name, `pid` itself if we do; `None`: we are no member."""
        self.sync()
        while self.is_member:
            holder = self.ledger.names.get(name)
            if holder is not None:
                return holder.pid
            self._submit(CLAIM, name, pid)  # another may claim it before, and release it after
        return None

    def release(self, name: str, pid: str) -> None:
        """Give a name back, if it is `pid`'s."""
        if self.ledger.names.get(name) == (pid, self._me):
            self._submit(RELEASE, name, pid)

    @property
    def is_member(self) -> bool:
        """Whether we are one, as far as we have read."""
        return self._me in self.ledger.members

    def _submit(self, verb: str, *rest: object) -> bool:
        """Append a record and read up to it; return `False` if it did not count."""
        self._count += 1
        with self._told("can't be written"):
            while True:
                number = self._number
                self._append(record(self._me, self._count, verb, *rest))
                self._read()
                if self.ledger.has_counted(self._me, self._count):
                    break
                if number == self._number or not (self.is_member or verb == JOIN):
                    return False
                # Else it came behind the end of a file, and goes into the next.
            if self._offset > max(self._begin * _GROWTH, self._begin + self._compact_bytes):
                self._count += 1
                self._append(record(self._me, self._count, CLOSE))
                self._read()
        return True

    def _append(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):  # the disk is full; what is there is no record
            raise OSError(None, "no space left on device")

    # -- reading ----------------------------------------------------------------

    def sync(self) -> None:
        """Read what others have appended.

        Raises:
            ClusterError: it can't be read.
        """
        with self._told("can't be read"):
            self._read()

    def _read(self) -> None:
        while data := os.pread(self._fd, _READ_BYTES, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if line:
                    self.ledger.apply(line)
            if self.ledger.is_closed:
                self._open_next()

    def _open_next(self) -> None:
        """Go on in the highest file above ours, made if there is none."""
        while True:
            number = max(self._numbers(), default=0)
            if number <= self._number:
                fresh = f"{_PREFIX}{self._number + 1}"
                self._directory.create(fresh, self.ledger.snapshot(), f"new.{self._me}")
                continue
            try:
                fd = self._directory.open(f"{_PREFIX}{number}", os.O_RDWR | os.O_APPEND)
                break
            except FileNotFoundError:
                continue  # there is a higher one now
        self.close()
        self._fd, self._number = fd, number
        self._load()
        for older in self._numbers():
            if older < number:
                self._directory.remove(f"{_PREFIX}{older}")

    def _load(self) -> None:
        text = b""
        while b"\n" not in text:
            data = os.pread(self._fd, _READ_BYTES, len(text))
            if not data:
                raise ClusterError("the deployment's ledger is empty")
            text += data
        text = text[: text.index(b"\n") + 1]
        self._offset = self._begin = len(text)
        self._rest = b""
        self.ledger = Ledger(text)

    def _numbers(self) -> list[int]:
        names = self._directory.names()
        found = [name[len(_PREFIX) :] for name in names if name.startswith(_PREFIX)]
        return [int(text) for text in found if text.isdigit()]

    @contextlib.contextmanager
    def _told(self, fault: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ClusterError):
                raise
            raise ClusterError(
                f"the ledger in {self._directory.path} {fault}: {error.strerror or error}"
            ) from None

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
