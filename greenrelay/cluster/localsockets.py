"""Unix sockets in a private directory: whom they are of, and how what goes over them begins.

A socket's path may have 107 bytes, and a temporary directory has more now and then. So where there
is a `/proc`, it is reached by the descriptor of its directory. That also finds the directory which
was checked, whatever stands at its path by now.
"""

from __future__ import annotations

import _socket  # the plain class, whatever has been monkey-patched
import contextlib
import json
import os
import socket
import struct
import sys
from typing import Final

from greenrelay.cluster.localdirectory import Directory

BACKLOG: Final = 1024
"""Of connections: all members of a deployment at once."""
_PROC: Final = "/proc/self/fd"
_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group. Source: unix(7), `struct ucred`."""
_SUFFIX: Final = ".sock"
_WORD: Final = "greenrelay"

HEAD: Final = struct.Struct("!I")
"""What a frame begins with: how long the rest of it is."""


def peer_user(sock: _socket.socket) -> int | None:
    """Return the user at the other end, as the kernel knows it; `None`: it does not tell."""
    if not sys.platform.startswith("linux"):
        return None  # the directory's permissions have to do
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(found)[1]
    return user


def listen(directory: Directory, incarnation: str) -> _socket.socket:
    """Return a non-blocking socket on which a member listens.

    Raises:
        OSError: it can't.
    """
    sock = _unix_socket()
    try:
        sock.bind(_path(directory, incarnation))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def dial(directory: Directory, incarnation: str) -> _socket.socket:
    """Return a non-blocking socket that is connected to a member's.

    Raises:
        BlockingIOError: it has no room at the moment; try again.
        OSError: nobody listens there: it is dead.
    """
    sock = _unix_socket()
    try:
        sock.connect(_path(directory, incarnation))
    except BaseException:
        sock.close()
        raise
    return sock


def accept(listener: _socket.socket) -> _socket.socket:
    """Return the next connection.

    Raises:
        BlockingIOError: there is none.
        OSError: the system has no descriptor for it.
    """
    fd, _address = listener._accept()  # type: ignore[attr-defined]  # typeshed has `socket`'s only
    sock = _socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def remove_socket(directory: Directory, incarnation: str) -> None:
    """Remove what a member has listened on; idempotent."""
    with contextlib.suppress(OSError):
        directory.remove(incarnation + _SUFFIX)


def _unix_socket() -> _socket.socket:
    sock = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def _path(directory: Directory, incarnation: str) -> str:
    parent = f"{_PROC}/{directory.fd}"
    return os.path.join(parent if os.path.isdir(parent) else directory.path, incarnation + _SUFFIX)


def hello(incarnation: str) -> bytes:
    """Return the first frame that each side sends: who it is."""
    return json.dumps([_WORD, incarnation]).encode()


def read_hello(data: bytes) -> str:
    """Return the incarnation that a first frame names, `""` if it is no such frame."""
    try:
        word, key = json.loads(data)
    except (ValueError, TypeError):
        return ""
    return key if word == _WORD and isinstance(key, str) else ""
