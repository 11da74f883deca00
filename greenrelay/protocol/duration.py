"""Durations as people write them: `30s`, `1m30s`, `500ms`, `2h`.

The grammar: one or more of NUMBER UNIT, where UNIT is `h`, `m`, `s` or `ms`,
each at most once and in falling order; NUMBER may have a fraction. `0s` means off.

By hand, because pytimeparse knows no milliseconds, takes `2:30` and `-3s`, and does not say what is
wrong with a text.
"""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m(?!s))?"
    r"(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?",
    re.ASCII,
)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

MAX_DURATION_SECONDS = 366 * 24 * 3600.0
"""A year: longer ones are typing mistakes, and far larger ones overflow timers."""


def parse_duration(text: object) -> float:
    """Return the seconds that `text` stands for.

    Raises:
        ValueError: it is no duration; the text shows one that is.
    """
    if text == 0 and not isinstance(text, bool):
        return 0.0  # off, as for every limit
    if text == "0":
        return 0.0
    if not isinstance(text, str):
        raise ValueError(f"a duration is a string like '30s' or '1m30s', got {text!r:.80}")
    if text.startswith("-"):
        raise ValueError(f"a duration can't be negative, got {text!r:.80}; write '0s' for off")
    match = _DURATION.fullmatch(text) if len(text) <= 64 else None
    if match is None or not text:
        raise ValueError(
            f"{text[:64]!r} is no duration; write a number with h, m, s or ms, like '1m30s'"
        )
    seconds = sum(float(value) * _SECONDS[unit] for unit, value in match.groupdict("0").items())
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError(f"{text!r} is longer than a year; write '0s' for off")
    return seconds
