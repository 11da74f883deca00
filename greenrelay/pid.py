"""PIDs: the address of a process, and the right to talk to it.

The text form is `host@node/id`: `proc@web1/Zk3v…`. Knowing a PID is all it
takes to send to it, and browsers may see one, so its id can't be guessed.

Two rules: a PID is a plain `str` to everyone who does not care, and its
randomness comes in through an argument.
"""

from __future__ import annotations

import binascii
import functools
import re

from greenrelay.errors import InvalidPID

ID_BYTES = 12
"""Random bytes in an id: 96 bits, 16 characters, far too many to guess."""

MAX_PID_CHARS = 300
"""No honest PID is longer; a bound keeps hostile headers cheap."""

# Half a surrogate pair is in no encoding: a PID with one could be neither sent nor logged.
_PART = re.compile(r"[^@/\s\x00-\x1f\x7f\ud800-\udfff]+")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_ID = re.compile(r"[A-Za-z0-9_-]{16,}")
_WHOLE = re.compile(f"{_PART.pattern}@{_PART.pattern}/{_ID.pattern}")


class PID(str):
    """Name one process for as long as the interpreter of its node lives."""

    __slots__ = ()

    @property
    def host(self) -> str:
        """What kind of process it is: `proc`, `ws`, `sse`, or the spawner's own word."""
        return self[: self.index("@")]

    @property
    def node(self) -> str:
        """Name of the node it lives on."""
        return self[self.index("@") + 1 : self.index("/")]

    @property
    def id(self) -> str:
        """The unguessable part."""
        return self[self.index("/") + 1 :]

    @classmethod
    def make(cls, host: str, node: str, random: bytes) -> PID:
        """Build a PID from `ID_BYTES` or more random bytes.

        Raises:
            InvalidPID: host or node has a character that would make it ambiguous, or too
                many; or an id of so few bytes could be guessed.
        """
        prefix = _make_prefix(host, node)
        if len(random) < ID_BYTES:
            raise InvalidPID(f"an id takes {ID_BYTES} random bytes or more, got {len(random)}")
        identity = binascii.b2a_base64(random, newline=False).translate(_URL_SAFE, b"=")
        text = prefix + identity.decode()
        if len(text) > MAX_PID_CHARS:
            _check_size(text)
        return cls(text)

    @classmethod
    def parse(cls, text: object) -> PID:
        """Return `text` as a PID.

        Raises:
            InvalidPID: it is none; the text names the part that is wrong.
        """
        if type(text) is cls:
            return text
        if type(text) is str and len(text) <= MAX_PID_CHARS and _WHOLE.fullmatch(text):
            return cls(text)
        if not isinstance(text, str):
            fix = "; process.spawn() of it gives one" if callable(text) else ""
            raise InvalidPID(
                f"a PID is a str like 'proc@web1/Zk3v…', got {type(text).__name__}{fix}"
            )
        _check_size(text)
        shown = repr(text[:80])
        host, at, rest = text.partition("@")
        node, slash, identity = rest.partition("/")
        if not at or not slash:
            fix = f"; if it is a registered name: process.registry.lookup({shown})"
            raise InvalidPID(
                f"{shown} is not of the form host@node/id{'' if '@' in text or not text else fix}"
            )
        _check_part("host", host)
        _check_part("node", node)
        if not _ID.fullmatch(identity):
            raise InvalidPID(
                f"the id in {shown} must be 16 or more of A-Z a-z 0-9 - _, as spawn() returned it"
            )
        return cls(text)


def _check_size(text: str) -> None:
    if len(text) > MAX_PID_CHARS:
        raise InvalidPID(
            f"{text[:80]!r}… has {len(text)} characters, a PID at most {MAX_PID_CHARS}"
        )


@functools.lru_cache(maxsize=64)  # a node makes PIDs of few hosts, and all with its own name
def _make_prefix(host: str, node: str) -> str:
    _check_part("host", host)
    _check_part("node", node)
    return f"{host}@{node}/"


@functools.lru_cache(maxsize=64)  # most PIDs that are parsed are of few nodes, too
def _check_part(part: str, text: str) -> None:
    if not _PART.fullmatch(text):
        raise InvalidPID(
            f"the {part} {text[:80]!r} must be one or more characters without '@', '/' and spaces"
        )
