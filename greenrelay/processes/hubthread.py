"""The thread in which a node's event loop runs, and the way into it from other threads.

    thread pool ─ run(f) ─► the loop's next turn: f() ─► its value, or what it raised
                ─ post(f) ─► the same, and nobody waits

Greenlets, mailboxes and watchers belong to one thread; what others do to them is handed over,
in order. Native locks: with monkey patching, `threading`'s belong to greenlets.

By hand, because gevent has the way in (`run_callback_threadsafe`) and nothing that waits for a
value: its `AsyncResult` is for greenlets, and a thread that waits for one makes a loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import gevent
from gevent import monkey

from greenrelay.errors import LoopStopped

Result = TypeVar("Result")

_LOOK_SECONDS: Final = 1.0
"""Who waits for a loop looks so often whether it is still there."""

_get_ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_allocate_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")


class HubThread:
    """The thread of one event loop: the one in which this is made."""

    __slots__ = ("_hub", "_ident")

    _hub: Any
    _ident: int

    def __init__(self) -> None:
        self.move_here()

    def move_here(self) -> None:
        """Belong to the calling thread and its event loop from now on."""
        self._hub = gevent.get_hub()
        self._ident = _get_ident()

    def is_own(self) -> bool:
        """Tell whether the caller is in this very thread."""
        return _get_ident() == self._ident

    def is_here(self) -> bool:
        """Tell whether the caller may act at once: in this thread, or no loop runs in it."""
        return _get_ident() == self._ident or not _runs(self._hub)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call `function(*args)`, in the order of the posts; it must not block."""
        self._hub.loop.run_callback_threadsafe(function, *args)

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call `function(*args)` in the loop's thread, and return what it returns.

        Blocks the calling thread, unless it is the loop's own. The function must not switch.

        Raises:
            LoopStopped: the loop has ended meanwhile.
        """
        if self.is_here():
            return function(*args)
        errand = _Errand(function, args)
        self.post(errand.do)
        return errand.wait(self._hub)  # type: ignore[no-any-return]  # what `function` gave

    def run_greenlet(self, function: Callable[..., Result], *args: Any) -> Result:
        """As `run()`, in a greenlet of its own: the function may switch."""
        if self.is_here():
            return function(*args)
        errand = _Errand(function, args)
        self.post(gevent.spawn_raw, errand.do)
        return errand.wait(self._hub)  # type: ignore[no-any-return]  # what `function` gave


def _runs(hub: Any) -> bool:
    # A hub is true from its first step to its death; one that is destroyed has lost its loop.
    return bool(hub) and hub.loop is not None


class _Errand:
    """One call on behalf of another thread."""

    __slots__ = ("_args", "_done", "_error", "_function", "_value")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = _allocate_lock()
        self._done.acquire()

    def do(self) -> None:
        """Call the function, and wake who waits."""
        try:
            self._value = self._function(*self._args)
        except BaseException as error:  # it is raised where it was asked for
            self._error = error
        finally:
            self._done.release()

    def wait(self, hub: Any) -> Any:
        """Return what the function returned, or raise what it raised. Blocks the thread."""
        while not self._done.acquire(True, _LOOK_SECONDS):
            if not _runs(hub):
                raise LoopStopped("the node's event loop has ended before it came to this call")
        try:
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            self._error = None  # it holds this frame
