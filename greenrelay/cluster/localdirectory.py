"""The private directory in which the members of one deployment on this machine meet.

    {temporary directory}/greenrelay-{uid}/{deployment}/

Rules: it is ours and open to nobody else, or it is refused; what is in it is reached by its
descriptor, so that nobody can put another in its place between the look and the use. Who uses it
holds a shared lock on it: cleaners of temporary directories leave it alone (tmpfiles.d(5)), and
the last one to leave, who gets the lock for itself, takes it away.

Not `XDG_RUNTIME_DIR`: a service, a cron job and a shell of one user would not meet, and it is
taken away with the user's last logout.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from typing import Final

from greenrelay.errors import ClusterError

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 100
"""For one that is taken away while it is opened, each time."""


def is_deployment_name(name: str) -> bool:
    """Tell whether a deployment may be called so: it is the name of a directory."""
    return _NAME.fullmatch(name) is not None


class Directory:
    """An open directory, made if there is none.

    Args:
        root: where it is made; the temporary directory by default.

    Raises:
        ClusterError: it is not ours alone, or can't be made.
        BlockingIOError: the last member is just taking it away; try again.
    """

    def __init__(self, deployment: str, root: str | None = None) -> None:
        self._root = root or tempfile.gettempdir()
        self.base = os.path.join(self._root, f"greenrelay-{os.geteuid()}")
        self.path = os.path.join(self.base, deployment)
        self.user = os.geteuid()
        """Whose it is."""
        self._deployment = deployment
        try:
            self.fd = self._open()
        except (BlockingIOError, ClusterError):
            raise
        except OSError as error:
            raise ClusterError(
                f"can't use the directory {self.path}: {error.strerror or error}"
            ) from None

    def _open(self) -> int:
        os.stat(self._root)  # or it is told that there is none
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError), _closing(self._open_base()) as base:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._deployment, 0o700, dir_fd=base)
                fd = _open_private(self._deployment, self.path, base)
                try:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    if self._is_at_path(fd):
                        return fd
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)
        raise BlockingIOError

    def _open_base(self) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.base, 0o700)
        return _open_private(self.base, self.base)

    def _is_at_path(self, fd: int) -> bool:
        here = os.fstat(fd)
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def is_in_place(self) -> bool:
        """Tell whether newcomers still find it: nobody has taken it away under us."""
        return self._is_at_path(self.fd)

    def names(self) -> list[str]:
        """Return what is in it."""
        return os.listdir(self.fd)

    def open(self, name: str, flags: int) -> int:
        """Return the descriptor of a file in it, which only we may read and write."""
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self.fd)

    def create(self, name: str, content: bytes, temporary: str) -> bool:
        """Make a file with its content at once; return `False` if there is one of that name.

        Args:
            temporary: the name under which it is written.
        """
        fd = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            with open(fd, "wb") as file:
                file.write(content)
            os.link(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileExistsError:
            return False
        finally:
            self.remove(temporary)
        return True

    def remove(self, name: str) -> None:
        """Remove a file; idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def leave(self) -> None:
        """Close it; the last one takes it away."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Nobody else has it open. Whoever opens it now waits, or finds it gone.
            for name in self.names():
                self.remove(name)
            if self.is_in_place():
                os.rmdir(self.path)
                os.rmdir(self.base)
        except OSError:
            pass  # others are in it, or in its parent: they take it away
        finally:
            self.close()

    def close(self) -> None:
        """Close it, and leave everything as it is; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _open_private(name: str, path: str, parent: int | None = None) -> int:
    try:
        fd = os.open(name, _FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise ClusterError(f"{path} is a symbolic link or no directory: remove it") from None
    found = os.fstat(fd)
    fault = ""
    if found.st_uid != os.geteuid():
        fault = f"belongs to user {found.st_uid}, and this is user {os.geteuid()}: remove it"
    elif mode := stat.S_IMODE(found.st_mode) & 0o077:
        fault = f"is open to others (mode {mode:#o} too much): chmod 700 it"
    if fault:
        os.close(fd)
        raise ClusterError(f"{path} {fault}")
    return fd


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
