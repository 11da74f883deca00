"""The app's configuration: which `GREENRELAY_*` keys there are, and what each may hold.

Two tables say so (`DEFAULTS`, `_CHECKS`). Whatever else an app has set is an error when it is
wrapped, not at its first client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from greenrelay.cluster.joining import check_url
from greenrelay.errors import ConfigurationError
from greenrelay.pid import ID_BYTES, PID
from greenrelay.protocol.origins import OriginPolicy
from greenrelay.protocol.spelling import nearest
from greenrelay.web.routers import load_routers
from greenrelay.wire import DRAIN_SECONDS, HOST_PROCESS

# What the app's configuration may hold, and what stands in for what it does not.
DEFAULTS: dict[str, Any] = {
    "GREENRELAY_NODE": None,
    "GREENRELAY_CLUSTER": None,
    "GREENRELAY_DRAIN_SECONDS": DRAIN_SECONDS,
    "GREENRELAY_TRUSTED_PROXIES": "",
    "GREENRELAY_ROUTERS": (),
    "GREENRELAY_ALLOWED_ORIGINS": "",
    "GREENRELAY_MAX_CONNECTIONS": 0,
    "GREENRELAY_MAX_CONNECTIONS_PER_ADDRESS": 0,
}


def read_settings(app: Flask) -> dict[str, Any]:
    """Return the app's `GREENRELAY_*` configuration, defaults filled in.

    Raises:
        ConfigurationError: a key is unknown, or its value malformed.
    """
    settings = dict(DEFAULTS)
    for key, value in app.config.items():
        if key.startswith("GREENRELAY_"):
            if key not in DEFAULTS:
                raise ConfigurationError(f"unknown configuration key {key}{nearest(key, DEFAULTS)}")
            settings[key] = value
    for key, check in _CHECKS.items():
        try:
            check(settings[key])
        except ValueError as error:
            raise ConfigurationError(f"{key}: {error}") from None
    return settings


def _check_node(name: Any) -> None:
    if name is not None:
        PID.make(HOST_PROCESS, name, bytes(ID_BYTES))


def _check_cluster(url: Any) -> None:
    if url is not None and not isinstance(url, str):
        raise ValueError(f"write a URL, like 'local:', or '' for none, got {url!r}")
    if url:
        check_url(url)


def _check_seconds(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"write seconds, like 10 or 0.5, got {value!r}")


def _check_count(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"write a whole number, 0 for off, got {value!r}")


# What is not looked at by those who use it, or not with the key's name.
_CHECKS: dict[str, Callable[[Any], object]] = {
    "GREENRELAY_NODE": _check_node,
    "GREENRELAY_CLUSTER": _check_cluster,
    "GREENRELAY_DRAIN_SECONDS": _check_seconds,
    "GREENRELAY_TRUSTED_PROXIES": lambda value: OriginPolicy(trusted_proxies=value),
    "GREENRELAY_ALLOWED_ORIGINS": OriginPolicy,
    "GREENRELAY_ROUTERS": load_routers,
    "GREENRELAY_MAX_CONNECTIONS": _check_count,
    "GREENRELAY_MAX_CONNECTIONS_PER_ADDRESS": _check_count,
}
