"""An event loop in an OS thread of its own, which others hand functions to.

    thread = LoopThread("server")
    thread.run(function, …)  ─► a greenlet there calls it ─► its value, or what it raises, here
    thread.end()

The thread that waits may be blocked by whatever it likes meanwhile: the loop goes on. For
programs that are not monkey-patched; in one that is, the thread would be a greenlet.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.event

from greenrelay.errors import GreenRelayError

START_SECONDS = 10.0
"""A thread begins in a millisecond, and on a machine under load in a second."""

Result = TypeVar("Result")


class ThreadEnded(GreenRelayError):
    """The thread does not run any more: it was ended, or something in it has ended it."""


class LoopThread:
    """An event loop in an OS thread of its own.

    Args:
        name: of the thread, in the stacks that debuggers print.
    """

    def __init__(self, name: str) -> None:
        self._calls: deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = deque()
        self._waited_for: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()
        self._wake: Any = None
        self._is_over: Any = None
        self.error: BaseException | None = None
        """What has ended it before its time, such as a `SystemExit` in a view."""
        begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(begun,), name=name, daemon=True)
        self._thread.start()
        begun.result(START_SECONDS)

    @property
    def is_alive(self) -> bool:
        """Whether it takes calls."""
        return self._wake is not None

    def run(
        self, function: Callable[..., Result], *args: Any, timeout: float | None = None
    ) -> Result:
        """Call `function(*args)` in a greenlet of the thread; return its value or raise its error.

        Blocks the calling thread meanwhile.

        Args:
            timeout: seconds; `None` waits for ever. The call goes on when it has passed.

        Raises:
            ThreadEnded: before the function has, or there was no thread any more.
            TimeoutError: it took longer.
        """
        if threading.current_thread() is self._thread:
            return function(*args)
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        with self._lock:
            if self._wake is None:
                raise ThreadEnded("its thread has ended") from self.error
            self._calls.append((future, lambda: function(*args)))
            self._waited_for.add(future)
            self._wake.send()
        concurrent.futures.wait([future], timeout)
        if not future.done():
            raise TimeoutError(f"{function!r} took longer than {timeout} s")
        return future.result()

    def count_calls(self) -> int:
        """Count the calls that have not returned yet."""
        return len(self._waited_for)

    def end(self) -> None:
        """End the thread; its greenlets are dropped. Ending twice is no error."""
        if self.is_alive:
            self.run(lambda: self._is_over.set())
        self._thread.join(START_SECONDS)

    # -- in the thread -------------------------------------------------------------

    def _run(self, begun: concurrent.futures.Future[None]) -> None:
        hub = gevent.get_hub()
        self._is_over = gevent.event.Event()
        self._wake = hub.loop.async_()
        self._wake.start(self._on_wake)
        begun.set_result(None)
        try:
            self._is_over.wait()
        except BaseException as error:  # the hub's way to end on SystemExit and the like
            self.error = error
        with self._lock:
            self._wake.close()
            self._wake = None
        for future in self._waited_for:
            _fail(future, self.error)
        hub.destroy(destroy_loop=True)

    def _on_wake(self) -> None:
        while self._calls:
            gevent.spawn(self._serve, *self._calls.popleft())

    def _serve(self, future: concurrent.futures.Future[Any], call: Callable[[], Any]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # whatever it is, it is the caller's
            future.set_exception(error)
        self._waited_for.discard(future)


def _fail(future: concurrent.futures.Future[Any], error: BaseException | None) -> None:
    ended = ThreadEnded("its thread has ended before the call")
    ended.__cause__ = error
    future.set_exception(ended)
