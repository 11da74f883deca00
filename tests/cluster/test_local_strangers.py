"""Whoever connects without being a member: little is kept of it, and little said (§7.1)."""

import _socket
import os
import sys
import tempfile
from pathlib import Path

import pytest
from gevent import subprocess

from greenrelay.cluster.local import LocalBackend
from greenrelay.testing import wait_until
from tests.cluster.backends import Joiner

AS_ANOTHER_USER = """
import ctypes, os, socket, sys
os.seteuid(65534)
ctypes.CDLL(None).setfsuid(0)  # past the directory, as a hole in its permissions would let one
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.settimeout(5)
print(sock.recv(1))
"""


@pytest.fixture
def tmp_path():
    """A short one: the name of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def join(tmp_path):
    joiner = Joiner(lambda: LocalBackend(root=str(tmp_path), lease=0.3))
    yield joiner
    joiner.stop_all()


@pytest.fixture
def one(join):
    return join()


@pytest.fixture
def path(one, tmp_path):
    """Where it listens."""
    (path,) = tmp_path.glob("*/*/*.sock")
    return str(path)


def connect(path):
    sock = _socket.socket(_socket.AF_UNIX)
    sock.connect(path)
    sock.setblocking(False)
    return sock


def is_closed(sock):
    try:
        return sock.recv(100) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x02{}",
        b"\0\0\0\0",
        b"\0\0\0\x04null",
        b"\0\0\0\x04\xff\xff\xff\xff",
        b'\0\0\0\x18["greenrelay", "nobody"]',
        b"\0\0\0\x12[[[[[[[[[[[[[[[[[[",
    ],
)
def test_rubbish_achieves_a_line_of_log_and_the_end(path, rubbish, caplog):
    sock = connect(path)
    sock.send(rubbish)
    wait_until(lambda: is_closed(sock))
    sock.close()
    wait_until(lambda: caplog.records)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("closed a connection of a stranger: ")


def test_much_rubbish_achieves_a_line_a_second(path, caplog):
    for _ in range(200):
        sock = connect(path)
        sock.send(b"rubbish, rubbish")
        wait_until(lambda sock=sock: is_closed(sock))
        sock.close()
    assert 1 <= len(caplog.records) <= 3


def test_of_a_stranger_a_kilobyte_is_kept_at_most(path):
    sock = connect(path)
    sock.send((1025).to_bytes(4, "big"))
    wait_until(lambda: is_closed(sock))
    sock.close()


def test_who_says_nothing_is_not_waited_for(path):
    sock = connect(path)
    wait_until(lambda: is_closed(sock))
    sock.close()


def test_a_stranger_changes_nothing_for_members(path, one, join):
    sock = connect(path)
    sock.send(b"rubbish, rubbish")
    wait_until(lambda: is_closed(sock))
    sock.close()
    two = join()
    assert two.receiver.up == [one.me]


class Suspicious(LocalBackend):
    """Takes nobody for a friend, and notes who came."""

    users = ()

    def is_friend(self, user):
        self.users = (*self.users, user)
        return False


def test_another_user_is_refused_before_it_is_read(tmp_path, caplog):
    joiner = Joiner(lambda: Suspicious(root=str(tmp_path)))
    one = joiner()
    (path,) = tmp_path.glob("*/*/*.sock")
    sock = connect(str(path))
    wait_until(lambda: is_closed(sock))
    sock.close()
    wait_until(lambda: caplog.records)
    assert one.backend.users == (os.geteuid(),)
    assert caplog.records[0].getMessage() == f"refused a connection of user {os.geteuid()}"
    joiner.stop_all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_real_other_user_is_refused(path, caplog):
    command = [sys.executable, "-c", AS_ANOTHER_USER, path]

    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert done.stdout == "b''\n", done.stderr
    assert [record.getMessage() for record in caplog.records] == [
        "refused a connection of user 65534"
    ]
