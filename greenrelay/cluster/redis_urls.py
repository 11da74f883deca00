"""What a Redis URL says: where, who, and how long a lease lasts. No I/O.

    redis://[[user]:password@]host[:6379][/db]          rediss:// the same over TLS
    redis+sentinel://[…@]host[:26379],host…/service[/db]
    redis+cluster://[…@]host[:6379],host…

No text that leaves here has a password in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from greenrelay.errors import ConfigurationError
from greenrelay.protocol.duration import parse_duration
from greenrelay.protocol.spelling import nearest

Address = tuple[str, int]
Kind = Literal["single", "sentinel", "cluster"]

SCHEMES: Final[Mapping[str, Kind]] = {
    "redis": "single",
    "rediss": "single",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
OPTIONS: Final = frozenset(
    "deployment lease tls ssl_ca_certs ssl_certfile ssl_keyfile ssl_cert_reqs ssl_check_hostname "
    "sentinel_username sentinel_password".split()
)
"""TLS's are named as redis-py names them."""
OTHERS_OPTIONS: Final = frozenset({"secret", "max_envelope"})
"""Not the backend's: read by whoever opens it."""

DEFAULT_LEASE: Final = "15s"
MIN_LEASE_SECONDS: Final = 0.5
"""A shorter one would be lost in any hiccup of the network."""

_DEPLOYMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_PORTS: Final = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_YES_NO: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Login:
    """Who we are to a server."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tls:
    """How TLS is spoken."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    is_verified: bool = True
    checks_hostname: bool = True


@dataclass(frozen=True)
class RedisUrl:
    """A Redis URL, taken apart."""

    kind: Kind
    addresses: tuple[Address, ...]
    service: str
    """Sentinel's name of the master, else empty."""
    db: int
    login: Login
    sentinel_login: Login
    tls: Tls | None
    deployment: str
    lease: float
    """Seconds."""
    shown: str
    """The URL for people: without password and options."""


def parse_redis_url(url: str) -> RedisUrl:
    """Return what a URL says.

    Raises:
        ConfigurationError: it says nothing that can be meant; the text says what to write.
    """
    parts = urlsplit(url)
    kind = SCHEMES.get(parts.scheme)
    if kind is None:
        raise ConfigurationError(f"{parts.scheme!r} is no scheme of Redis: {', '.join(SCHEMES)}")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    shown = f"{parts.scheme}://{hosts}{parts.path}"
    options = _read_options(parts.query, shown)
    username, _, password = userinfo.partition(":")
    service, db = _read_path(kind, parts.path, shown)
    return RedisUrl(
        kind=kind,
        addresses=_read_addresses(kind, hosts, shown),
        service=service,
        db=db,
        login=Login(unquote(username) or None, unquote(password) or None),
        sentinel_login=Login(options.get("sentinel_username"), options.get("sentinel_password")),
        tls=_read_tls(parts.scheme, options, shown),
        deployment=_read_deployment(options.get("deployment", "default"), shown),
        lease=_read_lease(options.get("lease", DEFAULT_LEASE), shown),
        shown=shown,
    )


def _read_options(query: str, shown: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in query.split("&") if item)
    options = {unquote(name): unquote(value) for name, _, value in pairs}
    known = OPTIONS | OTHERS_OPTIONS
    for name in options:
        if name not in known:
            raise ConfigurationError(f"{shown}: unknown option {name!r:.40}{nearest(name, known)}")
    return options


def _read_addresses(kind: Kind, hosts: str, shown: str) -> tuple[Address, ...]:
    addresses = tuple(_read_address(host, _PORTS[kind], shown) for host in hosts.split(","))
    if kind == "single" and len(addresses) > 1:
        raise ConfigurationError(
            f"{shown}: several hosts are for redis+sentinel:// and redis+cluster://"
        )
    return addresses


def _read_address(host: str, port: int, shown: str) -> Address:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "localhost", parts.port or port
    except ValueError as error:
        raise ConfigurationError(f"{shown}: {host!r} is no host and port: {error}") from None


def _read_path(kind: Kind, path: str, shown: str) -> tuple[str, int]:
    words = [unquote(word) for word in path.split("/") if word]
    service = words.pop(0) if kind == "sentinel" and words else ""
    if kind == "sentinel" and not service:
        raise ConfigurationError(
            f"{shown}: say which service Sentinel watches: redis+sentinel://host:26379/mymaster"
        )
    if not words:
        return service, 0
    if kind == "cluster" or len(words) > 1 or not (words[0].isascii() and words[0].isdigit()):
        raise ConfigurationError(f"{shown}: {'/'.join(words)!r} is no number of a database")
    return service, int(words[0])


def _read_tls(scheme: str, options: Mapping[str, str], shown: str) -> Tls | None:
    if not _read_switch(options, "tls", scheme == "rediss", shown):
        given = sorted(name for name in options if name.startswith("ssl_"))
        if given:
            raise ConfigurationError(f"{shown}: {given[0]} needs TLS; write rediss:// or tls=yes")
        return None
    required = options.get("ssl_cert_reqs", "required")
    if required not in ("required", "none"):
        raise ConfigurationError(
            f"{shown}: ssl_cert_reqs is 'required' or 'none', got {required!r}"
        )
    return Tls(
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        required == "required",
        _read_switch(options, "ssl_check_hostname", required == "required", shown),
    )


def _read_switch(options: Mapping[str, str], name: str, default: bool, shown: str) -> bool:
    text = options.get(name)
    if text is None:
        return default
    try:
        return _YES_NO[text.lower()]
    except KeyError:
        raise ConfigurationError(f"{shown}: {name} is 'yes' or 'no', got {text!r:.40}") from None


def _read_deployment(text: str, shown: str) -> str:
    if not _DEPLOYMENT.fullmatch(text):
        raise ConfigurationError(
            f"{shown}: a deployment is up to 64 letters, digits, '_', '.' and '-', got {text!r:.80}"
        )
    return text


def _read_lease(text: str, shown: str) -> float:
    try:
        lease = parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{shown}: lease: {error}") from None
    if lease < MIN_LEASE_SECONDS:
        raise ConfigurationError(f"{shown}: a lease is at least {MIN_LEASE_SECONDS}s, got {text!r}")
    return lease
