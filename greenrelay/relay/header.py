"""A relay header between the view that writes it and the middleware that reads it, without I/O.

    fields ─► write_header() ─► text ─► response, other middleware ─► read_header() ─► RelayConfig

The text is all that counts. But the one that was written knows its fields, and as long as nobody
has put another in its place it need not be parsed. One rule: it knows only what parsing it would
give; where JSON changes a value on the way (a tuple, a `Decimal`, a number as a key), it does not.
"""

from __future__ import annotations

from typing import Any

import simplejson

from greenrelay.protocol.jsontext import encode_text
from greenrelay.relay.config import (
    DEFAULT_LIMITS,
    Limits,
    RelayConfig,
    RelayKind,
    check_fields,
    config_of,
    parse_relay_header,
)

_SCALARS = frozenset({str, int, float, bool, type(None)})


class KnownHeader(str):
    """A relay header's text that knows its fields: a `str` to everyone who does not care."""

    __slots__ = ("fields", "kind")

    fields: dict[str, Any]
    """In their inner form."""
    kind: RelayKind
    """Of which of the two headers they are."""

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Have copies, and what is pickled with a response, be the text alone."""
        return str, (str(self),)


def write_header(values: dict[str, Any], kind: RelayKind) -> str:
    """Return a relay header's text.

    Raises:
        ConfigurationError: a field is missing, unknown or malformed.
        TypeError, ValueError, RecursionError: a value is not JSON.
    """
    fields = check_fields(values, kind)
    for name, value in values.items():
        # The target is a PID in the end, however it was written.
        if name != "target_pid" and not _survives(value):
            return simplejson.dumps(values, allow_nan=False)
    text = encode_text(values)
    # A header is ASCII; what is not, simplejson escapes if it is asked to.
    known = KnownHeader(text if text.isascii() else simplejson.dumps(values))
    known.fields, known.kind = fields, kind
    return known


def read_header(text: str, kind: RelayKind, limits: Limits = DEFAULT_LIMITS) -> RelayConfig:
    """Return the configuration that a relay header asks for.

    Args:
        text: the header's value.
        kind: which of the two headers.
        limits: what holds where the header says nothing.

    Raises:
        ConfigurationError: the text names the field and what to write instead.
    """
    if isinstance(text, KnownHeader) and text.kind is kind:
        return config_of(text.fields, limits, kind)
    return parse_relay_header(text, limits, kind)


def _survives(value: Any) -> bool:
    """Tell whether JSON gives a value back as it was."""
    if type(value) in _SCALARS:
        return True
    if type(value) is dict:
        return all(type(key) is str and _survives(item) for key, item in value.items())
    return type(value) is list and all(map(_survives, value))
