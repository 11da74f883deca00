"""Every backend of a cluster, made in the same way, and a receiver that notes what it is told.

A backend comes into the suite with one function here that makes members which meet each other.
"""

import contextlib
import importlib.util
import itertools
import secrets

import pytest

from greenrelay.cluster.backend import Member
from greenrelay.testing import wait_until

SECONDS = 10
"""How long a condition may take on a busy machine."""


def new_member(node):
    return Member(node, secrets.token_urlsafe(12))


class Recorder:
    """A receiver that keeps what it is told.

    Args:
        me: who it is at first.
    """

    def __init__(self, me):
        self.me = me
        self.up, self.lost, self.isolated = [], [], 0
        self.maybe_lost = []
        self.refused = []
        self.bytes = {}
        self.when_lost = None
        """Called with each member that is lost."""

    def on_up(self, member):
        self.up.append(member)
        self.bytes.setdefault(member, [])

    def on_bytes(self, member, data):
        assert self.is_up(member), f"bytes of {member}, who is not up"
        self.bytes[member].append(data)

    def on_lost(self, member):
        assert self.is_up(member), f"{member} was lost, and was not up"
        self.lost.append(member)
        if self.when_lost is not None:
            self.when_lost(member)

    def on_isolated(self):
        assert not self.members, "isolated, and others are still up"
        self.isolated += 1
        self.me = new_member(self.me.node)
        return self.me

    def on_maybe_lost(self, what, count):
        self.maybe_lost.append((what, count))

    def on_refused(self, what, count):
        self.refused.append((what, count))

    def is_up(self, member):
        return self.up.count(member) > self.lost.count(member)

    @property
    def members(self):
        """Those who are up."""
        return {member for member in self.up if self.is_up(member)}


class Joined:
    """A backend that has joined, and its receiver."""

    def __init__(self, backend, node):
        self.backend = backend
        self.receiver = Recorder(new_member(node))
        self.backend.start(self.receiver.me, self.receiver)

    @property
    def me(self):
        return self.receiver.me

    def got_of(self, other):
        """Return what has come of another."""
        return self.receiver.bytes.get(other.me, [])


class Joiner:
    """Makes members of one cluster, and stops them."""

    def __init__(self, make_backend):
        self._make = make_backend
        self._names = itertools.count(1)
        self.joined = []

    def __call__(self, count=1):
        """Return so many new members; all know each other."""
        fresh = [Joined(self._make(), f"node{next(self._names)}") for _ in range(count)]
        self.joined += fresh
        wait_until(self._is_complete, SECONDS)
        return fresh[0] if count == 1 else fresh

    def _is_complete(self):
        members = {member.me for member in self.joined}
        return all(member.receiver.members == members - {member.me} for member in self.joined)

    def stop(self, member):
        self.joined.remove(member)
        member.backend.stop()

    def stop_all(self):
        for member in self.joined:
            member.backend.stop()


@contextlib.contextmanager
def local(tmp_path):
    from greenrelay.cluster.local import LocalBackend

    yield lambda: LocalBackend(root=str(tmp_path))
    assert list(tmp_path.iterdir()) == [], "something is left in the directory"


@contextlib.contextmanager
def memory(tmp_path):
    from greenrelay.cluster.memory import MemoryBackend

    name = secrets.token_hex(8)
    yield lambda: MemoryBackend(name)


@contextlib.contextmanager
def redis(tmp_path):
    from greenrelay.cluster.redis import open_redis
    from tests.cluster import redis_servers

    redis_servers.need_redis()
    server = redis_servers.RedisServer(tmp_path)
    try:
        yield lambda: open_redis(f"redis://{server.address}")
        assert server.cli("keys", "*") in ([], [""]), "a key is left"
    finally:
        server.stop()


def backend_params():
    """Return the backends that there are, as parameters of a test."""
    makers = {"local": local, "memory": memory, "redis": redis}
    return [
        pytest.param(maker, id=name)
        for name, maker in makers.items()
        if importlib.util.find_spec(f"greenrelay.cluster.{name}")
    ]
