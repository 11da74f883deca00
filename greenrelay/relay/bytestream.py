"""What a session and its transport are to each other: three protocols, and no code.

    Receiver     the session, as a transport knows it: four callbacks on the hub
    ByteStream   the transport, as a session knows it; `greenrelay.testing` has one without a socket
    Sink         its socket, as a session that has nothing unsent knows it

No method of either blocks or switches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


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


class Sink(Protocol):
    """What takes bytes at once."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """Send what goes out at once, and return how much that was; raises `OSError` for none."""


class ByteStream(Protocol):
    """Where bytes come from and go to."""

    @property
    def sink(self) -> Sink | None:
        """The way around `write()` while nothing is unsent; what it leaves goes to `keep()`."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""

    @property
    def undelivered(self) -> int:
        """Bytes that the peer's system has not got yet."""

    @property
    def is_reading(self) -> bool:
        """Whether the peer is listened to."""

    @property
    def remote_address(self) -> str:
        """The peer's address, `""` when it is unknown."""

    def start(self, early: bytes = b"") -> None:
        """Send what waits, and begin to read, after `early`."""

    def pause(self) -> None:
        """Stop reading, and put nothing off."""

    def resume(self) -> None:
        """Read again."""

    def defer(self) -> None:
        """Stop reading, and have `on_turn()` called after the others' turn."""

    def has_time(self) -> bool:
        """Tell whether the others have hardly waited yet."""

    def write(self, data: bytes, is_control: bool = False) -> None:
        """Send `data`, now or when the peer reads."""

    def keep(self, data: bytes, sent: int) -> None:
        """Keep what the sink has left of `data`, of which it has taken `sent` bytes."""

    def discard_unsent(self) -> None:
        """Drop what waits, except the rest of a write that has partly gone out."""

    def drop_oldest(self, size: int) -> int:
        """Drop the oldest writes until `size` bytes are free; return how many writes went."""

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more will come, when nothing is unsent."""

    def close(self) -> None:
        """Close the socket at once; idempotent."""

    def when_closed(self, call: Callable[[], object]) -> None:
        """Have `call` called when the socket is closed; at once if it is."""
