"""The end of a mailbox's owner: why it is to end, and how often it has been told so.

    told to end ─► what has come can still be taken, then a take raises `ChannelClosed`
    killed      ─► every take raises the kill
    given up    ─► it has caught that again and again: each further take sleeps before it raises

An owner that is not to end has none: a mailbox with an `End` is closed.
"""

from __future__ import annotations

from typing import Final, NoReturn

import gevent

from greenrelay.message import Cancel
from greenrelay.processes.channel import ChannelClosed, Owner

MAX_END_RAISES: Final = 100
"""So often a process may catch its end, in handlers around handlers, before it is given up."""
GIVEN_UP_SECONDS: Final = 1.0
"""Then each further attempt to receive takes so long: a loop that catches all must not spin."""


class End:
    """Why one owner is to end."""

    __slots__ = ("_cancellation", "_raises", "has_raised_kill", "kill_exception")

    def __init__(self) -> None:
        self._cancellation: Cancel | None = None
        self._raises = 0
        self.kill_exception: BaseException | None = None
        """Raised by every take: the owner was killed, or given up."""
        self.has_raised_kill = False
        """Whether it has been raised; whatever `finally` does now is left in peace."""

    def cancel(self, news: Cancel) -> None:
        """Note who has asked for it, in case the owner turns out to take events."""
        self._cancellation = news

    def take_cancellation(self) -> Cancel | None:
        """Return who has asked for it, once; `None`: nobody, or the owner has noticed."""
        news, self._cancellation = self._cancellation, None
        return news

    def kill(self, exception: BaseException) -> None:
        """Raise `exception` from every take; another kill has the first one raised once more."""
        if self.kill_exception is None:
            self.kill_exception = exception
        self.has_raised_kill = False

    def take_kill(self) -> BaseException | None:
        """Return the kill for the caller to raise; `None`: there is none, or it has been raised."""
        if self.has_raised_kill:
            return None
        self.has_raised_kill = self.kill_exception is not None
        return self.kill_exception

    def raise_kill(self, owner: Owner | None) -> None:
        """Raise the kill if there is one, as `raise_to()` does."""
        if self.kill_exception is not None:
            self.raise_to(owner)

    def raise_to(self, owner: Owner | None) -> NoReturn:
        """Raise the end to its owner. Switches: if that has caught it too often, and is given up.

        Raises:
            ChannelClosed, or what it was killed with.
        """
        end = self.kill_exception or ChannelClosed()
        self._raises += 1
        self._cancellation = None
        self.has_raised_kill = self.kill_exception is not None
        if self._raises > MAX_END_RAISES:
            self.kill_exception = end
            if owner is not None:
                owner.process.give_up()
            gevent.sleep(GIVEN_UP_SECONDS)
        try:
            raise end
        finally:
            del end  # its traceback holds this frame

    def let_go(self) -> None:
        """Drop the traceback: the owner has ended, and its frames hold what it was given."""
        if self.kill_exception is not None:
            self.kill_exception.__traceback__ = None
