"""The file of records: one order for all, whoever sleeps, whatever is cut short."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.localledger import Ledger
from greenrelay.cluster.locallog import Log
from greenrelay.errors import ClusterError

AUTHORS = "abc"


@pytest.fixture
def directory(tmp_path):
    directory = Directory("test", str(tmp_path))
    yield directory
    directory.close()


@pytest.fixture
def open_log(directory):
    """Open a member's log; all are closed after the test."""
    logs = []

    def opened(incarnation, compact_bytes=1_000_000, is_member=True):
        log = Log(directory, incarnation, compact_bytes)
        logs.append(log)
        if is_member:
            log.join(f"node-{incarnation}", 5.0)
        return log

    yield opened
    for log in logs:
        log.close()


def append(directory, data):
    """Append bytes to the only file."""
    (name,) = (name for name in directory.names() if name.startswith("log."))
    fd = directory.open(name, os.O_WRONLY | os.O_APPEND)
    os.write(fd, data)
    os.close(fd)


def test_who_reads_later_knows_the_same(open_log):
    one = open_log("a")
    one.claim("room", "p1")
    two = open_log("b")
    one.sync()
    assert two.ledger.snapshot() == one.ledger.snapshot()


def test_who_is_no_member_claims_nothing(open_log):
    one = open_log("a", is_member=False)
    assert one.claim("room", "p1") is None


def test_what_a_member_writes_after_it_is_gone_counts_for_nothing(open_log):
    """§7.2"""
    one, two = open_log("a"), open_log("b")
    one.claim("room", "p1")
    two.declare_gone("a")
    one.release("room", "p1")
    assert two.claim("room", "p2") == "p2"
    assert one.claim("other", "p1") is None
    assert one.declare_gone("b") is False


def test_of_two_that_declare_each_other_gone_one_is(open_log):
    """§7.2"""
    one, two, three = open_log("a"), open_log("b"), open_log("c")
    one.sync()
    assert (one.declare_gone("b"), two.declare_gone("a")) == (True, False)
    three.sync()
    assert list(three.ledger.members) == ["a", "c"]


def test_the_names_of_who_is_gone_are_free(open_log):
    """§7.2"""
    one, two = open_log("a"), open_log("b")
    one.claim("room", "p1")
    two.declare_gone("a")
    assert two.claim("room", "p2") == "p2"


@pytest.mark.parametrize(
    "cut",
    [
        b'\n["a",9,"cla',
        b"\n[]\n",
        b"\xff\xfe",
        b"\n\n\n",
        b'\n["a",9,"claim"]\n',
        b"\n{}\n",
        b"\n1\n",
    ],
)
def test_a_record_that_was_cut_short_is_none(open_log, directory, cut):
    one, two = open_log("a"), open_log("b")
    append(directory, cut)
    assert one.claim("room", "p1") == "p1"
    assert two.claim("room", "p2") == "p1"


def test_a_log_that_grows_goes_on_in_another_file(open_log, directory):
    one = open_log("a", compact_bytes=500)
    for number in range(100):
        one.claim("room", f"p{number}")
        one.release("room", f"p{number}")
    (name,) = (name for name in directory.names() if name.startswith("log."))
    assert int(name.removeprefix("log.")) > 5
    assert os.stat(name, dir_fd=directory.fd).st_size < 2000


def test_who_sleeps_while_the_log_goes_on_elsewhere_finds_it(open_log):
    one, two = open_log("a", compact_bytes=500), open_log("b", compact_bytes=500)
    two.claim("kept", "p")
    for number in range(100):
        one.claim("room", f"p{number}")
        one.release("room", f"p{number}")
    one.claim("room", "last")
    assert two.claim("room", "mine") == "last"
    assert two.ledger.names["kept"].pid == "p"


def test_who_was_declared_gone_while_it_slept_through_files_learns_it(open_log):
    """§7.2"""
    one, two = open_log("a", compact_bytes=500), open_log("b", compact_bytes=500)
    one.sync()
    one.declare_gone("b")
    for number in range(100):
        one.claim("room", f"p{number}")
        one.release("room", f"p{number}")
    assert two.claim("room", "mine") is None


def test_a_file_that_was_closed_and_not_followed_is_followed_by_who_comes(open_log, directory):
    one = open_log("a")
    append(directory, b'\n["a",99,"close"]\n')
    two = open_log("b")
    assert two.claim("room", "p2") == "p2"
    assert one.claim("room", "p1") == "p2"


def test_a_lower_file_made_by_who_slept_is_taken_away(open_log, directory):
    one = open_log("a", compact_bytes=500)
    for number in range(50):
        one.claim("room", f"p{number}")
        one.release("room", f"p{number}")
    directory.create("log.2", Ledger().snapshot(), "new")
    two = open_log("b", compact_bytes=500)
    assert list(two.ledger.members) == ["a", "b"]
    assert "log.2" not in directory.names()


def test_another_version_is_told(directory, open_log):
    directory.create("log.1", b'{"version": 2}\n', "new")
    with pytest.raises(ClusterError, match=r"version 2, and this is 1: another version"):
        open_log("a")


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b"[]\n", b'{"version": 1}\n'])
def test_what_is_no_ledger_is_told(directory, open_log, content):
    directory.create("log.1", content, "new")
    with pytest.raises(ClusterError, match="ledger"):
        open_log("a")


STEPS = st.tuples(
    st.sampled_from(AUTHORS),
    st.sampled_from(["claim", "release", "sync"]),
    st.sampled_from(["x", "y", "z"]),
)


@given(steps=st.lists(STEPS, max_size=60), size=st.sampled_from([1, 100, 400, 10**6]))
def test_names_are_as_in_one_table(tmp_path_factory, steps, size):
    """§7.6: whoever claims and releases in which order, through any number of files."""
    directory = Directory("test", str(tmp_path_factory.mktemp("log")))
    logs = {author: Log(directory, author, size) for author in AUTHORS}
    model = {}
    for author, log in logs.items():
        log.join(author, 5.0)
    for author, verb, name in steps:
        if verb == "claim":
            assert logs[author].claim(name, author) == model.setdefault(name, author)
        elif verb == "release":
            logs[author].release(name, author)
            if model.get(name) == author:
                del model[name]
        else:
            logs[author].sync()
    for log in logs.values():
        log.sync()
        assert {name: held.pid for name, held in log.ledger.names.items()} == model
        log.close()
    directory.leave()
