"""`local:`: joins the nodes of one machine and one user over Unix sockets, with no service beside.

    LocalBackend   what a cluster asks of it; begins anew when others have declared us lost
    Mesh           one incarnation: its connections to all others, and who of them is lost
    Link           one connection: frames
    Log, Ledger    who is a member and who holds which name: one file, and what it says
    Directory      where it is, and that nobody else comes in

A member that dies is lost at once: the kernel closes its sockets. One that hangs is lost after its
lease, and what it does afterwards counts for nothing until it has joined again.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import gevent
import gevent.event

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.localdirectory import Directory, is_deployment_name
from greenrelay.cluster.localmesh import Mesh
from greenrelay.errors import ClusterError, ConfigurationError
from greenrelay.logs import log_now
from greenrelay.processes.forks import at_fork

log = logging.getLogger("greenrelay.cluster")

DEPLOYMENT: Final = "default"
LEASE_SECONDS: Final = 5.0
"""Without a sign of life: longer than a collection of garbage or a busy neighbour takes."""
MIN_LEASE_SECONDS: Final = 0.1
MAX_PENDING_BYTES: Final = 16 * 1024 * 1024
"""For one member, not taken by the kernel yet: more than that is dropped and counted."""
_FRAME_BYTES: Final = 8 * 1024
"""The most that a frame has besides an envelope's operations."""
_OPEN_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 0.2
_MAX_RETRY_SECONDS: Final = 5.0
_FLUSH_SECONDS: Final = 1.0
"""For what was handed over before a clean stop, so that all of it ends within 2 s."""


class LocalBackend:
    """A member of a deployment on this machine; see `Backend`.

    Args:
        deployment: who has another one is never met.
        lease: seconds without a sign of life after which a member is lost; of two members the
            longer counts.
        max_envelope: bytes of the longest envelope.
        max_pending: bytes for one member that the kernel has not taken, before more is dropped.
        root: where the directory is; the temporary directory by default.

    Raises:
        ConfigurationError: `deployment` can't name a directory, or the lease is too short.
    """

    def __init__(
        self,
        deployment: str = DEPLOYMENT,
        *,
        lease: float = LEASE_SECONDS,
        max_envelope: int = 1024 * 1024,
        max_pending: int = MAX_PENDING_BYTES,
        root: str | None = None,
    ) -> None:
        if not is_deployment_name(deployment):
            raise ConfigurationError(
                f"a deployment can't be called {deployment!r}: up to 64 letters, digits and ._- "
                "in ASCII, the first a letter or digit"
            )
        if lease < MIN_LEASE_SECONDS:
            raise ConfigurationError(f"lease={lease}s is too short: {MIN_LEASE_SECONDS}s at least")
        self.deployment = deployment
        self.lease = lease
        self.max_frame_bytes = max_envelope + _FRAME_BYTES
        self._max_pending = max_pending
        self._root = root
        self._receiver: Receiver | None = None
        self._directory: Directory | None = None
        self._mesh: Mesh | None = None
        self._is_stopped = False
        self._joined = gevent.event.Event()
        self._rejoining: gevent.Greenlet[..., None] | None = None

    # -- joining and leaving ----------------------------------------------------

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join; every living member that was there is up afterwards. Switches: yes.

        Raises:
            ClusterError: the directory or the name can't be had.
        """
        self._receiver = receiver
        at_fork(self._on_fork)
        try:
            self._enter(me)
        except BaseException:
            self.stop()
            raise
        if not self._joined.wait(2 * self.lease + _OPEN_SECONDS):
            self.stop()
            raise ClusterError(f"others take us for lost, in the deployment {self.deployment!r}")

    def _enter(self, me: Member) -> None:
        assert self._receiver is not None
        self._directory = self._open_directory()
        mesh = self._mesh = Mesh(self._directory, me, self._receiver, self)
        mesh.join()
        if not mesh.is_over:
            self._joined.set()

    def _open_directory(self) -> Directory:
        end = time.monotonic() + _OPEN_SECONDS
        while True:
            try:
                return Directory(self.deployment, self._root)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ClusterError(
                        f"a node that leaves the deployment {self.deployment!r} has stopped in the "
                        "middle: end it"
                    ) from None
                gevent.sleep(0.01)

    def stop(self) -> None:
        """Leave, within 2 s; what was handed over goes out first. Switches: yes; idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._rejoining is not None:
            self._rejoining.kill()
        if self._mesh is not None:
            self._mesh.flush(_FLUSH_SECONDS)
        self._leave()

    def _leave(self) -> None:
        if self._mesh is not None:
            self._mesh.leave()
            self._mesh = None
        if self._directory is not None:
            self._directory.leave()
            self._directory = None

    def on_over(self) -> None:
        """Begin anew: others have declared us lost."""
        assert self._receiver is not None
        self._joined.clear()
        me = self._receiver.on_isolated()
        if not self._is_stopped:
            self._rejoining = gevent.spawn(self._rejoin, me)

    def _rejoin(self, me: Member) -> None:
        wait = _RETRY_SECONDS
        while not self._is_stopped:
            self._leave()
            try:
                self._enter(me)
            except ClusterError as error:
                log_now(log, logging.ERROR, "can't join again yet: %s", error)
                gevent.sleep(wait)
                wait = min(2 * wait, _MAX_RETRY_SECONDS)
            else:
                return  # if we were declared lost meanwhile, another greenlet does the same

    def _on_fork(self) -> None:
        """Let go, in a child: all of it is its parent's."""
        self._is_stopped = True
        if self._mesh is not None:
            self._mesh.abandon()
            self._mesh = None
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def is_friend(self, user: int | None) -> bool:
        """Tell whether a user may be at the other end of a connection: it is our own."""
        return self._directory is not None and user in (None, self._directory.user)

    # -- bytes ------------------------------------------------------------------

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over for one member; see `Backend`. Never blocks."""
        mesh = self._mesh
        link = None if mesh is None else mesh.links.get(member)
        if link is None or not link.is_open:
            return False
        if link.pending + len(data) > self._max_pending:
            return self._refuse(f"node {member.node} reads too slowly")
        if len(data) > self.max_frame_bytes or not data:
            return self._refuse(f"{len(data)} bytes can't be sent at once")
        link.write(data)
        return True

    def _refuse(self, what: str) -> bool:
        assert self._receiver is not None
        self._receiver.on_maybe_lost(what, 1)
        return False

    def pending(self, member: Member) -> int:
        """Return how many bytes for a member the kernel has not taken yet."""
        link = None if self._mesh is None else self._mesh.links.get(member)
        return 0 if link is None else link.pending

    # -- names ------------------------------------------------------------------

    def claim(self, name: str, pid: str) -> str:
        """Return the PID that holds a name; see `Backend`. Switches: yes.

        Raises:
            ClusterError: we are no member, or the ledger can't be written.
        """
        end = time.monotonic() + self.lease
        while not self._is_stopped:
            mesh = self._mesh
            holder = None if mesh is None else mesh.claim(name, pid)
            if holder is not None:
                return holder
            self._joined.clear()  # others have declared us lost; the mesh is about to see it
            if mesh is not None:
                mesh.look_soon()
            if not self._joined.wait(max(0.0, end - time.monotonic())):
                break
        raise ClusterError(f"not in the deployment {self.deployment!r} at the moment")

    def release(self, name: str, pid: str) -> None:
        """Give a name back, if `pid` holds it. Never blocks."""
        if self._mesh is not None:
            self._mesh.release(name, pid)
