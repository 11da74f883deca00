"""How a client gets to the nodes: backends for plain threads, one per kind of cluster.

A way is imported when it is opened, and imports no gevent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final, Protocol

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.urls import ClusterURL
from greenrelay.errors import ConfigurationError


class Way(Protocol):
    """A backend for plain threads: what a client needs of a `Backend`."""

    @property
    def is_joined(self) -> bool:
        """Whether we are a member, and everybody who was there is up."""

    @property
    def problem(self) -> str:
        """Why we are none, in one line."""

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join. Blocks. Raises `ClusterError`."""

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over, from any thread; `False`: not handed over."""

    def pending(self, member: Member) -> int:
        """Return how many of them are not on the wire."""

    def stop(self) -> None:
        """Leave; what was handed over goes out first. Blocks, for 2 s at most; idempotent."""

    def abandon(self) -> None:
        """In a child that was forked: let go of what is the parent's."""


def open_way(where: ClusterURL) -> Way:
    """Return the way that a URL names; it is not started.

    Raises:
        ConfigurationError: there is none of that name, or a library is missing for it.
    """
    opened = _WAYS.get(where.scheme)
    if opened is None:
        raise ConfigurationError(
            f"{where.shown}: a client connects to {', '.join(_WAYS)}, not to {where.scheme}:"
        )
    module, name = opened
    try:
        make: Callable[[ClusterURL], Way] = getattr(
            importlib.import_module(f"greenrelay.cluster.{module}"), name
        )
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("greenrelay"):
            raise
        raise ConfigurationError(
            f"{where.scheme}: needs {missing.name}, which is not installed: "
            "pip install 'greenrelay[cluster]'"
        ) from None
    return make(where)


_REDIS: Final = ("redisway", "RedisWay")
_WAYS: Final = {
    "local": ("localway", "LocalWay"),
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+sentinel": _REDIS,
    "redis+cluster": _REDIS,
}
