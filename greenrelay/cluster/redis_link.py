"""One connection to one Redis server, over gevent's sockets.

redis-py speaks the protocol and logs in; the socket is ours, so that it holds up nobody but its own
greenlet, in programs that are not monkey-patched too. Its errors become ours here, nowhere else:
`LinkDown` when the connection is no good, `Refusal` when the server has said no to one command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import gevent.socket
import gevent.ssl
from redis.connection import Connection
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from greenrelay.cluster.redis_urls import Address, Login, RedisUrl, Tls
from greenrelay.errors import ClusterError

CONNECT_SECONDS: Final = 2.0
"""A server that takes longer to accept is as good as away."""

Command = tuple[str | bytes, ...]

STALE: Final = frozenset("MOVED ASK CLUSTERDOWN TRYAGAIN LOADING MASTERDOWN READONLY".split())
"""Refusals that mean: not here, or not now. The command was not carried out."""


class LinkDown(ClusterError):
    """Connect again; what was sent and not answered may have been carried out, or not."""


class Refusal(Exception):
    """The server's answer to one command was an error."""

    @property
    def code(self) -> str:
        """Its first word: `MOVED`, `WRONGPASS`, …"""
        return str(self).partition(" ")[0]

    @property
    def is_stale(self) -> bool:
        """Tell whether the command belongs to another server, or to this one later."""
        return self.code in STALE


class Link:
    """A connection; used by one greenlet for writing and by one for reading.

    Args:
        url: says who we are and whether TLS is spoken.
        address: of the server.
        timeout: seconds that an answer, or a write, may take; `None`: for ever.
        login: instead of the URL's.
    """

    def __init__(
        self, url: RedisUrl, address: Address, timeout: float | None, login: Login | None = None
    ) -> None:
        self.address: Final = address
        self.shown: Final = f"{address[0]}:{address[1]}"
        who = login or url.login
        self._connection: Any = _GreenConnection(
            url.tls,
            host=address[0],
            port=address[1],
            db=url.db if login is None else 0,
            username=who.username,
            password=who.password,
            socket_timeout=timeout,
            socket_connect_timeout=CONNECT_SECONDS,
            # Pushed and answered in one row, as they come: for that the older protocol.
            protocol=2,
        )

    def open(self) -> None:
        """Connect and log in. Switches: yes.

        Raises:
            LinkDown: it can't; one line, without the password.
        """
        # The handshake has a time of its own: a subscriber waits for ever, but not for this.
        with _as_ours(self.shown), gevent.Timeout(2 * CONNECT_SECONDS, TimeoutError("no answer")):
            try:
                self._connection.connect()
                # Without a password one may connect, and no more: it shows with the first command.
                self.run([("PING",)])
            except BaseException:
                self._connection.disconnect()
                raise

    def send(self, commands: Iterable[Command]) -> None:
        """Write commands. Switches: yes.

        Raises:
            LinkDown: how many of them have arrived is not known.
        """
        connection = self._connection
        with _as_ours(self.shown):
            _refuse_closed(connection)
            packed = b"".join(b"".join(connection.pack_command(*one)) for one in commands)
            connection.send_packed_command([packed], check_health=False)

    def receive(self) -> Any:
        """Return the next answer or pushed message; an error is a `Refusal`. Switches: yes.

        Raises:
            LinkDown: there is none.
        """
        with _as_ours(self.shown):
            _refuse_closed(self._connection)
            try:
                return self._connection.read_response()
            except ResponseError as error:
                return _read_refusal(error)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers of all commands, in one round trip; errors are `Refusal`s.

        Switches: yes.

        Raises:
            LinkDown: which of them were carried out is not known.
        """
        self.send(commands)
        return [self.receive() for _ in commands]

    def check(self) -> None:
        """Find out whether the server has hung up while nothing was asked. Never blocks.

        Raises:
            LinkDown: it has.
        """
        with _as_ours(self.shown):
            self._connection.check()

    def close(self) -> None:
        """Hang up; only for the greenlet that reads. Never blocks."""
        self._connection.disconnect()

    def break_off(self) -> None:
        """Have the greenlet that reads, or does so next, get `LinkDown`. Never blocks."""
        self._connection.break_off()


class _GreenConnection(Connection):
    """redis-py's connection, over a socket of gevent's."""

    def __init__(self, tls: Tls | None, **options: Any) -> None:
        self._tls = tls
        self._seconds = options["socket_timeout"]
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's

    def _connect(self) -> Any:
        address = (self.host, self.port)
        sock = gevent.socket.create_connection(address, timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                sock = _make_context(self._tls).wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        sock.settimeout(self._seconds)
        return sock

    def break_off(self) -> None:
        """End the connection, and leave it to the reader to close it: it may be in its middle."""
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it has ended already
                # Not a TLS socket's own: that takes its state away from under the reader.
                gevent.socket.socket.shutdown(self._sock, gevent.socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise `ConnectionError` if the idle connection has ended."""
        sock: Any = self._sock
        _refuse_closed(self)
        if self._tls is None:  # a TLS server may say something of its own accord
            sock.settimeout(0.0)
            try:
                sock.recv(1, gevent.socket.MSG_PEEK)
            except BlockingIOError:
                return
            finally:
                sock.settimeout(self._seconds)
            raise ConnectionError("the server has closed the connection")


def _make_context(tls: Tls) -> gevent.ssl.SSLContext:
    # Not `create_default_context()`: its sockets would hold up all greenlets.
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.checks_hostname and tls.is_verified
    if not tls.is_verified:
        context.verify_mode = gevent.ssl.CERT_NONE
    try:
        if tls.ca_certs:
            context.load_verify_locations(tls.ca_certs)
        else:
            context.load_default_certs()
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile)
    except OSError as error:
        files = ", ".join(filter(None, (tls.ca_certs, tls.certfile, tls.keyfile)))
        raise OSError(f"can't use the TLS files {files} ({error.strerror or error})") from None
    return context


def _refuse_closed(connection: Any) -> None:
    # Else redis-py would connect again by itself, and what is lost in between would not be told.
    if connection._sock is None:
        raise ConnectionError("the connection has been closed")


def _read_refusal(error: ResponseError) -> Refusal:
    # redis-py takes the code off the errors it has a class of its own for.
    text = str(error)
    code = getattr(error, "status_code", None) or _CODES.get(type(error).__name__)
    return Refusal(f"{code} {text}" if code and not text.startswith(code) else text)


_CODES: Final = {
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "MasterDownError": "MASTERDOWN",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
}


@contextlib.contextmanager
def _as_ours(shown: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise LinkDown(f"Redis at {shown} refuses the login: {_first_line(error)}") from None
    except (RedisError, OSError) as error:
        raise LinkDown(f"Redis at {shown}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
