"""Envelopes: what one member hands another, with whom it is from, whom it is for, and its number.

    [version, sender's node, its incarnation, receiver's node, its incarnation, number, operations]

as one msgpack array; with a secret one item more, the HMAC-SHA-256 of everything before it. An
operation is bytes, made once and put into as many envelopes as there are members to tell.

Three rules. What is signed is looked at only once its signature has held. Numbers grow by one, so
that what is missing shows, and what was sent before is never taken again. And any bytes give an
envelope or an `EnvelopeError`, by kind:

    malformed       it is no envelope
    newer_version   a newer greenrelay has written it
    unsigned        we have a secret, and it has no signature
    forged          its signature is not that of our secret, or it was altered
    foreign         it is from another than the connection's sender, or for another than us;
                    or it is signed, and we have no secret
    replayed        its number was there before
    too_big         it is larger than an envelope may be
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, NoReturn

from greenrelay.cluster.backend import Member
from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import EnvelopeError

VERSION: Final = 1
OLDEST_VERSION: Final = 1
"""Versions from this one on are read, so that nodes can be upgraded one after the other."""

MAX_ENVELOPE_BYTES: Final = 1024 * 1024
"""1 MiB: what takes longer to send keeps everything behind it waiting."""

FRAME_BYTES: Final = 4096
"""The most that an envelope has besides its operations: names, a number, a signature."""

_ARRAY = 0x90  # of up to 15 items
_ITEMS = 7
_TAG_HEAD = b"\xc4\x20"  # 32 bytes follow
_TAG_BYTES = len(_TAG_HEAD) + hashlib.sha256().digest_size
_MAX_NUMBER = 2**63


class Signer:
    """HMAC-SHA-256 with one key. Source: RFC 2104.

    Two prepared hashes are copied for each text: half the time of hmac's.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str | bytes) -> None:
        secret = secret.encode() if isinstance(secret, str) else secret
        block = hashlib.sha256().block_size
        key = secret if len(secret) <= block else hashlib.sha256(secret).digest()
        key = key.ljust(block, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def sign(self, data: bytes) -> bytes:
        """Return the 32 bytes that only who knows the secret can make."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Sealer:
    """Puts operations for one other member into envelopes.

    Args:
        me: who sends.
        to: for whom they are.
        secret: with it they are signed.
        max_bytes: how large an envelope may be.
    """

    __slots__ = ("_max_bytes", "_number", "_prefix", "_signer")

    def __init__(
        self,
        me: Member,
        to: Member,
        secret: str | bytes | None = None,
        max_bytes: int = MAX_ENVELOPE_BYTES,
    ) -> None:
        self._signer = Signer(secret) if secret is not None else None
        self._prefix = _make_prefix(me, to, secret is not None)
        self._max_bytes = max_bytes
        self._number = 0

    def seal(self, operations: Sequence[bytes]) -> bytes:
        """Return the next envelope; each has to be sent, or its number is missing.

        Raises:
            EnvelopeError: it is larger than it may be, by kind `too_big`.
        """
        number = self._number + 1
        data = self._prefix + pack(number) + pack(list(operations))
        size = len(data) + (0 if self._signer is None else _TAG_BYTES)
        if size > self._max_bytes:
            raise EnvelopeError("too_big", f"{size:,} bytes, at most {self._max_bytes:,}")
        self._number = number
        return data if self._signer is None else data + _TAG_HEAD + self._signer.sign(data)


class Opener:
    """Takes the operations of one other member out of its envelopes.

    Args:
        me: who receives.
        sender: who must have sent them.
        secret: with it they must be signed.
        max_bytes: how large an envelope may be.
    """

    __slots__ = ("_max_bytes", "_me", "_prefix", "_sender", "_signer", "missed", "number")

    number: int
    """The number of the last envelope that was opened."""
    missed: int
    """How many envelopes are missing right before it."""

    def __init__(
        self,
        me: Member,
        sender: Member,
        secret: str | bytes | None = None,
        max_bytes: int = MAX_ENVELOPE_BYTES,
    ) -> None:
        self._me = me
        self._sender = sender
        self._signer = Signer(secret) if secret is not None else None
        self._prefix = _make_prefix(sender, me, secret is not None)
        self._max_bytes = max_bytes
        self.number = 0
        self.missed = 0

    def open(self, data: bytes) -> tuple[int, list[bytes]]:
        """Return the number of an envelope, and its operations.

        `missed` tells how many are missing since the one before; that is no error.

        Raises:
            EnvelopeError: drop it, and count it under its kind; nothing else has changed.
        """
        if len(data) > self._max_bytes:
            raise EnvelopeError("too_big", f"{len(data):,} bytes, at most {self._max_bytes:,}")
        end = len(data)
        if self._signer is not None:
            end -= _TAG_BYTES
            self._check_signature(self._signer, data, end)
        if not data.startswith(self._prefix) and not self._is_older(data):
            self._refuse(data)
        number, operations = _read_body(data[len(self._prefix) : end])
        if number <= self.number:
            raise EnvelopeError("replayed", f"number {number} after {self.number}")
        self.missed = number - self.number - 1
        self.number = number
        return number, operations

    def _check_signature(self, signer: Signer, data: bytes, end: int) -> None:
        _check_version(data)
        if data[0] == _ARRAY + _ITEMS:
            raise EnvelopeError("unsigned", "it has no signature, and this node has a secret")
        if data[0] != _ARRAY + _ITEMS + 1 or data[end : end + len(_TAG_HEAD)] != _TAG_HEAD:
            raise EnvelopeError("malformed", "it has no place for a signature")
        if not hmac.compare_digest(signer.sign(data[:end]), data[end + len(_TAG_HEAD) :]):
            raise EnvelopeError("forged", "its signature is not that of this node's secret")

    def _is_older(self, data: bytes) -> bool:
        """Tell whether an envelope begins as it should, and an older greenrelay has written it."""
        older = range(OLDEST_VERSION, VERSION)
        return any(data.startswith(_at_version(self._prefix, number)) for number in older)

    def _refuse(self, data: bytes) -> NoReturn:
        """Say what is wrong with an envelope that does not begin as it should."""
        _check_version(data)
        if self._signer is None and data[0] == _ARRAY + _ITEMS + 1:
            raise EnvelopeError("foreign", "it is signed, and this node has no secret")
        fields = unpack(data)
        if type(fields) is not list or len(fields) != _ITEMS + (self._signer is not None):
            raise EnvelopeError("malformed", "it has not the items of an envelope")
        _, node, incarnation, to_node, to_incarnation, *_ = fields
        if (node, incarnation) != self._sender:
            raise EnvelopeError("foreign", f"from {node!r:.80}, not from {self._sender.node!r}")
        if (to_node, to_incarnation) != self._me:
            raise EnvelopeError("foreign", f"for {to_node!r:.80}, which is not this node now")
        raise EnvelopeError("malformed", "its names are not written as they should be")


def _make_prefix(sender: Member, to: Member, is_signed: bool) -> bytes:
    names = b"".join(map(pack, (*sender, *to)))
    return bytes((_ARRAY + _ITEMS + is_signed, VERSION)) + names


def _at_version(prefix: bytes, number: int) -> bytes:
    return prefix[:1] + bytes((number,)) + prefix[2:]


def _check_version(data: bytes) -> None:
    """Return if we know how an envelope of this version is read."""
    if len(data) < 2 or data[0] & 0xF0 != _ARRAY or data[1] > 0x7F:
        raise EnvelopeError("malformed", "it is no envelope")
    if data[1] > VERSION:
        raise EnvelopeError("newer_version", f"version {data[1]}; this node knows {VERSION}")
    if data[1] < OLDEST_VERSION:
        raise EnvelopeError("malformed", f"version {data[1]} is none")


def _read_body(body: bytes) -> tuple[int, list[bytes]]:
    number, operations = unpack(b"\x92" + body)
    if type(number) is not int or not 0 < number < _MAX_NUMBER:
        raise EnvelopeError("malformed", "its number is none")
    if type(operations) is not list or not set(map(type, operations)) <= {bytes}:
        raise EnvelopeError("malformed", "its operations are not bytes")
    return number, operations
