"""Which server is asked for a key or a channel: the one there is, Sentinel's master, or a slot's.

`known()` answers from memory and never blocks; `look()` asks. Who finds out that an answer was
wrong (the connection broke, the server said that it is not the one) calls `forget()`.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeVar

from redis.crc import key_slot

from greenrelay.cluster.redis_link import Link, LinkDown, Refusal
from greenrelay.cluster.redis_urls import Address, RedisUrl
from greenrelay.errors import ClusterError

ANSWER_SECONDS: Final = 2.0
"""Sentinels and nodes of a cluster answer such questions at once, or are away."""

_MOVED = re.compile(r"MOVED (?P<slot>\d+) (?P<host>\S+):(?P<port>\d+)$")

Answer = TypeVar("Answer")


class Places(Protocol):
    """Where keys and channels are."""

    publish: Literal["PUBLISH", "SPUBLISH"]
    subscribe: Literal["SUBSCRIBE", "SSUBSCRIBE"]

    def known(self, key: str) -> Address | None:
        """Return the server of a key, as far as is known. Never blocks."""

    def forget(self, problem: str = "") -> None:
        """Know no server any more, if others can be found.

        Args:
            problem: what the server said; `MOVED SLOT HOST:PORT` tells where that slot is.
        """

    def look(self) -> None:
        """Find out what is not known. Switches: yes.

        Raises:
            ClusterError: nobody can tell; one line that says why.
        """

    def check(self) -> bool:
        """Tell whether what is known still holds; else forget it. Switches: yes."""
        ...


def find_places(url: RedisUrl) -> Places:
    """Return what knows the servers behind a URL."""
    kinds: dict[str, Callable[[RedisUrl], Places]] = {
        "single": _Single,
        "sentinel": _Sentinel,
        "cluster": _Cluster,
    }
    return kinds[url.kind](url)


class _Single:
    """One server has it all."""

    publish: Literal["PUBLISH", "SPUBLISH"] = "PUBLISH"
    subscribe: Literal["SUBSCRIBE", "SSUBSCRIBE"] = "SUBSCRIBE"

    def __init__(self, url: RedisUrl) -> None:
        self._address = url.addresses[0]

    def known(self, key: str) -> Address | None:
        return self._address

    def forget(self, problem: str = "") -> None:
        """Keep it: there is no other."""

    def look(self) -> None:
        """Know it already."""

    def check(self) -> bool:
        return True


class _Sentinel:
    """One server, the one that Sentinel calls the master."""

    publish: Literal["PUBLISH", "SPUBLISH"] = "PUBLISH"
    subscribe: Literal["SUBSCRIBE", "SSUBSCRIBE"] = "SUBSCRIBE"

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._master: Address | None = None

    def known(self, key: str) -> Address | None:
        return self._master

    def forget(self, problem: str = "") -> None:
        self._master = None

    def look(self) -> None:
        if self._master is None:
            self._master = _ask_any(self._url, self._ask)

    def check(self) -> bool:
        try:
            master = _ask_any(self._url, self._ask)
        except ClusterError:
            return True  # no Sentinel is no reason to leave a master
        if self._master in (master, None):
            return True
        self._master = None
        return False

    def _ask(self, address: Address) -> Address:
        service = self._url.service
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        link = Link(self._url, address, ANSWER_SECONDS, self._url.sentinel_login)
        answer = _ask(link, command)
        if answer is None:
            raise ClusterError(f"Sentinel at {link.shown} watches no service named {service!r}")
        host, port = answer
        return host.decode(), int(port)


class _Cluster:
    """Servers that share the slots."""

    publish: Literal["PUBLISH", "SPUBLISH"] = "SPUBLISH"
    subscribe: Literal["SUBSCRIBE", "SSUBSCRIBE"] = "SSUBSCRIBE"

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._seen = url.addresses  # more to ask than the URL names, once we know them
        self._forget_all()

    def _forget_all(self) -> None:
        self._moved: dict[int, Address] = {}
        self._starts: list[int] = []
        self._ranges: list[tuple[int, Address]] = []  # last slot, master; as _starts

    def known(self, key: str) -> Address | None:
        slot = key_slot(key.encode())
        if slot in self._moved:
            return self._moved[slot]
        place = bisect.bisect_right(self._starts, slot) - 1
        if place < 0:
            return None
        last, address = self._ranges[place]
        return address if slot <= last else None

    def forget(self, problem: str = "") -> None:
        moved = _MOVED.match(problem)
        if moved is None:
            self._forget_all()
        else:  # who is asked for all slots may not have heard of it yet
            self._moved[int(moved["slot"])] = (moved["host"], int(moved["port"]))

    def look(self) -> None:
        if self._ranges:
            return
        answer = sorted(_ask_any(self._url, self._ask, self._seen))
        self._starts = [first for first, _, _ in answer]
        self._ranges = [(last, address) for _, last, address in answer]
        masters = dict.fromkeys(address for _, _, address in answer)
        self._seen = tuple(dict.fromkeys((*masters, *self._url.addresses)))

    def check(self) -> bool:
        return True  # who is asked for a slot that is not his says so

    def _ask(self, address: Address) -> list[tuple[int, int, Address]]:
        link = Link(self._url, address, ANSWER_SECONDS)
        ranges = [
            # An empty host is the one that was asked.
            (first, last, ((master[0] or b"").decode() or address[0], master[1]))
            for first, last, master, *_ in _ask(link, ("CLUSTER", "SLOTS"))
        ]
        if not ranges:
            raise ClusterError(f"Redis at {link.shown} has no slots: its cluster is not made yet")
        return ranges


def _ask(link: Link, command: tuple[str, ...]) -> Any:
    try:
        link.open()
        [answer] = link.run([command])
    finally:
        link.close()
    if isinstance(answer, Refusal):
        raise ClusterError(f"Redis at {link.shown}: {answer}")
    return answer


def _ask_any(
    url: RedisUrl, ask: Callable[[Address], Answer], addresses: tuple[Address, ...] = ()
) -> Answer:
    """Return the first answer; who has answered wrongly tells more than who was away."""
    problems: list[ClusterError] = []
    for address in addresses or url.addresses:
        try:
            return ask(address)
        except LinkDown as error:
            problems.append(error)
        except ClusterError as error:
            problems.insert(0, error)
    raise problems[0]
