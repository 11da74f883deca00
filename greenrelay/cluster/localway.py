"""The way of a client to the nodes of `local:`: Unix sockets, in a thread and without gevent.

    join    a record in the ledger; a connection to each member that was there, and each that comes
    up      both have said who they are
    lost    the ledger says so, or the connection has ended

It is a member as the nodes are, by the same files and frames; but it judges nobody: that a node
hangs, the others find out. One that was declared lost itself, as it was stopped for long, is a
member again under another incarnation.

Rules: connections and the ledger are the thread's own; other threads only append to what one
sends. The receiver is never called with a lock held.
"""

from __future__ import annotations

import _socket
import contextlib
import logging
import os
import selectors
import threading
import time
from typing import Final

from greenrelay.cluster import localsockets
from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.locallog import Log
from greenrelay.cluster.localpipe import Pipe
from greenrelay.cluster.urls import ClusterURL
from greenrelay.errors import ClusterError

log = logging.getLogger("greenrelay.cluster")

LEASE_SECONDS: Final = 15.0
"""As for Redis: nobody waits for a client, and its program may be busy elsewhere."""
LOOKS_PER_LEASE: Final = 10
STOP_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.2
_OPEN_SECONDS: Final = 5.0
_DIRECTORY_SECONDS: Final = 2.0
_FRAME_BYTES: Final = 8 * 1024
_READ, _BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE
_BEAT: Final = b""


class LocalWay:
    """A client's way to the nodes of one machine; see `Way`."""

    def __init__(self, where: ClusterURL) -> None:
        self.is_joined = False
        self.problem = ""
        self._deployment = where.deployment
        self._lease = LEASE_SECONDS if where.lease is None else where.lease
        self._max_bytes = where.max_envelope + _FRAME_BYTES
        self._links: dict[Member, Pipe] = {}
        self._pipes: dict[_socket.socket, Pipe] = {}
        self._elders: set[str] = set()
        """Members that were there before us: we connect to them, and the others to us."""
        self._known: frozenset[str] = frozenset()
        self._selector: selectors.BaseSelector | None = None
        self._directory: Directory | None = None
        self._log: Log | None = None
        self._listener: _socket.socket | None = None
        self._waker: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._settled = threading.Event()

    # -- for any thread --------------------------------------------------------------------

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join; every living member that was there is up afterwards. Blocks.

        Raises:
            ClusterError: the directory can't be used.
        """
        self._me, self._receiver = me, receiver
        self._enter()
        self._thread = threading.Thread(target=self._run, name="greenrelay client", daemon=True)
        self._thread.start()
        self._settled.wait(_OPEN_SECONDS)

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over; `False`: not handed over."""
        link = self._links.get(member)
        if link is None or not link.write(data):
            return False
        if link.pending:
            self._wake()
        return True

    def pending(self, member: Member) -> int:
        """Return how many bytes are not taken by the kernel."""
        link = self._links.get(member)
        return 0 if link is None else link.pending

    def stop(self) -> None:
        """Leave; what was handed over goes out first. Blocks, for 2 s at most; idempotent."""
        self._is_stopping = True
        thread = self._thread
        if thread is None:
            self._leave()
        elif thread is not threading.current_thread():
            self._wake()
            thread.join(STOP_SECONDS + 1.0)

    def abandon(self) -> None:
        """In a child that was forked: close our copies, and leave what is the parent's alone."""
        self._is_stopping = True
        for pipe in self._pipes.values():
            pipe.abandon()
        self._pipes.clear()
        self._let_go()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            with contextlib.suppress(OSError):  # it is full, and so awake; or closed, and has ended
                os.write(waker[1], b"\0")

    # -- joining and leaving ---------------------------------------------------------------

    def _enter(self) -> None:
        try:
            directory = self._directory = self._open_directory()
            log = self._log = Log(directory, self._me.incarnation)
            self._listener = localsockets.listen(directory, self._me.incarnation)
            log.join(self._me.node, self._lease)
            if self._waker is None:
                self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._selector = selectors.DefaultSelector()
            self._selector.register(self._waker[0], _READ)
            self._selector.register(self._listener.fileno(), _READ)
        except BaseException as error:
            self._leave()
            if isinstance(error, OSError) and not isinstance(error, ClusterError):
                raise ClusterError(f"can't join local:{self._deployment}: {error}") from None
            raise
        order = list(log.ledger.members)
        self._known = frozenset(order)
        mine = order.index(self._me.incarnation) if self._me.incarnation in order else 0
        self._elders = set(order[:mine])
        self._dial()

    def _open_directory(self) -> Directory:
        end = time.monotonic() + _DIRECTORY_SECONDS
        while True:
            try:
                return Directory(self._deployment)
            except BlockingIOError:  # its last member is just taking it away
                if time.monotonic() > end:
                    raise ClusterError(
                        f"a node that leaves local:{self._deployment} has stopped in the middle"
                    ) from None
                time.sleep(0.01)

    def _leave(self) -> None:
        """Be no member any more; the others learn it at once."""
        if self._log is not None and self._directory is not None:
            try:
                self._log.declare_gone(self._me.incarnation)
            except ClusterError as error:
                self.problem = str(error)
            localsockets.remove_socket(self._directory, self._me.incarnation)
            self._directory.leave()
        self._let_go()

    def _let_go(self) -> None:
        """Close what is open, and change nothing."""
        self.is_joined = False
        for pipe in list(self._pipes.values()):
            pipe.close()
        self._pipes.clear()
        self._links.clear()
        for thing in (self._listener, self._log, self._directory, self._selector):
            if thing is not None:
                thing.close()
        self._listener = self._log = self._directory = self._selector = None
        if self._is_stopping and self._waker is not None:
            waker, self._waker = self._waker, None
            for fd in waker:
                os.close(fd)

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                try:
                    self._turn()
                except OSError as error:  # ClusterError is one
                    self.problem = str(error)
                    self._begin_anew()
                except Exception:  # the outermost: a bug of ours must not end the client
                    log.exception("a client's connections failed")
                    self._begin_anew()
            with contextlib.suppress(OSError):
                self._flush_all()
        finally:
            self._leave()
            self._settled.set()

    def _turn(self) -> None:
        """Wait for something to happen, and deal with it."""
        interval = self._lease / LOOKS_PER_LEASE
        look_at = time.monotonic() + interval
        while not self._is_stopping and time.monotonic() < look_at:
            self._settle()
            for key, _ in self._select(max(0.0, look_at - time.monotonic())):
                self._serve(key.fd)
        if not self._is_stopping:
            for link in list(self._links.values()):
                link.write(_BEAT)
            self._look()
            self._dial()

    def _select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        assert self._selector is not None
        for pipe in self._pipes.values():
            wanted = _BOTH if pipe.pending else _READ
            if self._selector.get_key(pipe.sock.fileno()).events != wanted:
                self._selector.modify(pipe.sock.fileno(), wanted, pipe)
        if not self._settled.is_set():
            seconds = min(seconds, RETRY_SECONDS)
        return self._selector.select(seconds)

    def _serve(self, fd: int) -> None:
        assert self._selector is not None
        assert self._listener is not None
        if self._waker is not None and fd == self._waker[0]:
            os.read(fd, 4096)
        elif fd == self._listener.fileno():
            self._meet(localsockets.accept(self._listener), None)
        elif (key := self._selector.get_map().get(fd)) is not None:
            key.data.flush()
            self._hear(key.data)

    def _hear(self, pipe: Pipe) -> None:
        frames, is_open = pipe.read(self._max_bytes)
        for frame in frames:
            if pipe.member is None:
                is_open = self._greet(pipe, frame) and is_open
            elif frame:
                self._receiver.on_bytes(pipe.member, frame)
            else:
                self._look()
        if not is_open and pipe.sock in self._pipes:
            self._drop(pipe)
            self._look()

    def _settle(self) -> None:
        """Note that all who were there before are up, or gone."""
        if not self.is_joined:
            up = {member.incarnation for member in self._links}
            if self._elders <= up:
                self.is_joined = True
                self._settled.set()

    # -- connections -----------------------------------------------------------------------

    def _dial(self) -> None:
        assert self._directory is not None
        under_way = {each.incarnation for each in self._pipes.values()}
        for key in self._elders - under_way:
            try:
                sock = localsockets.dial(self._directory, key)
            except BlockingIOError:
                continue  # it has no room at the moment
            except OSError:
                self._declare_gone(key)
                continue
            pipe = self._meet(sock, key)
            if pipe is not None:
                pipe.write(localsockets.hello(self._me.incarnation))

    def _meet(self, sock: _socket.socket, key: str | None) -> Pipe | None:
        assert self._selector is not None
        assert self._directory is not None
        if localsockets.peer_user(sock) not in (None, self._directory.user):
            sock.close()
            return None
        pipe = self._pipes[sock] = Pipe(sock, key)
        self._selector.register(sock.fileno(), _READ, pipe)
        return pipe

    def _greet(self, pipe: Pipe, frame: bytes) -> bool:
        """Take the first frame, which says who is there; return whether it does."""
        assert self._log is not None
        key = localsockets.read_hello(frame)
        self._log.sync()
        entry = self._log.ledger.members.get(key)
        if entry is None or pipe.incarnation not in (None, key):
            return False
        if pipe.incarnation is None:
            pipe.write(localsockets.hello(self._me.incarnation))
        pipe.member = Member(entry.node, key)
        pipe.incarnation = key
        self._links[pipe.member] = pipe
        self._receiver.on_up(pipe.member)
        return True

    def _drop(self, pipe: Pipe) -> None:
        assert self._selector is not None
        self._selector.unregister(pipe.sock.fileno())
        del self._pipes[pipe.sock]
        pipe.close()
        member = pipe.member
        if member is not None and self._links.pop(member, None) is not None:
            self._receiver.on_lost(member)
            self._declare_gone(member.incarnation)

    # -- the ledger ------------------------------------------------------------------------

    def _declare_gone(self, key: str) -> None:
        assert self._log is not None
        self._elders.discard(key)
        self._log.sync()  # it may have left
        if self._log.is_member:
            self._log.declare_gone(key)

    def _look(self) -> None:
        """Act on what the ledger says.

        Raises:
            ClusterError: we are no member any more.
        """
        assert self._log is not None
        assert self._directory is not None
        self._log.sync()
        if not self._log.is_member or not self._directory.is_in_place():
            raise ClusterError("the nodes have taken this client for lost")
        members = frozenset(self._log.ledger.members)
        gone, self._known = self._known - members, members
        self._elders -= gone
        for pipe in list(self._pipes.values()):
            if pipe.incarnation in gone:
                self._drop(pipe)

    def _begin_anew(self) -> None:
        """Lose everybody, and come back as another member."""
        for member in list(self._links):
            self._receiver.on_lost(member)
        self._leave()
        while not self._is_stopping:
            self._me = self._receiver.on_isolated()
            try:
                self._enter()
                return
            except ClusterError as error:
                self.problem = str(error)
                time.sleep(RETRY_SECONDS)

    def _flush_all(self) -> None:
        end = time.monotonic() + STOP_SECONDS
        while any(link.pending for link in self._links.values()) and time.monotonic() < end:
            for key, _ in self._select(RETRY_SECONDS):
                self._serve(key.fd)
