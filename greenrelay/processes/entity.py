"""What has a PID: the few methods by which a node knows processes, connections and calls."""

from __future__ import annotations

import os
import pkgutil
import re
import socket
from collections.abc import Callable
from typing import Any, Protocol

from greenrelay.message import Exit, LinkDown, Message
from greenrelay.pid import PID


class Entity(Protocol):
    """What a node keeps under a PID. No method may block, switch or raise."""

    @property
    def pid(self) -> PID:
        """Its address."""

    @property
    def is_full(self) -> bool:
        """Whether connections should stop parsing and reading for it."""

    @property
    def is_killed(self) -> bool:
        """Whether it has been killed, and nobody should count on it any more."""

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when it is not full any more; from anywhere, soon."""

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""

    @property
    def deliver(self) -> Callable[[Message], bool]:
        """Take a message; `False`: it takes none any more."""

    def on_exit(self, exit: Exit) -> None:
        """Take the news that a monitored entity has ended."""

    def on_link_down(self, news: LinkDown) -> None:
        """Take the news that a linked entity has ended abnormally."""

    def cancel(self, sender: PID | None, reason: str | None) -> None:
        """Take the request to end."""

    def kill(self, reason: str) -> None:
        """End with `reason`."""

    def info(self) -> dict[str, Any]:
        """Return what it knows about itself."""


def check_topic(topic: object) -> None:
    """Raise `ValueError` or `TypeError` for what can't be a topic."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, got {type(topic).__name__}")
    if not topic or topic.startswith("@"):
        raise ValueError(f"a topic is not empty and has no '@' first, got {topic!r}")


def resolve_target(target: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return the function that `spawn()` was given, imported if it is named.

    Raises:
        TypeError: it can't be called.
        ValueError: it names nothing that can be imported.
    """
    if isinstance(target, str):
        try:
            target = pkgutil.resolve_name(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"can't spawn {target!r}, write 'package.module:function': {error}"
            ) from error
    if not callable(target):
        raise TypeError(f"spawn() takes a function or 'package.module:function', got {target!r}")
    return target


def default_name() -> str:
    """Return a name that no other interpreter of this host has at the same time."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname().partition(".")[0]) or "node"
    return f"{host}-{os.getpid()}"
