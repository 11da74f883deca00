"""The way of a client to the nodes of `local:`: Unix sockets, in a thread and without gevent.

    [any thread] publish ─► what the kernel takes at once ; the rest goes out in the thread
    [the thread] what comes ─► on_bytes ; a sign of life, and a look at the ledger, now and then

A client that was declared lost, as it was stopped for long, is a member again under another
incarnation.
"""

from __future__ import annotations

import _socket
import contextlib
import logging
import threading
import time
from typing import Final

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.localvisit import LocalVisit
from greenrelay.cluster.urls import ClusterURL
from greenrelay.errors import ClusterError
from greenrelay.logs import log_now

log = logging.getLogger("greenrelay.cluster")

LEASE_SECONDS: Final = 15.0
"""As for Redis: nobody waits for a client, and its program may be busy elsewhere."""
LOOKS_PER_LEASE: Final = 10
OPEN_SECONDS: Final = 5.0
"""For those who were there before; who does not answer for so long hangs."""
STOP_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.2


class LocalWay:
    """A client's way to the nodes of one machine; see `Way`."""

    def __init__(self, where: ClusterURL) -> None:
        self.is_joined = False
        self.problem = ""
        self._where = where
        self._lease = LEASE_SECONDS if where.lease is None else where.lease
        self._visit: LocalVisit | None = None
        self._waker: tuple[_socket.socket, _socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._settled = threading.Event()

    # -- for any thread --------------------------------------------------------------------

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join; every living member that was there is up afterwards. Blocks.

        Raises:
            ClusterError: the directory can't be used.
        """
        self._receiver = receiver
        if self._waker is None:
            self._waker = _socket.socketpair()
            for sock in self._waker:
                sock.setblocking(False)
        self._visit = self._enter(me)
        self._thread = threading.Thread(target=self._run, name="greenrelay client", daemon=True)
        self._thread.start()
        self._settled.wait(OPEN_SECONDS)

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over; `False`: not handed over."""
        visit = self._visit
        link = None if visit is None else visit.links.get(member)
        if link is None or not link.write(data):
            return False
        if link.pending:
            self._wake()
        return True

    def pending(self, member: Member) -> int:
        """Return how many bytes are not taken by the kernel."""
        visit = self._visit
        link = None if visit is None else visit.links.get(member)
        return 0 if link is None else link.pending

    def stop(self) -> None:
        """Leave; what was handed over goes out first. Blocks, for 2 s at most; idempotent."""
        self._is_stopping = True
        thread = self._thread
        if thread is None:
            self._close_waker()
        elif thread is not threading.current_thread():
            self._wake()
            thread.join(STOP_SECONDS + 1.0)

    def abandon(self) -> None:
        """In a child that was forked: let go of what is the parent's."""
        self._is_stopping = True
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.abandon()
        self._close_waker()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            # It is full, and so awake; or closed, and has ended.
            with contextlib.suppress(OSError):
                waker[1].send(b"\0")

    def _close_waker(self) -> None:
        waker, self._waker = self._waker, None
        for sock in waker or ():
            sock.close()

    def _enter(self, me: Member) -> LocalVisit:
        assert self._waker is not None
        where = self._where
        try:
            return LocalVisit(
                me,
                self._receiver,
                where.deployment,
                lease=self._lease,
                max_envelope=where.max_envelope,
                waker=self._waker[0],
            )
        except ClusterError:
            raise
        except OSError as error:
            raise ClusterError(f"can't join local:{where.deployment}: {error}") from None

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                try:
                    self._stay()
                except OSError as error:  # ClusterError is one
                    self.problem = str(error)
                    self._begin_anew()
                except Exception:  # the outermost: a bug of ours must not end the client
                    log_now(log, logging.ERROR, "a client's connections failed", exc_info=True)
                    self._begin_anew()
            with contextlib.suppress(OSError):
                self._flush()
        finally:
            self._end_visit()
            self._close_waker()
            self._settled.set()

    def _stay(self) -> None:
        """Deal with what comes, until we are to stop, or are no member any more."""
        visit = self._visit
        look_at = 0.0
        while visit is not None and not self._is_stopping:
            if not self.is_joined and visit.is_complete:
                self.is_joined = True
                self._settled.set()
            now = time.monotonic()
            if now >= look_at:
                visit.look()
                look_at = now + self._lease / LOOKS_PER_LEASE
            visit.wait(look_at - now if self.is_joined else min(RETRY_SECONDS, look_at - now))

    def _begin_anew(self) -> None:
        """Lose everybody, and come back as another member."""
        visit = self._visit
        self.is_joined = False
        for member in list(visit.links) if visit is not None else ():
            self._receiver.on_lost(member)
        self._end_visit()
        while not self._is_stopping and self._visit is None:
            try:
                self._visit = self._enter(self._receiver.on_isolated())
            except ClusterError as error:
                self.problem = str(error)
                time.sleep(RETRY_SECONDS)

    def _end_visit(self) -> None:
        visit, self._visit = self._visit, None
        self.is_joined = False
        if visit is not None:
            visit.leave()

    def _flush(self) -> None:
        end = time.monotonic() + STOP_SECONDS
        visit = self._visit
        while visit is not None and visit.has_pending and time.monotonic() < end:
            visit.wait(RETRY_SECONDS)
