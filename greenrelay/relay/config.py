"""What a relay is told: the header's JSON and the limits around it, without I/O.

    X-WS-Relay: {"target_pid": …}  ─► parse_relay_header() ─► RelayConfig
    RelayConfig over Limits        ─► what one session obeys

Two tables (`WEBSOCKET`, `EVENT_STREAM`) say which fields there are and what each may hold: by
hand, because a library for schemas would not say what to write instead of what is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from greenrelay.errors import ConfigurationError
from greenrelay.message import is_topic
from greenrelay.pid import PID
from greenrelay.protocol.duration import parse_duration
from greenrelay.protocol.jsontext import decode_json
from greenrelay.protocol.spelling import nearest
from greenrelay.wire import (
    MAX_BACKLOG_BYTES,
    MAX_MESSAGE_BYTES,
    PING_INTERVAL_SECONDS,
    SSE_CONTROL,
    SSE_HEARTBEAT_SECONDS,
    SSE_MESSAGE,
    SSE_RELAY_HEADER,
    WS_CONTROL,
    WS_MESSAGE,
    WS_RELAY_HEADER,
)

DIALECTS = ("raw", "envelope")
SLOW_CONSUMER_POLICIES = ("close", "drop_new", "drop_old")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; 0 is off. A relay header overrides them field by field."""

    dialect: str = "raw"
    max_message_size: int = MAX_MESSAGE_BYTES
    max_backlog: int = MAX_BACKLOG_BYTES
    slow_consumer: str = "close"
    ping_interval: float = PING_INTERVAL_SECONDS
    idle_timeout: float = 0.0
    compression: bool = False
    max_rate: float = 0.0


DEFAULT_LIMITS = Limits()
_LIMITS = tuple(item.name for item in dataclasses.fields(Limits))
_NO_METADATA: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RelayConfig(Limits):
    """What one connection obeys: target, topic, metadata and its own limits."""

    target_pid: PID = PID()
    """Who receives the messages; empty for a detached event stream."""
    message_topic: str = WS_MESSAGE
    heartbeat_interval: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    hard_timeout: float = 0.0
    """Event streams only: seconds until the stream ends, whatever happens."""
    retry: float = 0.0
    """Event streams only: seconds after which the browser should reconnect."""

    def copy_metadata(self) -> dict[str, Any]:
        """Return the metadata for one message: whoever gets it may change it."""
        metadata = self.metadata
        return {name: _copy(value) for name, value in metadata.items()} if metadata else {}


class RelayKind(NamedTuple):
    """What distinguishes the two relay headers."""

    header: str
    control: str
    """The topic of messages that hold the same fields."""
    fields: Mapping[str, Callable[[Any], Any]]
    """Which fields there are, and what turns each into its inner form."""
    defaults: Mapping[str, Any]
    """Where they differ from `RelayConfig`'s."""
    needs_target: bool


def parse_relay_header(
    text: str, limits: Limits = DEFAULT_LIMITS, kind: RelayKind | None = None
) -> RelayConfig:
    """Return the configuration that a relay header asks for.

    Args:
        text: the header's value, a JSON object.
        limits: what holds where the header says nothing.
        kind: which of the two headers; by default `X-WS-Relay`.

    Raises:
        ConfigurationError: the text names the field and what to write instead.
    """
    kind = kind or WEBSOCKET
    try:
        values = decode_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{kind.header} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(
            f'{kind.header} must be an object like {{"target_pid": pid}}, got {text[:80]}'
        )
    return relay_config(values, limits, kind)


def relay_config(
    values: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS, kind: RelayKind | None = None
) -> RelayConfig:
    """Return the configuration that a relay header's fields ask for.

    Args:
        values: field names and values as they stand in the header.
        limits: what holds for the fields that are absent.
        kind: which of the two headers; by default `X-WS-Relay`.

    Raises:
        ConfigurationError: the text names the field and what to write instead.
    """
    kind = kind or WEBSOCKET
    return config_of(check_fields(values, kind), limits, kind)


def config_of(fields: Mapping[str, Any], limits: Limits, kind: RelayKind) -> RelayConfig:
    """Return the configuration of fields that have been checked, over those limits.

    Who is told the same holds the same: of their own, it and its PID would take 270 bytes of each
    connection. Metadata is rarely the same for two, and may be large: it is not kept here.
    """
    told = {**kind.defaults, **fields}
    if told.get("metadata"):
        return RelayConfig(**{**_as_dict(limits), **told})
    told.pop("metadata", None)
    return _shared_config(limits, *told.items())


@functools.lru_cache(maxsize=256)  # of all paths and targets that are in use at one time
def _shared_config(limits: Limits, *told: tuple[str, Any]) -> RelayConfig:
    return RelayConfig(**{**_as_dict(limits), **dict(told)})


def check_fields(values: Mapping[str, Any], kind: RelayKind) -> dict[str, Any]:
    """Return all fields of a relay header in their inner form; raises as `relay_config()`."""
    if not kind.needs_target and values.get("target_pid", "") is None:
        values = {**values, "target_pid": ""}  # JSON's way to say that there is none
    if kind.needs_target and "target_pid" not in values:
        shown = ", ".join(f'"{name}": …' for name in values)
        raise ConfigurationError(
            f'{kind.header}: "target_pid" is missing; '
            f'send {{"target_pid": pid}}, got {{{shown:.80}}}'
        )
    return parse_fields(values, kind)


def parse_control(payload: Any, kind: RelayKind) -> dict[str, Any]:
    """Return the fields of a control message in their inner form.

    Args:
        payload: fields of the relay header, as a mapping or its JSON text.

    Raises:
        ConfigurationError: it is neither, or a field is unknown or malformed.
    """
    if isinstance(payload, (str, bytes)):
        try:
            payload = decode_json(payload)
        except ValueError as error:
            raise ConfigurationError(f"{kind.control} is no JSON: {error}") from None
    if not isinstance(payload, Mapping):
        raise ConfigurationError(f"{kind.control} takes a mapping of fields, got {payload!r:.80}")
    return parse_fields(payload, kind, kind.control)


def parse_fields(
    values: Mapping[str, Any], kind: RelayKind | None = None, source: str | None = None
) -> dict[str, Any]:
    """Return the fields of a relay header, or of a control message, in their inner form.

    Args:
        values: field names and values.
        kind: which of the two headers has these fields; by default `X-WS-Relay`.
        source: where they stand, for errors; by default the header.

    Raises:
        ConfigurationError: a field is unknown or malformed.
    """
    kind = kind or WEBSOCKET
    source = source or kind.header
    parsed = {}
    for name, value in values.items():
        parse = kind.fields.get(name)
        if parse is None:
            raise ConfigurationError(
                f"{source}: unknown field {name!r:.80}{nearest(str(name), kind.fields)}"
            )
        try:
            parsed[name] = parse(value)
        except ValueError as error:
            raise ConfigurationError(f"{source}: {name!r}: {error}") from None
    return parsed


def _as_dict(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in _LIMITS}


def _parse_topic(value: Any) -> str:
    if not is_topic(value):
        raise ValueError(
            f"a topic is a string that is not empty and has no '@' first: {value!r:.80}"
        )
    value.encode()  # half a surrogate pair can't be sent to anybody: a UnicodeEncodeError says so
    return value


def _parse_metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'metadata is an object like {{"user": 7}}, got {value!r:.80}')
    return {name: _copy(item) for name, item in value.items()}


def _copy(value: Any) -> Any:
    """Return a copy of what JSON can nest; anything else is what it is."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _parse_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"write a whole number, 0 for off, got {value!r:.80}")
    return value


def _parse_rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise ValueError(f"write messages per second, 0 for off, got {value!r:.80}")
    return float(value)


def _parse_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"write true or false, got {value!r:.80}")
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"write one of {', '.join(words)}, got {value!r:.80}")
        return str(value)

    return parse


def _parse_optional_pid(value: Any) -> PID:
    return PID() if value == "" else PID.parse(value)


_SHARED_FIELDS: dict[str, Callable[[Any], Any]] = {
    "message_topic": _parse_topic,
    "heartbeat_interval": parse_duration,
    "metadata": _parse_metadata,
    "max_backlog": _parse_count,
    "slow_consumer": _one_of(*SLOW_CONSUMER_POLICIES),
    "idle_timeout": parse_duration,
}

WEBSOCKET = RelayKind(
    WS_RELAY_HEADER,
    WS_CONTROL,
    {
        **_SHARED_FIELDS,
        "target_pid": PID.parse,
        "dialect": _one_of(*DIALECTS),
        "max_message_size": _parse_count,
        "ping_interval": parse_duration,
        "compression": _parse_flag,
        "max_rate": _parse_rate,
    },
    defaults={},
    needs_target=True,
)

EVENT_STREAM = RelayKind(
    SSE_RELAY_HEADER,
    SSE_CONTROL,
    {
        **_SHARED_FIELDS,
        "target_pid": _parse_optional_pid,
        "hard_timeout": parse_duration,
        "retry": parse_duration,
    },
    defaults={"message_topic": SSE_MESSAGE, "heartbeat_interval": SSE_HEARTBEAT_SECONDS},
    needs_target=False,
)
