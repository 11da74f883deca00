"""Whatever bytes come from a member's place, they are done or refused, and nothing else (§7.4).

Real envelopes and operations, altered at random. Some are sealed anew after that, so that what is
behind the envelope gets its share, too.
"""

import gc
import logging
import random

import gevent
import pytest

from greenrelay import process
from greenrelay.cluster import operations
from greenrelay.cluster.envelope import Sealer
from greenrelay.cluster.operations import encode
from greenrelay.cluster.values import pack
from greenrelay.pid import PID
from tests.cluster.test_operations import EXAMPLES

ROUNDS = 4_000
VALUES = (
    "@reply", "room", "all", "", "@", "info", "lookup", "normal", "a" * 300, b"", b"\xc1", pack(1),
    0, -1, 2**63, -(2**80), 1.5, float("nan"), None, True, [], {}, {"a": 1},
)  # fmt: skip


class Stranger:
    """Writes what another member might.

    Args:
        seed: of its dice.
        pids: that it puts in.
    """

    def __init__(self, seed, pids, sealer):
        self.dice = random.Random(seed)
        self._values = (*VALUES, *3 * pids)
        self._sealer = sealer
        self._known = [encode(example) for example in EXAMPLES]

    def envelope(self):
        """Return some bytes."""
        kind = self.dice.randrange(4)
        if kind == 0:
            return self.dice.randbytes(self.dice.randrange(100))
        sealed = self._sealer.seal([self._operation() for _ in range(self.dice.randrange(5))])
        return self._alter(sealed) if kind == 1 else sealed

    def _operation(self):
        kind = self.dice.randrange(3)
        if kind == 0:
            return self._alter(self.dice.choice(self._known))
        number = self.dice.choice(list(operations._TABLE))
        return pack([number, *map(self._value, operations._TABLE[number][1])])

    def _value(self, wanted):
        fitting = [value for value in self._values if isinstance(value, wanted)]
        return self.dice.choice(fitting or self._values)

    def _alter(self, data):
        at = self.dice.randrange(len(data))
        kind = self.dice.randrange(3)
        if kind == 0:
            return data[:at] + self.dice.randbytes(1) + data[at + 1 :]
        return data[:at] + (data[at + 3 :] if kind == 1 else self.dice.randbytes(3) + data[at:])


@pytest.fixture
def member(cluster):
    """The other node, as `here` knows it."""
    return next(iter(cluster.here.cluster.peers))


@pytest.fixture
def stranger(request, cluster, member):
    here = [cluster.here.spawn("idle") for _ in range(3)]
    there = [cluster.there.spawn("idle") for _ in range(3)]
    cluster.settle()
    yield Stranger(request.param, here + there, Sealer(member.member, cluster.here.cluster.me))
    cluster.kill(cluster.there)  # with which all that it has told of is to go


def hand_over(cluster, member, data):
    """Have `here` take bytes; a number that was altered is not kept."""
    number = member._opener.number
    cluster.here.cluster.on_bytes(member.member, data)
    if not 0 <= member._opener.number - number < 1000:
        member._opener.number = number


@pytest.mark.parametrize("stranger", [1, 2, 3], indirect=True)
def test_strange_bytes_are_refused_and_nothing_fails(cluster, member, stranger, caplog):
    for _ in range(ROUNDS):
        hand_over(cluster, member, stranger.envelope())
        gevent.sleep(0)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    assert cluster.here.node.counts["cluster_refused"] > ROUNDS / 4


@pytest.mark.parametrize("stranger", [4], indirect=True)
def test_strange_bytes_leave_nothing_behind(cluster, member, stranger):
    def play():
        for _ in range(ROUNDS):
            hand_over(cluster, member, stranger.envelope())
            gevent.sleep(0)
        gc.collect()
        return len(gc.get_objects())

    play()
    before = play()
    assert play() - before < ROUNDS / 10


def test_who_takes_a_name_that_is_a_pid_tells_of_its_own_process(cluster, member):
    named = PID("proc@there/AAAAAAAAAAAAAAAA")
    news = operations.Name(named, cluster.here.spawn("idle"))
    cluster.here.cluster._incoming.take(member, [encode(news)])
    assert process.registry.lookup(named) is None


def test_what_fails_is_told_once_a_second(cluster, member, monkeypatch, caplog):
    def fail(peer, news):
        raise RuntimeError("a bug")

    cluster.here.cluster._incoming.handle(operations.Resync, fail)
    for _ in range(100):
        cluster.here.cluster._incoming.take(member, [encode(operations.Resync())])
    gevent.sleep(0.01)
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    assert cluster.here.node.counts["cluster_refused"] == 100


def test_a_value_that_is_none_is_refused_in_a_line(cluster, member, watcher, caplog):
    pid = cluster.there.spawn("idle")
    watcher.do(process.monitor, pid)
    news = operations.Ended(pid, "normal", 1.0, b"\xc1")
    cluster.here.cluster._incoming.take(member, [encode(news)])
    gevent.sleep(0.01)
    assert "no value" in caplog.text
    assert "Traceback" not in caplog.text
