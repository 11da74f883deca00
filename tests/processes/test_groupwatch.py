"""Who watches a group is told of its members, and then of every change (§2.13)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.sample_processes import idle


class Reader:
    """A process that watches a group and keeps what it is told."""

    def __init__(self, node, *names):
        self.told = []
        self.pid = node.spawn(self._run, (names,))
        gevent.sleep(0)

    def _run(self, names):
        for name in names:
            process.group(name).watch()
        for message in process.inbox():
            if message.topic == "do":
                message.payload()
            else:
                self.told.append(message)

    def do(self, call):
        process.send(self.pid, "do", call)
        gevent.sleep(0)

    @property
    def news(self):
        """What it was told, in short."""
        gevent.sleep(0)
        return [(message.topic, message.payload) for message in self.told]


@pytest.fixture
def reader(node):
    return Reader(node, "room")


@pytest.fixture
def member(node):
    return node.spawn(idle)


def joined(pid, meta=None, group="room"):
    return ("group.join", {"group": group, "pid": pid, "meta": meta or {}})


def left(pid, meta=None, group="room"):
    return ("group.leave", {"group": group, "pid": pid, "meta": meta or {}})


def state(members, group="room"):
    return ("group.state", {"group": group, "members": members})


def test_watcher_gets_the_state_first(node, member):
    """§2.13"""
    process.group("room").join(member, {"name": "Ada"})
    assert Reader(node, "room").news == [state({member: {"name": "Ada"}})]


def test_watcher_of_a_group_without_members_gets_an_empty_state(reader):
    """§2.13: that nobody is there is news."""
    assert reader.news == [state({})]


def test_watcher_is_told_who_joins_and_who_leaves(reader, member):
    """§2.13"""
    process.group("room").join(member, meta={"name": "Ada"})
    process.group("room").leave(member)
    assert reader.news[1:] == [joined(member, {"name": "Ada"}), left(member, {"name": "Ada"})]


def test_sender_of_a_change_is_the_member(reader, member):
    """§2.13"""
    process.group("room").join(member)
    assert reader.news
    assert [message.sender for message in reader.told] == [None, member]


def test_new_metadata_is_another_join(reader, member):
    """§2.13: and no leave before it; the same again is nothing."""
    for meta in ({}, {"away": True}, {"away": True}):
        process.group("room").join(member, meta)
    assert reader.news[1:] == [joined(member), joined(member, {"away": True})]


@pytest.mark.parametrize("end", [process.cancel, process.terminate])
def test_member_that_ends_leaves(reader, member, end):
    """§2.13"""
    process.group("room").join(member, {"a": 1})
    end(member)
    wait_until(lambda: len(reader.news) == 3)
    assert reader.news[-1] == left(member, {"a": 1})


def test_leave_is_told_before_the_exit_of_a_monitor(node, reader, member):
    """§2.13, §2.2"""
    seen = []

    class Witness:
        def on_exit(self, news):
            seen.append(process.info(reader.pid)["mailbox"])

    process.group("room").join(member)
    assert reader.news
    node.monitor(Witness(), member)
    process.cancel(member)
    wait_until(lambda: seen)
    assert seen == [1]


def test_watcher_hears_of_itself_too(reader):
    """§2.13"""
    reader.do(lambda: process.group("room").join(meta={"me": True}))
    reader.do(lambda: process.group("room").leave())
    assert reader.news[1:] == [joined(reader.pid, {"me": True}), left(reader.pid, {"me": True})]


def test_watcher_is_told_of_its_groups_only(node, member):
    """§2.13"""
    reader = Reader(node, "room", "hall")
    for group in ("hall", "yard"):
        process.group(group).join(member)
    assert reader.news[2:] == [joined(member, group="hall")]


def test_several_watchers_are_all_told(node, member):
    """§2.13"""
    readers = [Reader(node, "room") for _ in range(3)]
    process.group("room").join(member)
    assert [reader.news[1:] for reader in readers] == [[joined(member)]] * 3


def test_watching_again_brings_another_state_and_no_change_twice(reader, member):
    """§2.13"""
    reader.do(lambda: process.group("room").watch())
    process.group("room").join(member)
    assert reader.news == [state({}), state({}), joined(member)]


def test_who_unwatches_is_told_no_more(reader, member):
    """§2.13"""
    answers = []
    for _ in range(2):
        reader.do(lambda: answers.append(process.group("room").unwatch()))
    process.group("room").join(member)
    assert answers == [True, False]
    assert reader.news == [state({})]


def test_watch_ends_with_the_watcher(node, reader):
    """§2.13"""
    process.terminate(reader.pid)
    assert len(node.table.groupwatch) == 0


def test_listener_of_a_topic_has_the_changes_for_itself(node, member):
    """§2.13, §2.2: they are messages as any other."""
    told = []

    def watch():
        joins = process.listen("group.join")
        process.group("room").watch()
        told.append(joins.receive().payload["pid"])

    node.spawn(watch)
    gevent.sleep(0)
    process.group("room").join(member)
    wait_until(lambda: told == [member])


def test_connections_watch_nothing_and_are_members_all_the_same(node, reader, recorder):
    """§2.13: whatever has a PID may join."""
    process.group("room").join(recorder.pid, {"tab": 1})
    assert reader.news[1:] == [joined(recorder.pid, {"tab": 1})]


# -- whose metadata it is ----------------------------------------------------------------


def test_metadata_is_copied_in(member):
    """§2.13"""
    meta = {"tags": ["a"]}
    process.group("room").join(member, meta)
    meta["tags"].append("b")
    assert process.group("room").details() == {member: {"tags": ["a"]}}


def test_metadata_is_copied_out(member):
    """§2.13"""
    group = process.group("room")
    group.join(member, {"tags": ["a"]})
    group.details()[member]["tags"].append("b")
    assert group.details() == {member: {"tags": ["a"]}}


def test_metadata_in_a_message_is_the_watchers(node, reader, member):
    """§2.13"""
    group = process.group("room")
    group.join(member, {"tags": ["a"]})
    other = Reader(node, "room")
    assert reader.news
    assert other.news
    reader.told[1].payload["meta"]["tags"].append("b")
    other.told[0].payload["members"][member]["tags"].append("c")
    assert group.details() == {member: {"tags": ["a"]}}


def test_joining_without_metadata_empties_it(member):
    """§2.13: the last join counts."""
    process.group("room").join(member, {"a": 1})
    process.group("room").join(member)
    assert process.group("room").details() == {member: {}}


# -- bad use -----------------------------------------------------------------------------

CYCLE = {}
CYCLE["self"] = [CYCLE]


@pytest.mark.parametrize(
    ("meta", "error", "text"),
    [
        ("Ada", TypeError, "takes a mapping like {'name': 'Ada'}, got 'Ada'"),
        (None, TypeError, "takes a mapping"),
        (CYCLE, ValueError, "does not contain itself"),
    ],
    ids=["text", "none", "cycle"],
)
def test_what_is_no_metadata_is_refused(member, meta, error, text):
    """§2.13"""
    with pytest.raises(error, match=text):
        process.group("room").join(member, meta)
    assert process.group("room").members() == []


def test_process_that_counts_as_dead_watches_nothing(node):
    """§2.5, §2.13: whatever its code still does."""
    outcome = []

    def go_on():
        try:
            process.inbox().receive()
        finally:
            node.end(node.find(process.pid()), "killed")
            with pytest.raises(process.ProcessDown):
                process.group("room").watch()
            outcome.append(len(node.table.groupwatch))

    pid = node.spawn(go_on)
    gevent.sleep(0)
    process.terminate(pid)
    wait_until(lambda: outcome)
    assert outcome == [0]
