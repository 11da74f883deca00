"""High marks: how much may wait in a mailbox before connections hold back, and who does.

    mark reached ─► is_full ─► connections stop reading, and ask to be told
    drained to half of it ─► not full ─► they are told: one for each message taken, or all at once
                                          where the owner waits and nothing more will be taken

What waits is the mailbox's to know, and so an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from greenrelay.wire import MAX_MAILBOX_BYTES, MAX_MAILBOX_MESSAGES


class Marks:
    """The two high marks of a mailbox, and who holds back until it has drained.

    Args:
        max_messages: so many that wait make it full; 0 is off.
        max_bytes: so many bytes of clients' text and binary messages do; 0 is off.
    """

    __slots__ = ("is_full", "max_bytes", "max_messages", "waiting")

    def __init__(
        self, max_messages: int = MAX_MAILBOX_MESSAGES, max_bytes: int = MAX_MAILBOX_BYTES
    ) -> None:
        self.max_messages = max_messages or sys.maxsize
        self.max_bytes = max_bytes or sys.maxsize
        self.is_full = False
        """Whether a mark was reached, and the mailbox has not drained to half of it since."""
        self.waiting: dict[object, Callable[[], None]] | None = None
        """Who holds back until it has drained, and what to call then; `None`: nobody."""

    def fill(self, count: int, size: int) -> bool:
        """Note how many messages, and bytes of clients', wait; return whether that is too much."""
        if count >= self.max_messages or size >= self.max_bytes:
            self.is_full = True
        return self.is_full

    def drain(self, count: int, size: int) -> bool:
        """Note how many messages and bytes a take has left; return whether it is half the marks.

        Then it is not full any more, and one of those who hold back is told: a thousand at
        once would fill the mailbox again in one turn of the loop.
        """
        if not self._has_drained(count, size):
            return False
        self.is_full = False
        if self.waiting:
            self.waiting.pop(next(iter(self.waiting)))()
        return True

    def tell_all(self, count: int, size: int) -> None:
        """Tell everybody who holds back, if so little waits that the mailbox has drained."""
        if self.waiting and self._has_drained(count, size):
            calls, self.waiting = self.waiting, None
            for call in calls.values():
                call()

    def reset(self) -> None:
        """Note that nothing waits any more, and tell everybody who holds back."""
        self.is_full = False
        self.tell_all(0, 0)

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when the mailbox has drained to half its mark, or ended."""
        if self.waiting is None:
            self.waiting = {}
        self.waiting[key] = call

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        if self.waiting:
            self.waiting.pop(key, None)

    def _has_drained(self, count: int, size: int) -> bool:
        return 2 * count <= self.max_messages and 2 * size <= self.max_bytes
