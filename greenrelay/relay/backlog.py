"""What waits to be sent to one peer: whole writes, of which some may be dropped.

    append(data) ─► rest   writes in their order; drop_oldest() takes the first of them
    peek(limit)  ◄─ kept   what goes out before them, and is never dropped
    take(count)            forget what has been sent; the write it ended in is kept

Two rules: a write goes out whole or not at all; one that is small costs what it holds,
because small ones are joined: an object for each, as in a deque, would cost ten times as much.
"""

from __future__ import annotations

import itertools
from array import array
from collections import deque

SMALL_BYTES = 512
"""Below it, what Python adds to an object of its own is more than a tenth."""
JOINED_BYTES = 16 * 1024
"""Of one piece of joined writes; a size that fits into an `array("h")`, with its sign."""


class Backlog:
    """The bytes that wait for one peer.

    Args:
        head: what goes out first and is never dropped.
    """

    __slots__ = ("_kept", "_rest", "size")

    def __init__(self, head: bytes = b"") -> None:
        self._kept: deque[memoryview | bytearray] = deque((memoryview(head),) if head else ())
        # `bytes` may be dropped, a `memoryview` may not; `_Joined` knows of each of its writes.
        self._rest: deque[bytes | memoryview | _Joined] = deque()
        self.size = len(head)
        """Bytes in all."""

    def append(self, data: bytes, is_control: bool = False) -> None:
        """Add one write.

        Args:
            is_control: it is never dropped, except by `discard()`.
        """
        self.size += len(data)
        if len(data) >= SMALL_BYTES:
            self._rest.append(memoryview(data) if is_control else data)
            return
        last = self._rest[-1] if self._rest else None
        if not isinstance(last, _Joined) or len(last) > JOINED_BYTES - SMALL_BYTES:
            last = _Joined()
            self._rest.append(last)
        last.append(data, is_control)

    def peek(self, limit: int) -> bytes | bytearray | memoryview:
        """Return what goes out next; no more than `limit` bytes are joined for it."""
        pieces: list[bytes | bytearray | memoryview] = []
        size = 0
        for chunk in itertools.chain(self._kept, self._rest):
            piece = chunk.data if isinstance(chunk, _Joined) else chunk
            if not pieces and (len(piece) >= limit or len(piece) == self.size):
                return piece
            pieces.append(memoryview(piece)[: limit - size] if len(piece) > limit - size else piece)
            size += len(pieces[-1])
            if size >= limit:
                break
        return b"".join(pieces)

    def take(self, count: int, begun: int = 0) -> None:
        """Forget `count` bytes, which have been sent; keep the rest of the write they end in.

        Args:
            begun: as many bytes behind them have been begun, and have to go out as they are.
        """
        self.size -= count
        kept, rest = self._kept, self._rest
        while count:
            if not kept:
                if count >= len(rest[0]):
                    count -= len(rest.popleft())
                    continue
                self._begin(count)
            first = kept[0]
            if count >= len(first):
                count -= len(kept.popleft())
            elif isinstance(first, memoryview):
                kept[0] = first[count:]
                count = 0
            else:
                del first[:count]
                count = 0
        if begun:
            self._begin(begun)

    def _begin(self, size: int) -> None:
        """Keep whole writes until `size` bytes are kept."""
        missing = size - sum(map(len, self._kept))
        while missing > 0:
            chunk = self._rest[0]
            piece = chunk.cut(missing) if isinstance(chunk, _Joined) else memoryview(chunk)
            self._kept.append(piece)
            missing -= len(piece)
            if not isinstance(chunk, _Joined) or not chunk:
                self._rest.popleft()

    def drop_oldest(self, size: int) -> int:
        """Drop the oldest writes until `size` bytes are free; return how many writes went.

        A write that has partly gone out stays, and control frames do.
        """
        dropped = 0
        while size > 0 and self._rest:
            write = self._pop_oldest()
            if isinstance(write, bytes):
                self.size -= len(write)
                size -= len(write)
                dropped += 1
            elif self._kept and isinstance(self._kept[-1], bytearray):
                self._kept[-1] += write
            else:
                self._kept.append(write)
        return dropped

    def _pop_oldest(self) -> bytes | bytearray | memoryview:
        """Return the oldest write, as `bytes` if it may be dropped."""
        chunk = self._rest[0]
        write = chunk.pop() if isinstance(chunk, _Joined) else chunk
        if not isinstance(chunk, _Joined) or not chunk:
            self._rest.popleft()
        return write

    def discard(self) -> None:
        """Drop everything but what is kept."""
        self._rest.clear()
        self.size = sum(map(len, self._kept))

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self.discard()


class _Joined:
    """Small writes, one behind the other."""

    __slots__ = ("_sizes", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._sizes = array("h")  # of each write; negative: of control frames in a row

    def __len__(self) -> int:
        return len(self.data)

    def append(self, write: bytes, is_control: bool) -> None:
        """Add one write."""
        self.data += write
        if not is_control:
            self._sizes.append(len(write))
        elif self._sizes and self._sizes[-1] < 0:
            self._sizes[-1] -= len(write)
        else:
            self._sizes.append(-len(write))

    def cut(self, count: int) -> bytearray:
        """Take out the writes that hold the first `count` bytes, the last of them whole.

        All of them, if they hold less.
        """
        index = stop = 0
        while stop < count and index < len(self._sizes):
            stop += abs(self._sizes[index])
            index += 1
        piece = self.data[:stop]
        del self.data[:stop]
        del self._sizes[:index]
        return piece

    def pop(self) -> bytes | bytearray:
        """Take out the first write, as `bytes` if it may be dropped."""
        size = self._sizes.pop(0)
        write = self.data[: abs(size)]
        del self.data[: abs(size)]
        return bytes(write) if size > 0 else write
