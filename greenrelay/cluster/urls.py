"""Which cluster a URL means: the backend by its scheme, and the options that all of them share.

    local:[NAME]                                    the nodes of one machine and user
    memory:[NAME]                                   the nodes of one interpreter, for tests
    redis:// rediss:// redis+sentinel:// redis+cluster://    the nodes that share a Redis

    ?deployment=default   whom it joins; NAME says the same
    &secret=…             signs what they tell each other; or GREENRELAY_CLUSTER_SECRET
    &lease=15s            silence after which a node is lost; each backend has its own default
    &max_envelope=1MiB    the longest message, and a little more; the same on all nodes

Two rules: a backend is imported when it is opened, so that nobody needs Redis's library who has
none; and no error, `repr` or log line has a secret or a password in it.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from greenrelay.cluster.backend import Backend
from greenrelay.cluster.envelope import FRAME_BYTES, MAX_ENVELOPE_BYTES
from greenrelay.errors import ConfigurationError
from greenrelay.protocol.duration import parse_duration
from greenrelay.protocol.spelling import nearest

SECRET_VARIABLE: Final = "GREENRELAY_CLUSTER_SECRET"
OPTIONS: Final = ("deployment", "lease", "max_envelope", "secret")
DEFAULT_DEPLOYMENT: Final = "default"
MAX_MAX_ENVELOPE_BYTES: Final = 64 * 1024 * 1024
"""Larger ones belong into a file or a database, and their address into the message."""
_MIN_MAX_ENVELOPE_BYTES: Final = 2 * FRAME_BYTES

# It is part of keys, channels and file names.
_DEPLOYMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>[KM]iB)?")
_UNITS: Final = {None: 1, "KiB": 1024, "MiB": 1024 * 1024}


@dataclass(frozen=True)
class ClusterURL:
    """What a cluster's URL says."""

    scheme: str
    shown: str
    """The URL as people may see it: without options, user and password."""
    text: str = field(repr=False)
    """All of it."""
    deployment: str = DEFAULT_DEPLOYMENT
    lease: float | None = None
    """Seconds; `None`: the backend's default."""
    max_envelope: int = MAX_ENVELOPE_BYTES
    secret: str | None = field(default=None, repr=False)


def read_url(
    text: str, secret: str | None = None, environ: Mapping[str, str] = os.environ
) -> ClusterURL:
    """Return what a cluster's URL says.

    Args:
        secret: if the URL has none; if neither, `GREENRELAY_CLUSTER_SECRET` may.
        environ: where that is looked for.

    Raises:
        ConfigurationError: it names no cluster; the text says what to write.
    """
    address, _, query = text.partition("?")
    scheme = _read_scheme(address)
    shown = _hide(address)
    name = _read_name(scheme, address, shown)
    options = _read_options(query, scheme, shown)
    if name and name != options.setdefault("deployment", name):
        raise ConfigurationError(f"{shown}: leave out ?deployment=, {name!r} is one")
    if secret is None:
        secret = environ.get(SECRET_VARIABLE) or None
    return ClusterURL(
        scheme,
        shown,
        text,
        _read_deployment(options.get("deployment", DEFAULT_DEPLOYMENT), shown),
        _read_lease(options["lease"], shown) if "lease" in options else None,
        _read_size(options.get("max_envelope", str(MAX_ENVELOPE_BYTES)), shown),
        _read_secret(options["secret"], shown) if "secret" in options else secret,
    )


def open_backend(url: str | ClusterURL, *, secret: str | None = None) -> Backend:
    """Return the backend that a URL names; it is not started.

    Args:
        secret: see `read_url()`.

    Raises:
        ConfigurationError: there is none of that name, or a library is missing for it.
    """
    where = read_url(url, secret) if isinstance(url, str) else url
    try:
        return _OPENERS[where.scheme](where)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("greenrelay"):
            raise
        raise ConfigurationError(
            f"{where.scheme}: needs {missing.name}, which is not installed: "
            "pip install 'greenrelay[cluster]'"
        ) from None


def _open_memory(where: ClusterURL) -> Backend:
    backend: Backend = _find("memory", "MemoryBackend")(where.deployment)
    return backend


def _open_local(where: ClusterURL) -> Backend:
    options: dict[str, Any] = {} if where.lease is None else {"lease": where.lease}
    make = _find("local", "LocalBackend")
    backend: Backend = make(where.deployment, max_envelope=where.max_envelope, **options)
    return backend


def _open_redis(where: ClusterURL) -> Backend:
    backend: Backend = _find("redis", "open_redis")(where.text)
    return backend


def _find(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(
        importlib.import_module(f"greenrelay.cluster.{module}"), name
    )
    return found


_NAMED: Final[Mapping[str, Callable[[ClusterURL], Backend]]] = {
    "local": _open_local,
    "memory": _open_memory,
}
_REDIS: Final = ("redis", "rediss", "redis+sentinel", "redis+cluster")
_OPENERS: Final = {**_NAMED, **dict.fromkeys(_REDIS, _open_redis)}


def _read_scheme(address: str) -> str:
    scheme, colon, _ = address.partition(":")
    known = ", ".join([*(f"{name}:" for name in _NAMED), *(f"{name}://" for name in _REDIS)])
    if not colon or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"a cluster's URL begins with one of {known}")
    if scheme.lower() not in _OPENERS:
        raise ConfigurationError(f"a cluster's URL begins with one of {known}, not {scheme[:40]}:")
    return scheme.lower()


def _hide(address: str) -> str:
    """Return an address without the user and password that it may have."""
    scheme, slashes, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if slashes else address


def _read_name(scheme: str, address: str, shown: str) -> str:
    """Return the name behind `local:`; `""`: there is none."""
    if scheme not in _NAMED:
        if "://" not in address:
            raise ConfigurationError(f"write {scheme}://HOST, with two slashes")
        return ""
    if "//" in address:
        raise ConfigurationError(f"{shown}: write {scheme}:NAME, without slashes")
    return unquote(address.partition(":")[2])


def _read_options(query: str, scheme: str, shown: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, equals, value = item.partition("=")
        if not name.isidentifier():  # a part of a password, perhaps: it is not shown
            raise ConfigurationError(f"{shown}: options are ?name=value&name=value, %-encoded")
        # Those that only Redis has, its backend checks.
        if scheme in _NAMED and name not in OPTIONS:
            raise ConfigurationError(f"{shown}: unknown option {name!r}{nearest(name, OPTIONS)}")
        if not equals:
            raise ConfigurationError(f"{shown}: the option {name!r} needs a value")
        if name in options:
            raise ConfigurationError(f"{shown}: the option {name!r} is there twice")
        options[name] = unquote(value)
    return options


def _read_deployment(text: str, shown: str) -> str:
    if not _DEPLOYMENT.fullmatch(text):
        raise ConfigurationError(
            f"{shown}: a deployment's name is up to 64 letters of ASCII, digits, '_', '.' and '-', "
            f"and begins with a letter or digit, got {text!r:.80}"
        )
    return text


def _read_lease(text: str, shown: str) -> float:
    try:
        lease = parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{shown}: lease: {error}") from None
    if not lease:
        raise ConfigurationError(f"{shown}: a lease can't be off; write one like lease=15s")
    return lease


def _read_size(text: str, shown: str) -> int:
    match = _SIZE.fullmatch(text)
    size = int(match["number"]) * _UNITS[match["unit"]] if match else 0
    if not _MIN_MAX_ENVELOPE_BYTES <= size <= MAX_MAX_ENVELOPE_BYTES:
        raise ConfigurationError(
            f"{shown}: max_envelope is a number of bytes, like 512KiB or 4MiB, from "
            f"{_MIN_MAX_ENVELOPE_BYTES} to 64MiB, got {text!r:.40}"
        )
    return size


def _read_secret(text: str, shown: str) -> str:
    if not text:
        raise ConfigurationError(
            f"{shown}: the secret is empty; leave ?secret= out, or set {SECRET_VARIABLE}"
        )
    return text
