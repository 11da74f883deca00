"""The commands of a node that are not publishes: its lease, its names.

    greenlets ─ ask() ─► one queue ─► [its greenlet] many in one round trip ─► each its answer
    anybody ── post() ─┘               connects, with back-off, whenever it has to

In order, over a connection of their own, so that a full buffer of publishes does not cost the
lease.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import AsyncResult, Event

from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_link import Command, Link, LinkDown, Refusal
from greenrelay.cluster.redis_places import Places
from greenrelay.cluster.redis_urls import RedisUrl
from greenrelay.errors import ClusterError
from greenrelay.logs import log_now

log = logging.getLogger("greenrelay.cluster")

MAX_ROUND: Final = 200
"""Commands in one round trip: scripts, some milliseconds of Redis's time together."""

LONGEST_WAIT: Final = 0.1
"""Between two attempts to connect, of the lease: a third of it may have passed before the first."""

MAX_POSTS: Final = 100_000
"""Commands without an answer that wait while Redis is away; more are forgotten, and leases end."""


class _Errand:
    """A command, and who waits for its answer."""

    __slots__ = ("answer", "command", "is_post", "sent")

    def __init__(self, command: Command, answer: AsyncResult[Any] | None) -> None:
        self.command = command
        self.answer = answer
        self.is_post = answer is None
        self.sent = 0.0


class Control:
    """Sends commands to the server that has the deployment's keys.

    Args:
        url: where, and who we are.
        places: which server has `key`.
        key: any key of the deployment that scripts use.
        on_again: is told that it has connected again, perhaps to another server, or to one that
            has been started anew; it must not block.
    """

    def __init__(
        self, url: RedisUrl, places: Places, key: str, on_again: Callable[[], None]
    ) -> None:
        self._url = url
        self._places = places
        self._key = key
        self._on_again = on_again
        self._timeout = url.lease / 3
        self._queue: deque[_Errand] = deque()
        self._wake = Event()
        self._link: Link | None = None
        self._problem: ClusterError | None = None
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def connect(self) -> None:
        """Connect, once. Switches: yes.

        Raises:
            ClusterError: why it is not possible, in one line.
        """
        self._connect()

    def start(self) -> None:
        """Carry out commands from now on, and connect again when needed."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Carry out nothing more. Never blocks for long."""
        if self._greenlet is not None:
            self._greenlet.kill()
        self._hang_up()
        self._fail(self._queue, ClusterError("the cluster has been left"))
        self._queue.clear()

    def abandon(self) -> None:
        """Carry out nothing more: for a forked child. Never blocks."""
        self._queue.clear()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        if self._link is not None:
            self._link.close()  # the parent's is still open

    def ask(self, command: Command, timeout: float) -> Any:
        """Return the answer to a command. Switches: yes.

        Raises:
            ClusterError: see `ask_when()`.
        """
        return self.ask_when(command, timeout)[0]

    def ask_when(self, command: Command, timeout: float) -> tuple[Any, float]:
        """Return the answer to a command, and when it was sent by `time.monotonic()`.

        Switches: yes.

        Raises:
            ClusterError: there is none in time, or it is a refusal. The command may be carried out
                all the same.
        """
        answer: Any = AsyncResult()
        errand = _Errand(command, answer)
        self._put(errand)
        try:
            answer.wait(timeout)  # a gevent.Timeout from here is the caller's own
        finally:
            errand.answer = None  # nobody waits: what has not been sent yet need not be
        if not answer.ready():
            problem = self._problem or f"no answer within {timeout:.1f} s"
            raise ClusterError(f"{self._url.shown}: {problem}")
        answer = answer.get()
        if isinstance(answer, Refusal):
            raise ClusterError(f"{self._url.shown}: {answer}{self._advise(answer)}")
        return answer, errand.sent

    def post(self, command: Command) -> None:
        """Carry out a command at some time, once or twice. Never blocks."""
        if len(self._queue) < MAX_POSTS:
            self._put(_Errand(command, None))

    def reconnect(self) -> None:
        """Find the server anew: it is not the right one any more. Never blocks."""
        if self._link is not None:
            self._link.break_off()

    def _advise(self, refusal: Refusal) -> str:
        if self._url.kind == "single" and refusal.code in ("MOVED", "CLUSTERDOWN"):
            return "; it belongs to a Redis Cluster: write redis+cluster://"
        return ""

    def _put(self, errand: _Errand) -> None:
        self._queue.append(errand)
        self._wake.set()

    def _run(self) -> None:
        backoff = Backoff(self._url.lease * LONGEST_WAIT)
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                try:
                    self._work_off()
                    backoff.reset()
                    self._log_back()
                except ClusterError as error:
                    self._log_away(error)
                    self._problem = error
                    self._hang_up(str(error))
                    gevent.sleep(backoff.next())

    def _work_off(self) -> None:
        if self._link is None:
            self._connect()
            self._on_again()
        assert self._link is not None
        self._link.check()  # what is sent over a broken one is lost
        errands = self._take()
        try:
            answers = self._link.run([errand.command for errand in errands])
        except LinkDown as error:
            # Owner checks make it harmless to carry out a post twice; an ask has to know.
            self._queue.extendleft(errand for errand in reversed(errands) if errand.is_post)
            self._fail(errands, ClusterError(f"{self._url.shown}: {error}"))
            raise
        self._hand_out(errands, answers)

    def _log_away(self, error: ClusterError) -> None:
        if self._problem is None:  # once each time
            log_now(log, logging.WARNING, "%s is away: %s", self._url.shown, error)

    def _log_back(self) -> None:
        if self._problem is not None:
            self._problem = None
            log_now(log, logging.INFO, "%s is back", self._url.shown)

    def _take(self) -> list[_Errand]:
        errands: list[_Errand] = []
        while self._queue and len(errands) < MAX_ROUND:
            errand = self._queue.popleft()
            if errand.is_post or errand.answer is not None:
                errand.sent = time.monotonic()
                errands.append(errand)
        return errands

    def _hand_out(self, errands: list[_Errand], answers: list[Any]) -> None:
        stale: list[_Errand] = []
        problem = ""
        for errand, answer in zip(errands, answers, strict=True):
            if isinstance(answer, Refusal) and answer.is_stale:
                stale.append(errand)
                problem = str(answer)
            if errand.answer is not None:
                errand.answer.set(answer)
        if stale:
            self._queue.extendleft(errand for errand in reversed(stale) if errand.is_post)
            raise ClusterError(problem)

    def _connect(self) -> None:
        self._places.look()
        address = self._places.known(self._key)
        if address is None:
            self._places.forget()
            raise ClusterError("no server has the slot of the deployment's keys")
        link = Link(self._url, address, self._timeout)
        try:
            link.open()
        except ClusterError:
            self._places.forget()
            raise
        self._link = link

    def _hang_up(self, problem: str = "") -> None:
        if self._link is not None:
            self._places.forget(problem)
            self._link.close()
            self._link = None

    def _fail(self, errands: deque[_Errand] | list[_Errand], error: ClusterError) -> None:
        for errand in errands:
            if errand.answer is not None:
                errand.answer.set_exception(error)
