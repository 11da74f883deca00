"""Envelopes are taken from whom they should be, once, and unaltered; all else by kind (§7.4)."""

import contextlib
import hmac

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from greenrelay.cluster.backend import Member
from greenrelay.cluster.envelope import (
    FRAME_BYTES,
    MAX_ENVELOPE_BYTES,
    OLDEST_VERSION,
    VERSION,
    Opener,
    Sealer,
    Signer,
)
from greenrelay.errors import EnvelopeError
from greenrelay.pid import MAX_PID_CHARS

A = Member("a", "incarnation-of-a")
B = Member("b", "incarnation-of-b")
SECRET = b"a secret of ours"
SECRETS = pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "signed"])


def seal(*operations, me=A, to=B, secret=None, **options):
    return Sealer(me, to, secret, **options).seal(operations)


def refused(data, me=B, sender=A, secret=None, opener=None, **options):
    """Return the kind under which an envelope is refused."""
    with pytest.raises(EnvelopeError) as told:
        (opener or Opener(me, sender, secret, **options)).open(data)
    return told.value.kind


def rewrite(data, index, value):
    """Return an unsigned envelope with another item."""
    items = msgpack.unpackb(data)
    items[index] = value
    return msgpack.packb(items)


# -- there and back -----------------------------------------------------------------------


@SECRETS
@given(turns=st.lists(st.lists(st.binary()), max_size=5))
def test_operations_arrive_in_their_order(secret, turns):
    """§7.3"""
    sealer, opener = Sealer(A, B, secret), Opener(B, A, secret)
    opened = [opener.open(sealer.seal(operations)) for operations in turns]
    assert opened == list(enumerate(turns, 1))


# The bytes are a promise: what any version has sent, each later one reads.
WIRE = {
    1: "970" + "1a161b0696e6361726e6174696f6e2d6f662d61a162b0696e6361726e6174696f6e2d6f662d62"
    "0192c4026f31c4026f32",
}


@pytest.mark.parametrize("version", range(OLDEST_VERSION, VERSION + 1))
def test_an_envelope_of_every_version_since_the_oldest_is_read(version):
    """§7.4"""
    assert Opener(B, A).open(bytes.fromhex(WIRE[version])) == (1, [b"o1", b"o2"])


@SECRETS
def test_a_newer_greenrelay_reads_what_this_one_has_written(secret, monkeypatch):
    """§7.4"""
    data = seal(b"o1", secret=secret)
    monkeypatch.setattr("greenrelay.cluster.envelope.VERSION", VERSION + 1)
    assert Opener(B, A, secret).open(data) == (1, [b"o1"])


@SECRETS
def test_an_older_greenrelay_says_what_it_can_not_read(secret, monkeypatch):
    """§7.4"""
    monkeypatch.setattr("greenrelay.cluster.envelope.VERSION", VERSION + 1)
    data = seal(b"o1", secret=secret)
    monkeypatch.undo()
    assert refused(data, secret=secret) == "newer_version"


def test_an_envelope_is_written_as_ever():
    assert seal(b"o1", b"o2").hex() == WIRE[VERSION]


def test_an_envelope_is_msgpack():
    """§7.4"""
    items = msgpack.unpackb(seal(b"o1"))
    assert items == [VERSION, *A, *B, 1, [b"o1"]]


def test_a_signature_is_that_of_all_before_it():
    """§7.4: sender, receiver, sequence and body."""
    signed = seal(b"o1", secret=SECRET)
    body, tag = signed[:-34], signed[-32:]
    assert body[1:] == seal(b"o1")[1:]
    assert tag == hmac.digest(SECRET, body, "sha256")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_signature_is_hmac_sha256(secret, data):
    """§7.4"""
    assert Signer(secret).sign(data) == hmac.digest(secret, data, "sha256")


def test_a_text_is_a_secret_too():
    data = seal(b"o1", secret="grün")
    assert Opener(B, A, "grün".encode()).open(data) == (1, [b"o1"])


# -- numbers ------------------------------------------------------------------------------


@SECRETS
def test_what_is_missing_is_told_and_no_error(secret):
    """§7.3"""
    sealer, opener = Sealer(A, B, secret), Opener(B, A, secret)
    first, *_, fourth, fifth = (sealer.seal([b"o"]) for _ in range(5))
    missed = [(opener.open(data)[0], opener.missed) for data in (first, fourth, fifth)]
    assert missed == [(1, 0), (4, 2), (5, 0)]


def test_what_is_missing_at_first_is_told():
    """§7.3"""
    sealer, opener = Sealer(A, B), Opener(B, A)
    sealer.seal([])
    opener.open(sealer.seal([]))
    assert opener.missed == 1


REPLAYS = {
    "the last": ([1, 2], 2),
    "an older one": ([1, 2], 1),
    "one that was missing": ([1, 3], 2),
}


@SECRETS
@pytest.mark.parametrize(("taken", "again"), REPLAYS.values(), ids=REPLAYS)
def test_a_number_is_taken_once(secret, taken, again):
    """§7.4"""
    sealer, opener = Sealer(A, B, secret), Opener(B, A, secret)
    sent = [sealer.seal([b"o"]) for _ in range(3)]
    for number in taken:
        opener.open(sent[number - 1])
    assert refused(sent[again - 1], opener=opener) == "replayed"


@SECRETS
def test_what_was_refused_changes_nothing(secret):
    """§7.4: a replayed one does not make the next one look replayed, or missing."""
    sealer, opener = Sealer(A, B, secret), Opener(B, A, secret)
    first = sealer.seal([b"o"])
    opener.open(first)
    for data in (first, b"", seal(b"o", me=B, secret=secret), b"\x97\x02"):
        refused(data, opener=opener)
    assert opener.open(sealer.seal([b"next"])) == (2, [b"next"])
    assert opener.missed == 0


# -- refused ------------------------------------------------------------------------------

PLAIN = seal(b"o1")
SIGNED = seal(b"o1", secret=SECRET)
OTHER = b"another secret"
LATER = Member("a", "another start of a")

REFUSED = {
    "nothing": (b"", None, "malformed"),
    "one byte": (b"\x97", None, "malformed"),
    "a text": (b"\xa1a", None, "malformed"),
    "text": (b"GET / HTTP/1.1\r\n", None, "malformed"),
    "its beginning": (PLAIN[:-1], None, "malformed"),
    "more behind it": (PLAIN + b"\xc0", None, "malformed"),
    "too few items": (msgpack.packb([1, *A, *B, 1]), None, "malformed"),
    "version 0": (rewrite(PLAIN, 0, 0), None, "malformed"),
    "version -1": (rewrite(PLAIN, 0, -1), None, "malformed"),
    "no version": (rewrite(PLAIN, 0, "1"), None, "malformed"),
    "number 0": (rewrite(PLAIN, 5, 0), None, "malformed"),
    "a negative number": (rewrite(PLAIN, 5, -1), None, "malformed"),
    "an endless number": (rewrite(PLAIN, 5, 2**63), None, "malformed"),
    "a number that is none": (rewrite(PLAIN, 5, True), None, "malformed"),
    "a fractional number": (rewrite(PLAIN, 5, 1.5), None, "malformed"),
    "no operations": (rewrite(PLAIN, 6, None), None, "malformed"),
    "operations in a dict": (rewrite(PLAIN, 6, {}), None, "malformed"),
    "an operation of text": (rewrite(PLAIN, 6, [b"o", "o"]), None, "malformed"),
    "names in other clothes": (b"\x97\x01\xd9\x01a" + PLAIN[4:], None, "malformed"),
    "a newer version": (rewrite(PLAIN, 0, VERSION + 1), None, "newer_version"),
    "a newer version of any shape": (b"\x92\x02\xc0", None, "newer_version"),
    "a newer version, and we have a secret": (b"\x98\x02\xc0", SECRET, "newer_version"),
    "of another node": (seal(me=Member("c", A.incarnation)), None, "foreign"),
    "of another start of it": (seal(me=LATER), None, "foreign"),
    "for another node": (seal(to=Member("c", B.incarnation)), None, "foreign"),
    "for an earlier start of us": (seal(to=Member("b", "before")), None, "foreign"),
    "of another node, signed": (seal(me=LATER, secret=SECRET), SECRET, "foreign"),
    "our own": (seal(me=B, to=A), None, "foreign"),
    "signed, and we have no secret": (SIGNED, None, "foreign"),
    "unsigned, and we have a secret": (PLAIN, SECRET, "unsigned"),
    "signed by somebody else": (seal(b"o1", secret=OTHER), SECRET, "forged"),
    "the signature of another": (SIGNED[:-32] + bytes(32), SECRET, "forged"),
    "the signature cut off": (SIGNED[:-1], SECRET, "malformed"),
    "only the signature": (b"\x98\x01" + SIGNED[-34:], SECRET, "forged"),
    "a signature that is missing": (SIGNED[:-34], SECRET, "malformed"),
}


@pytest.mark.parametrize(("data", "secret", "kind"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_ours_is_refused_by_kind(data, secret, kind):
    """§7.4"""
    assert refused(data, secret=secret) == kind


@given(st.integers(2, len(SIGNED) - 1), st.integers(1, 255))
def test_an_altered_byte_is_noticed(index, change):
    """§7.4: whichever it is, with a secret."""
    data = bytearray(SIGNED)
    data[index] ^= change
    assert refused(bytes(data), secret=SECRET) in {"forged", "malformed"}


def test_a_signature_of_one_way_is_none_for_the_other():
    """§7.4: what a sent to b can't be handed to a as b's."""
    assert refused(SIGNED, me=A, sender=B, secret=SECRET) == "foreign"


def test_the_secret_is_in_no_text():
    opener = Opener(B, A, "hunter2")
    with pytest.raises(EnvelopeError) as told:
        opener.open(seal(b"o1", secret="hunter3"))
    texts = (repr(opener), repr(Sealer(A, B, "hunter2")), str(told.value), repr(Signer("hunter2")))
    assert "hunter" not in "".join(texts)


# -- bounds -------------------------------------------------------------------------------


def test_a_larger_one_is_not_made():
    """§7.4"""
    with pytest.raises(EnvelopeError, match="too_big"):
        seal(bytes(MAX_ENVELOPE_BYTES))


def test_a_larger_one_takes_no_number():
    sealer = Sealer(A, B)
    with pytest.raises(EnvelopeError):
        sealer.seal([bytes(MAX_ENVELOPE_BYTES)])
    assert Opener(B, A).open(sealer.seal([])) == (1, [])


def test_a_larger_one_is_not_taken():
    """§7.4"""
    assert refused(seal(bytes(2000)), max_bytes=2000) == "too_big"


@SECRETS
def test_the_longest_names_have_room_in_the_frame(secret):
    longest = Member("\U0001f600" * MAX_PID_CHARS, "i" * 16)
    data = seal(bytes(MAX_ENVELOPE_BYTES - FRAME_BYTES), me=longest, to=longest, secret=secret)
    assert Opener(longest, longest, secret).open(data)[0] == 1


def opens_or_refuses(data, secret):
    """Open; only one kind of error may come of it."""
    with contextlib.suppress(EnvelopeError):
        Opener(B, A, secret).open(data)


@SECRETS
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
@example(data=b"\x97\x01" + b"\xdd\xff\xff\xff\xff" * 10)
@example(data=PLAIN[:38] + b"\x91" * 2000)
def test_any_bytes_are_an_envelope_or_refused(secret, data):
    """§7.4"""
    opens_or_refuses(data, secret)


@SECRETS
@settings(max_examples=300, deadline=None)
@given(operations=st.lists(st.binary(max_size=20), max_size=4), data=st.data())
def test_an_envelope_with_altered_bytes_is_one_or_refused(secret, operations, data):
    """§7.4"""
    wire = bytearray(seal(*operations, secret=secret))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    opens_or_refuses(bytes(wire[:cut]), secret)
    opens_or_refuses(bytes(wire), secret)
