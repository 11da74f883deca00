"""PIDs: an address that is a plain text, and that nobody can guess."""

import copy
import json
import os
import pickle

import pytest
import simplejson
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.errors import GreenRelayError, InvalidPID
from greenrelay.pid import ID_BYTES, MAX_PID_CHARS, PID

RANDOM = bytes(range(ID_BYTES))
TEXT = "proc@web1/AAECAwQFBgcICQoL"


@pytest.fixture
def pid():
    return PID.make("proc", "web1", RANDOM)


def test_the_text_form_is_host_node_and_id(pid):
    """§1.1"""
    assert pid == TEXT
    assert (pid.host, pid.node, pid.id) == ("proc", "web1", "AAECAwQFBgcICQoL")


@pytest.mark.parametrize("host", ["proc", "ws", "sse", "room", "order-17"])
def test_the_spawner_names_the_host(host):
    """§1.1"""
    assert PID.make(host, "web1", RANDOM).host == host


def test_an_id_has_96_random_bits():
    """§1.1: it can't be guessed or counted."""
    assert ID_BYTES * 8 >= 96
    assert len(PID.make("proc", "n", RANDOM).id) * 6 >= 96


def test_fewer_random_bits_are_refused():
    """§1.1"""
    with pytest.raises(InvalidPID, match="12 random bytes or more, got 11"):
        PID.make("proc", "n", bytes(11))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=ID_BYTES, max_size=33))
def test_an_id_is_url_safe_and_different_for_different_bytes(random):
    """§1.1"""
    pid = PID.make("proc", "web1", random)
    assert not set(pid.id) - set("-_0123456789") - {*map(chr, (*range(65, 91), *range(97, 123)))}
    assert PID.parse(str(pid)) == pid
    assert pid != PID.make("proc", "web1", random[:-1] + bytes((random[-1] ^ 1,)))


def test_a_pid_is_a_text(pid):
    """§1.2: hashable, comparable, JSON-serialisable as it is."""
    assert isinstance(pid, str)
    assert pid == TEXT
    assert {pid: 1}[TEXT] == 1
    assert sorted([pid, PID("a@b/c")]) == ["a@b/c", TEXT]
    assert json.dumps({"pid": pid}) == simplejson.dumps({"pid": pid}) == f'{{"pid": "{TEXT}"}}'


def test_a_pid_survives_copies_and_pickles(pid):
    """§1.2"""
    for twin in (copy.deepcopy(pid), pickle.loads(pickle.dumps(pid))):
        assert twin == pid
        assert type(twin) is PID


def test_a_pid_takes_no_further_attributes(pid):
    """Millions of them may be about."""
    with pytest.raises(AttributeError):
        pid.colour = "blue"


def test_parsing_gives_a_pid_back(pid):
    """§1.2"""
    parsed = PID.parse(TEXT)
    assert type(parsed) is PID
    assert parsed == pid
    assert PID.parse(pid) is pid


GOOD = {
    "names with dots and dashes": "proc@web-1.example.org/AAECAwQFBgcICQoL",
    "names beyond ASCII": "küche@wohnung/AAECAwQFBgcICQoL",
    "a longer id": TEXT + "_-" * 20,
    "as long as can be": "proc@" + "n" * (MAX_PID_CHARS - 22) + "/AAECAwQFBgcICQoL",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_unusual_pids_are_pids(text):
    """§1.1"""
    assert PID.parse(text) == text


BAD = {
    "empty": ("", "'' is not of the form host@node/id"),
    "a word": ("proc", "not of the form host@node/id"),
    "no node": ("proc/AAECAwQFBgcICQoL", "not of the form host@node/id"),
    "no id": ("proc@web1", "not of the form host@node/id"),
    "slash first": ("proc/x@web1", "not of the form host@node/id"),
    "empty host": ("@web1/AAECAwQFBgcICQoL", "the host ''"),
    "empty node": ("proc@/AAECAwQFBgcICQoL", "the node ''"),
    "empty id": ("proc@web1/", "the id in 'proc@web1/'"),
    "short id": ("proc@web1/AAECAwQFBgcICQo", "16 or more"),
    "id with padding": (TEXT + "==", "the id"),
    "id with a slash": (TEXT + "/x", "the id"),
    "id with standard base64": (TEXT + "+", "the id"),
    "id beyond ASCII": (TEXT + "é", "the id"),
    "digits of another script": (TEXT + "٣", "the id"),
    "line break behind": (TEXT + "\n", "the id"),
    "space before": (" " + TEXT, "the host ' proc'"),
    "slash in the host": ("a/b@web1/AAECAwQFBgcICQoL", "the host 'a/b'"),
    "at in the node": ("proc@a@b/AAECAwQFBgcICQoL", "the node 'a@b'"),
    "space in the node": ("proc@a b/AAECAwQFBgcICQoL", "the node 'a b'"),
    "line break in the host": ("pr\noc@web1/AAECAwQFBgcICQoL", r"the host 'pr\noc'"),
    "NUL in the node": ("proc@web\0/AAECAwQFBgcICQoL", r"the node 'web\x00'"),
    "half a surrogate pair": ("proc@\ud800/AAECAwQFBgcICQoL", r"the node '\ud800'"),
    "too long": ("proc@" + "n" * MAX_PID_CHARS, "a PID at most 300"),
    "far too long": ("x" * 10_000_000, "has 10000000 characters"),
    "bytes": (TEXT.encode(), "got bytes"),
    "nothing": (None, "got NoneType"),
    "a number": (7, "got int"),
    "a list": ([TEXT], "got list"),
    "a function": (print, "got builtin_function_or_method; process.spawn() of it gives one"),
}


@pytest.mark.parametrize(("value", "fault"), BAD.values(), ids=BAD.keys())
def test_what_is_no_pid_is_refused_by_name(value, fault):
    """§1.2: `InvalidPID` naming what is wrong."""
    with pytest.raises(InvalidPID) as caught:
        PID.parse(value)
    assert fault in str(caught.value)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.from_regex(r".{0,9}@.{0,9}/.{0,20}", fullmatch=True)))
def test_any_text_is_a_pid_with_all_its_parts_or_invalid(text):
    """§1.2"""
    try:
        pid = PID.parse(text)
    except InvalidPID:
        return
    assert f"{pid.host}@{pid.node}/{pid.id}" == text
    assert all((pid.host, pid.node, pid.id))


@pytest.mark.parametrize("part", ["", "a b", "a@b", "a/b", "a\n", "\0", "\ud800", "x" * 300])
def test_no_pid_is_made_that_could_not_be_parsed(part):
    """§1.1"""
    with pytest.raises(InvalidPID, match="host" if len(part) < 300 else "at most 300"):
        PID.make(part, "web1", RANDOM)
    with pytest.raises(InvalidPID, match="node" if len(part) < 300 else "at most 300"):
        PID.make("proc", part, RANDOM)


def test_an_invalid_pid_can_be_caught_as_ours_and_as_a_wrong_value():
    """§1.2"""
    assert issubclass(InvalidPID, GreenRelayError)
    assert issubclass(InvalidPID, ValueError)


def test_randomness_comes_in_through_an_argument():
    """§1.1: the same bytes, the same PID; other bytes, another."""
    assert PID.make("proc", "n", RANDOM) == PID.make("proc", "n", RANDOM)
    assert PID.make("proc", "n", os.urandom(12)) != PID.make("proc", "n", os.urandom(12))
