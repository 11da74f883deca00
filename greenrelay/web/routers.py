"""Routers: which relays a URL prefix has, with which origins and limits.

    - name: ws_router
      kind: http.router
      meta: {server: gateway}
      prefix: /ws
      post_middleware: [websocket_relay]        # and/or sse_relay
      post_options:
        wsrelay.allowed.origins: "https://app.example.com,https://*.example.org"
        wsrelay.max.message.size: 65536

The longest prefix wins, on whole path segments. Without any router both relays are
on everywhere, for the app's own origin. Two tables (`_MIDDLEWARE`, `_OPTIONS`) say what
an entry may hold; whatever else it holds is an error at the start, not at the first client.
PyYAML reads the file; a library for schemas would not say what to write instead of what is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from greenrelay.errors import ConfigurationError
from greenrelay.protocol.origins import OriginPolicy
from greenrelay.protocol.spelling import nearest
from greenrelay.relay.config import EVENT_STREAM, WEBSOCKET, Limits, RelayKind
from greenrelay.web.opening import Opening
from greenrelay.wire import SSE_RELAY_HEADER, WS_RELAY_HEADER

ROUTER_KIND = "http.router"

_KEYS = ("name", "kind", "meta", "prefix", "post_middleware", "post_options")
_MIDDLEWARE = {"websocket_relay": WEBSOCKET, "sse_relay": EVENT_STREAM}
_ORIGINS = "allowed.origins"
# Options of a relay behind its "wsrelay." or "sserelay.", and the limits they set.
_OPTIONS: dict[str, dict[str, str]] = {
    "wsrelay": {
        "dialect": "dialect",
        "max.message.size": "max_message_size",
        "max.backlog": "max_backlog",
        "slow.consumer": "slow_consumer",
        "ping.interval": "ping_interval",
        "idle.timeout": "idle_timeout",
        "max.rate": "max_rate",
        "compression": "compression",
    },
    "sserelay": {
        "max.backlog": "max_backlog",
        "slow.consumer": "slow_consumer",
        "idle.timeout": "idle_timeout",
    },
}
_PREFIXES = {WS_RELAY_HEADER: "wsrelay", SSE_RELAY_HEADER: "sserelay"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for one relay under one prefix."""

    limits: Limits
    origins: OriginPolicy
    is_checked_first: bool
    """Whether handshake and origin are checked before the handler runs."""


@dataclass(frozen=True, slots=True)
class Router:
    """The relays of one URL prefix.

    Args:
        name: for error messages and logs.
        prefix: matched on whole path segments; `""` is everything.
        rules: by relay header; a relay without one is off.
    """

    name: str
    prefix: str
    rules: Mapping[str, Rule]

    def matches(self, path: str) -> bool:
        """Tell whether a URL path is under the prefix."""
        return path.startswith(self.prefix) and path[len(self.prefix) :][:1] in ("", "/")

    def check_first(self, opening: Opening) -> None:
        """Check what does not depend on the handler's answer, where that has been configured.

        Raises:
            RefusedError: answer with it, and do not run the handler.
        """
        rules = self.rules
        if WS_RELAY_HEADER in rules and opening.is_upgrade:
            header = WS_RELAY_HEADER
        elif len(rules) == 1 and self.prefix:
            (header,) = rules
        else:
            # Perhaps an ordinary page: under both relays, or under "/", nothing is meant for
            # one relay alone. The handler's answer will tell.
            return
        if rules[header].is_checked_first:
            if header == WS_RELAY_HEADER:
                opening.require_handshake()
            opening.check_origin(rules[header].origins)


def default_router(limits: Limits, origins: OriginPolicy) -> Router:
    """Return the router that stands in where none is configured: both relays everywhere."""
    rule = Rule(limits, origins, is_checked_first=False)
    return Router("default", "", {WS_RELAY_HEADER: rule, SSE_RELAY_HEADER: rule})


def find_router(routers: Sequence[Router], path: str) -> Router | None:
    """Return the router with the longest prefix of `path`, `None` if none matches.

    Args:
        path: as `PATH_INFO` has it: UTF-8 bytes, each a character.
    """
    # Werkzeug routes "//private" as "/private": so must the rules that guard it.
    path = "/" + path.encode("latin-1").decode("utf-8", "replace").lstrip("/")
    longest: Router | None = None
    for router in routers:
        if router.matches(path) and (longest is None or len(router.prefix) > len(longest.prefix)):
            longest = router
    return longest


def load_routers(
    source: str | Path | Sequence[Mapping[str, Any]], trusted_proxies: str | Sequence[str] = ()
) -> list[Router]:
    """Return the routers of a YAML file, or of the same entries as Python objects.

    Raises:
        ConfigurationError: names the entry and the key, and what to write instead.
    """
    entries = _read(source) if isinstance(source, (str, Path)) else source
    if not isinstance(entries, Sequence) or isinstance(entries, (str, bytes)):
        raise ConfigurationError(f"routers are a list of entries, got {type(entries).__name__}")
    routers: list[Router] = []
    for number, entry in enumerate(entries, 1):
        router = _parse_entry(number, entry, trusted_proxies)
        for other in routers:
            if other.prefix == router.prefix:
                raise ConfigurationError(
                    f"router {router.name!r}: prefix {router.prefix or '/'!r} is taken by "
                    f"router {other.name!r}; give each its own"
                )
        routers.append(router)
    return routers


def _read(path: str | Path) -> Any:
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"can't read the routers file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the routers file {path} is no YAML: {error}") from None


def _parse_entry(number: int, entry: Any, trusted_proxies: str | Sequence[str]) -> Router:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"router {number} is no mapping but {type(entry).__name__}")
    name = str(entry.get("name", f"number {number}"))
    for key in entry:
        if key not in _KEYS:
            hint = nearest(str(key), _KEYS)
            raise ConfigurationError(f"router {name!r}: unknown key {key!r}{hint}")
    if entry.get("kind", ROUTER_KIND) != ROUTER_KIND:
        raise ConfigurationError(f"router {name!r}: kind must be {ROUTER_KIND!r}")
    prefix = entry.get("prefix")
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise ConfigurationError(f"router {name!r}: prefix must start with '/', got {prefix!r}")
    kinds = _parse_middleware(name, entry.get("post_middleware", ()))
    options = entry.get("post_options") or {}
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"router {name!r}: post_options must be a mapping")
    _check_options(name, options)
    rules = {  # of a relay that is off, too: its options may be wrong as well
        kind.header: _make_rule(name, kind, options, trusted_proxies)
        for kind in _MIDDLEWARE.values()
    }
    return Router(name, prefix.rstrip("/"), {kind.header: rules[kind.header] for kind in kinds})


def _parse_middleware(name: str, words: Any) -> list[RelayKind]:
    if not isinstance(words, Sequence) or isinstance(words, str):
        raise ConfigurationError(
            f"router {name!r}: post_middleware must be a list like [websocket_relay]"
        )
    for word in words:
        if not isinstance(word, str) or word not in _MIDDLEWARE:
            raise ConfigurationError(
                f"router {name!r}: post_middleware: unknown {word!r}"
                f"{nearest(str(word), _MIDDLEWARE)}"
            )
    return [_MIDDLEWARE[word] for word in words]


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    known = [
        f"{relay}.{option}" for relay, table in _OPTIONS.items() for option in (_ORIGINS, *table)
    ]
    for option in options:
        if option not in known:
            raise ConfigurationError(
                f"router {name!r}: post_options: unknown {option!r}{nearest(str(option), known)}"
            )


def _make_rule(
    name: str, kind: RelayKind, options: Mapping[str, Any], trusted_proxies: str | Sequence[str]
) -> Rule:
    relay = _PREFIXES[kind.header]
    values = {}
    for option, limit in _OPTIONS[relay].items():
        key = f"{relay}.{option}"
        if key in options:
            values[limit] = _parse(f"router {name!r}: {key}", kind.fields[limit], options[key])
    key = f"{relay}.{_ORIGINS}"
    patterns = options.get(key, "")
    try:
        origins = OriginPolicy(patterns, trusted_proxies)
    except (ConfigurationError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"router {name!r}: {key}: {error}") from None
    return Rule(dataclasses.replace(Limits(), **values), origins, is_checked_first=True)


def _parse(where: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
