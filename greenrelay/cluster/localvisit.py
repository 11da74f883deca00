"""One incarnation of a client among the nodes of `local:`: its connections, and the ledger.

    join    a record in the ledger; a connection to each member that was there, and each that comes
    up      both have said who they are
    lost    the ledger says so, or the connection has ended

It is a member as the nodes are, by the same files and frames; but it judges nobody: that a node
hangs, the others find out.

Rules: all of it is the way's thread's own, but for `links`, in which any thread may look. The
receiver is never called with a lock held.
"""

from __future__ import annotations

import _socket
import contextlib
import selectors
import time
from typing import Final

from greenrelay.cluster import localsockets
from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.locallog import Log
from greenrelay.cluster.localpipe import Pipe
from greenrelay.errors import ClusterError

DIRECTORY_SECONDS: Final = 2.0
_FRAME_BYTES: Final = 8 * 1024
_READ, _BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE
_BEAT: Final = b""


class LocalVisit:
    """A member of a deployment, from its join to its end; `look()` first, and now and then.

    Args:
        me: who it is.
        receiver: hears of the others.
        deployment, lease, max_envelope: as the cluster's URL has them.
        waker: a socket that ends a wait when there is something to read from it.

    Raises:
        ClusterError: the directory or the ledger can't be used.
    """

    def __init__(
        self,
        me: Member,
        receiver: Receiver,
        deployment: str,
        *,
        lease: float,
        max_envelope: int,
        waker: _socket.socket,
    ) -> None:
        self.links: dict[Member, Pipe] = {}
        """Those who are up."""
        self._me = me
        self._receiver = receiver
        self._max_bytes = max_envelope + _FRAME_BYTES
        self._waker = waker
        self._pipes: dict[_socket.socket, Pipe] = {}
        self._elders: set[str] = set()
        """Members that were there before us: we connect to them, and the others to us."""
        self._known: frozenset[str] = frozenset()
        self._directory = _open_directory(deployment)
        with contextlib.ExitStack() as opened:
            opened.callback(self._directory.leave)
            self._log = Log(self._directory, me.incarnation)
            opened.callback(self._log.close)
            self._listener = localsockets.listen(self._directory, me.incarnation)
            opened.callback(localsockets.remove_socket, self._directory, me.incarnation)
            opened.callback(self._listener.close)
            self._log.join(me.node, lease)
            opened.pop_all()
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker.fileno(), _READ)
        self._selector.register(self._listener.fileno(), _READ)
        order = list(self._log.ledger.members)
        self._known = frozenset(order)
        if me.incarnation in order:  # else the first look finds out
            self._elders = set(order[: order.index(me.incarnation)])

    @property
    def is_complete(self) -> bool:
        """Whether all who were there before are up, or gone."""
        return self._elders <= {member.incarnation for member in self.links}

    @property
    def has_pending(self) -> bool:
        """Whether something waits to be sent."""
        return any(link.pending for link in self.links.values())

    def wait(self, seconds: float) -> None:
        """Deal with what comes, for so long at most.

        Raises:
            ClusterError: we are no member any more.
        """
        for pipe in self._pipes.values():
            wanted = _BOTH if pipe.pending else _READ
            if self._selector.get_key(pipe.sock.fileno()).events != wanted:
                self._selector.modify(pipe.sock.fileno(), wanted, pipe)
        for key, _ in self._selector.select(seconds):
            self._serve(key.fd)

    def look(self) -> None:
        """Show the others that we live, and act on what the ledger says.

        Raises:
            ClusterError: we are no member any more.
        """
        for link in list(self.links.values()):
            link.write(_BEAT)
        self._read_ledger()
        self._dial()

    # -- connections -----------------------------------------------------------------------

    def _serve(self, fd: int) -> None:
        if fd == self._waker.fileno():
            self._waker.recv(4096)
        elif fd == self._listener.fileno():
            with contextlib.suppress(BlockingIOError):  # it has hung up meanwhile
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
                self._read_ledger()
        if not is_open and pipe.sock in self._pipes:
            self._drop(pipe)
            self._read_ledger()

    def _dial(self) -> None:
        under_way = {pipe.incarnation for pipe in self._pipes.values()}
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
        if localsockets.peer_user(sock) not in (None, self._directory.user):
            sock.close()
            return None
        pipe = self._pipes[sock] = Pipe(sock, key)
        self._selector.register(sock.fileno(), _READ, pipe)
        return pipe

    def _greet(self, pipe: Pipe, frame: bytes) -> bool:
        """Take the first frame, which says who is there; return whether it does."""
        key = localsockets.read_hello(frame)
        self._log.sync()
        entry = self._log.ledger.members.get(key)
        if entry is None or pipe.incarnation not in (None, key):
            return False
        if pipe.incarnation is None:
            pipe.write(localsockets.hello(self._me.incarnation))
        pipe.member = Member(entry.node, key)
        pipe.incarnation = key
        self.links[pipe.member] = pipe
        self._receiver.on_up(pipe.member)
        return True

    def _drop(self, pipe: Pipe) -> None:
        self._selector.unregister(pipe.sock.fileno())
        del self._pipes[pipe.sock]
        pipe.close()
        member = pipe.member
        if member is not None and self.links.pop(member, None) is not None:
            self._receiver.on_lost(member)
            self._declare_gone(member.incarnation)

    # -- the ledger ------------------------------------------------------------------------

    def _declare_gone(self, key: str) -> None:
        self._elders.discard(key)
        self._log.sync()  # it may have left
        if self._log.is_member:
            self._log.declare_gone(key)

    def _read_ledger(self) -> None:
        self._log.sync()
        if not self._log.is_member or not self._directory.is_in_place():
            raise ClusterError("the nodes have taken this client for lost")
        members = frozenset(self._log.ledger.members)
        gone, self._known = self._known - members, members
        self._elders -= gone
        for pipe in list(self._pipes.values()):
            if pipe.incarnation in gone:
                self._drop(pipe)

    # -- the end ---------------------------------------------------------------------------

    def leave(self) -> None:
        """Be no member any more; the others learn it at once."""
        with contextlib.suppress(ClusterError):  # then they learn it when the connections end
            self._log.declare_gone(self._me.incarnation)
        localsockets.remove_socket(self._directory, self._me.incarnation)
        for pipe in self._pipes.values():
            pipe.close()
        self._close()
        self._directory.leave()

    def abandon(self) -> None:
        """In a child that was forked: close our copies, and change nothing."""
        for pipe in self._pipes.values():
            pipe.abandon()
        self._close()
        self._directory.close()

    def _close(self) -> None:
        self._pipes.clear()
        self.links.clear()
        self._listener.close()
        self._selector.close()
        self._log.close()


def _open_directory(deployment: str) -> Directory:
    end = time.monotonic() + DIRECTORY_SECONDS
    while True:
        try:
            return Directory(deployment)
        except BlockingIOError:  # its last member is just taking it away
            if time.monotonic() > end:
                raise ClusterError(
                    f"a node that leaves local:{deployment} has stopped in the middle"
                ) from None
            time.sleep(0.01)
