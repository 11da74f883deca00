"""What nodes tell each other, as bytes (§7.4)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.cluster import operations
from greenrelay.cluster.operations import BadOperation, decode, encode
from greenrelay.cluster.values import pack
from greenrelay.errors import NotPortable
from greenrelay.pid import PID

ONE = PID("proc@web1/AAAAAAAAAAAAAAAA")
TWO = PID("proc@web2/BBBBBBBBBBBBBBBB")

EXAMPLES = [
    operations.Send(ONE, "topic", b"x", None, 7),
    operations.Call(ONE, "topic", b"x", TWO, TWO),
    operations.SendMany([ONE, TWO], "topic", b"x", None),
    operations.GroupSend("all", "topic", b"x", ONE),
    operations.Cancel(ONE, None, "enough"),
    operations.Kill(ONE, "killed"),
    operations.Monitor(ONE),
    operations.Demonitor(ONE),
    operations.Ended(ONE, "normal", 1.5, b""),
    operations.Link(ONE, TWO),
    operations.Unlink(ONE, TWO),
    operations.Unlinked(ONE, TWO),
    operations.LinkDown(ONE, TWO, "bad", 1.5),
    operations.Name("room", ONE),
    operations.Unname("room", ONE),
    operations.Join("all", ONE, {"a": [1]}),
    operations.Leave("all", ONE),
    operations.Full(ONE),
    operations.Drained(ONE),
    operations.Sync(),
    operations.Synced(),
    operations.Resync(),
    operations.Ask(1, "info", [ONE]),
    operations.Answer(1, None, b""),
    operations.Draining(True),
]


@pytest.mark.parametrize("operation", EXAMPLES, ids=lambda example: type(example).__name__)
def test_an_operation_survives(operation):
    assert decode(encode(operation)) == operation


@pytest.mark.parametrize("operation", EXAMPLES, ids=lambda example: type(example).__name__)
def test_more_fields_are_those_of_a_newer_version(operation):
    kind = type(operation)
    number = next(n for n, (each, _) in operations._TABLE.items() if each is kind)
    assert decode(pack([number, *operation, "new"])) == operation


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [99],
        [1, ONE, "topic", b"x", None],
        [1, "text", "topic", b"x", None, 0],
        [1, ONE, b"topic", b"x", None, 0],
        [3, ["text"], "topic", b"x", None],
        "text",
        7,
        {},
    ],
    ids=repr,
)
def test_what_is_no_operation_is_refused(fields):
    with pytest.raises(BadOperation):
        decode(pack(fields))


@given(st.binary(max_size=60))
def test_any_bytes_are_an_operation_or_refused(data):
    with contextlib.suppress(BadOperation):
        assert type(decode(data)) in {type(example) for example in EXAMPLES}


def test_a_value_that_can_not_go_is_named_with_its_operation():
    with pytest.raises(NotPortable, match="join"):
        encode(operations.Join("all", ONE, {"a": object()}))
