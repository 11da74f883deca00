"""What a client takes from nodes, and what it tells them; the node is the test's own."""

import time

import pytest

from greenrelay.cluster import operations
from greenrelay.cluster.backend import Member
from greenrelay.cluster.envelope import MAX_ENVELOPE_BYTES, Opener, Sealer
from greenrelay.cluster.operations import decode, encode
from greenrelay.cluster.values import pack
from greenrelay.cluster.visitor import Visitor
from greenrelay.errors import ClusterError, ProcessDown
from greenrelay.pid import PID

ONE = Member("one", "an-incarnation-of-one")
TWO = Member("two", "an-incarnation-of-two")
BOX = PID("proc@one/AAAAAAAAAAAAAAAA")
THEIRS = PID("proc@two/AAAAAAAAAAAAAAAA")


class KeptWay:
    """A way that keeps what is published."""

    def __init__(self):
        self.published = []
        self.is_joined = True
        self.is_full = False
        self.problem = "the test says so"

    def publish(self, member, data):
        if not self.is_full:
            self.published.append((member, data))
        return not self.is_full

    def pending(self, member):
        return 0


class FarNode:
    """A node that a visitor talks to."""

    def __init__(self, visitor, member, secret=None):
        self.member = member
        self._visitor = visitor
        self._sealer = Sealer(member, visitor.me, secret)
        self._opener = Opener(member, visitor.me, secret)
        self._read = 0
        visitor.on_up(member)

    def tell(self, *told):
        """Tell the visitor something, in one envelope."""
        self._visitor.on_bytes(self.member, self._sealer.seal([encode(each) for each in told]))

    def lose_one(self):
        """Seal an envelope that never arrives."""
        self._sealer.seal([])

    def heard(self):
        """Return what the visitor has told since the last time."""
        published = [data for to, data in self._visitor.way.published if to == self.member]
        fresh, self._read = published[self._read :], len(published)
        return [decode(part) for data in fresh for part in self._opener.open(data)[1]]


@pytest.fixture
def visitor():
    return Visitor(KeptWay(), None, MAX_ENVELOPE_BYTES)


@pytest.fixture
def one(visitor):
    node = FarNode(visitor, ONE)
    node.heard()
    return node


def names(visitor):
    return dict(visitor.names)


def begin_call(visitor, node, callee=BOX):
    """Begin a call; return it, and where its reply goes."""
    _, call = visitor.begin_call(callee, "ask", pack(None))
    [_, request] = node.heard()
    return call, request.reply_to


# -- coming up ----------------------------------------------------------------------------


def test_a_node_is_told_that_there_is_nothing_to_tell(visitor):
    """§7.8: it owns nothing."""
    assert FarNode(visitor, ONE).heard() == [operations.Sync(), operations.Synced()]


def test_what_a_node_has_told_is_known(visitor, one):
    one.tell(operations.Sync(), operations.Name("box", BOX), operations.Join("all", BOX, {}))
    assert names(visitor) == {"box": BOX}
    assert list(visitor.groups["all"]) == [BOX]


def test_what_is_told_no_more_is_forgotten(visitor, one):
    """§7.6: after a loss everything is told again."""
    one.tell(operations.Sync(), operations.Name("box", BOX), operations.Join("all", BOX, {}))
    one.tell(operations.Synced(), operations.Sync(), operations.Synced())
    assert (names(visitor), visitor.groups) == ({}, {})


def test_the_end_of_a_telling_whose_beginning_was_lost_changes_nothing(visitor, one):
    one.tell(operations.Name("box", BOX), operations.Synced())
    assert names(visitor) == {"box": BOX}


def test_a_name_that_has_moved_on_is_not_taken_away(visitor, one):
    """§7.6: the news of its new holder may come first."""
    one.tell(operations.Name("box", BOX))
    two = FarNode(visitor, TWO)
    two.tell(operations.Name("box", THEIRS))
    one.tell(operations.Unname("box", BOX))
    assert names(visitor) == {"box": THEIRS}


def test_a_lost_node_takes_its_names_and_groups_along(visitor, one):
    """§7.2"""
    one.tell(operations.Name("box", BOX), operations.Join("all", BOX, {}))
    visitor.on_lost(ONE)
    assert (names(visitor), visitor.groups, visitor.find(BOX)) == ({}, {}, None)


def test_another_start_of_a_node_replaces_the_former(visitor, one):
    """§7.2"""
    one.tell(operations.Name("box", BOX))
    FarNode(visitor, Member("one", "another-incarnation"))
    assert names(visitor) == {}


# -- what is not taken --------------------------------------------------------------------


@pytest.mark.parametrize(
    "news",
    [
        operations.Name("box", THEIRS),
        operations.Unname("box", THEIRS),
        operations.Join("all", THEIRS, {}),
        operations.Leave("all", THEIRS),
        operations.Ended(THEIRS, "normal", 0.0, pack(None)),
    ],
    ids=lambda news: type(news).__name__,
)
def test_news_of_another_nodes_process_are_refused(visitor, one, news, caplog):
    """§7.4: a node speaks for itself."""
    one.tell(news)
    assert (names(visitor), visitor.groups) == ({}, {})
    assert "which lives elsewhere" in caplog.text


def test_bytes_that_are_no_envelope_are_refused(visitor, one, caplog):
    """§7.4"""
    visitor.on_bytes(ONE, b"junk")
    assert "malformed" in caplog.text
    one.tell(operations.Name("box", BOX))
    assert names(visitor) == {"box": BOX}


def test_what_is_refused_is_told_once_in_a_while(visitor, one, caplog):
    """§7.4: at a bounded rate."""
    for _ in range(100):
        visitor.on_bytes(ONE, b"junk")
    assert len(caplog.records) == 1


def test_bytes_of_a_member_that_is_not_up_are_passed_over(visitor, caplog):
    visitor.on_bytes(ONE, b"junk")
    assert not caplog.text


def test_what_is_for_processes_is_passed_over(visitor, one, caplog):
    """§7.8: there are none here."""
    one.tell(operations.Kill(BOX, "killed"), operations.Full(BOX), operations.Name("box", BOX))
    assert names(visitor) == {"box": BOX}
    assert not caplog.text


def test_whoever_monitors_a_process_here_learns_that_there_is_none(visitor, one):
    """§2.3"""
    one.tell(operations.Monitor(THEIRS))
    [ended] = one.heard()
    assert (ended.pid, ended.reason) == (THEIRS, "noproc")


# -- losses -------------------------------------------------------------------------------


def test_a_gap_has_the_node_tell_all_again(visitor, one):
    """§7.3"""
    one.lose_one()
    one.tell(operations.Name("box", BOX))
    assert one.heard() == [operations.Resync()]
    assert names(visitor) == {"box": BOX}


def test_a_loss_that_may_have_been_has_all_nodes_tell_again(visitor, one):
    """§7.3"""
    visitor.on_maybe_lost("the subscription was away", 1)
    assert one.heard() == [operations.Resync()]


def test_a_node_that_has_lost_something_is_told_again_which_calls_wait(visitor, one):
    """§7.3"""
    begin_call(visitor, one)
    one.tell(operations.Resync())
    assert one.heard() == [operations.Sync(), operations.Monitor(BOX), operations.Synced()]


def test_another_incarnation_is_another_member(visitor):
    """§7.2"""
    before = visitor.me
    visitor.on_isolated()
    assert visitor.me.node == before.node
    assert visitor.me.incarnation != before.incarnation


def test_an_absent_cluster_is_told_in_time(visitor):
    """§7.3"""
    visitor.way.is_joined = False
    with pytest.raises(ClusterError, match="the cluster is away: the test says so"):
        visitor.await_news(0.01)


def test_a_node_that_tells_nothing_is_waited_for_once(visitor, one):
    """§7.8: it hangs, and the others are there."""
    visitor.await_news(0.01)
    one.tell(operations.Sync())
    begun = time.monotonic()
    visitor.await_news(5.0)
    assert time.monotonic() - begun < 1.0


# -- calls --------------------------------------------------------------------------------


def reply(to, payload, topic="@reply"):
    return operations.Send(to, topic, pack(payload), None, 0)


def test_a_call_monitors_its_callee_first(visitor, one):
    """§2.3: or its end could come unseen."""
    reply_to, _ = visitor.begin_call(BOX, "ask", pack([1]))
    request = operations.Call(BOX, "ask", pack([1]), None, reply_to)
    assert one.heard() == [operations.Monitor(BOX), request]


def test_a_reply_before_the_end_counts(visitor, one):
    """§2.2"""
    call, to = begin_call(visitor, one)
    one.tell(reply(to, 17), operations.Ended(BOX, "normal", 0.0, pack(None)))
    assert (call.value, call.error) == (17, None)


@pytest.mark.parametrize("topic", ["news", "@other"])
def test_only_a_reply_ends_a_call(visitor, one, topic):
    call, to = begin_call(visitor, one)
    one.tell(reply(to, 17, topic))
    assert not call.done.is_set()


def test_another_node_can_not_reply(visitor, one):
    """§7.4"""
    call, to = begin_call(visitor, one)
    FarNode(visitor, TWO).tell(reply(to, 17))
    assert not call.done.is_set()


def test_a_call_that_ends_takes_its_monitor_away(visitor, one):
    reply_to, _ = visitor.begin_call(BOX, "ask", pack(None))
    one.heard()
    visitor.end_call(reply_to)
    assert one.heard() == [operations.Demonitor(BOX)]


def test_a_monitor_stays_while_another_call_waits(visitor, one):
    first, _ = visitor.begin_call(BOX, "ask", pack(None))
    visitor.begin_call(BOX, "ask", pack(None))
    one.heard()
    visitor.end_call(first)
    assert one.heard() == []


def test_a_call_that_was_not_handed_over_fails(visitor, one):
    """§7.3"""
    visitor.way.is_full = True
    _, call = visitor.begin_call(BOX, "ask", pack(None))
    assert isinstance(call.error, ProcessDown)
