"""Whoever may publish to a deployment's channels, and no more, makes and ends no member (§7.2)."""

import gevent
import pytest
import redis

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_keys import Keys, write_bundle, write_member
from greenrelay.cluster.redis_scripts import Scripts
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, new_member
from tests.cluster.redis.conftest import LEASE
from tests.cluster.redis_servers import need_redis

need_redis()
KEYS = Keys("default")
LATE = 2**50
"""A version that no member knows yet."""


@pytest.fixture
def stranger(server):
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def settle(join):
    """Have a member come, and wait until another has heard of it: what was told before is done."""

    def settle(member):
        fresh = join("settled")
        wait_until(lambda: fresh.me in member.receiver.members, SECONDS)
        return fresh

    return settle


def publish_event(stranger, sign, member, version=LATE):
    stranger.publish(KEYS.events, f"{sign} {version} {write_member(member)}")


def test_a_forged_loss_loses_nobody(pair, stranger, settle):
    one, two = pair
    publish_event(stranger, "-", two.me)
    settle(one)
    assert one.receiver.lost == []


def test_a_forged_loss_of_the_node_itself_isolates_it_not(pair, stranger, settle):
    one, two = pair
    publish_event(stranger, "-", one.me)
    settle(one)
    assert (one.receiver.isolated, two.receiver.lost) == (0, [])


def test_a_forged_arrival_brings_nobody_up(pair, stranger, settle):
    one, two = pair
    publish_event(stranger, "+", new_member("phantom"))
    fresh = settle(one)
    assert one.receiver.up == [two.me, fresh.me]


def test_a_forged_version_hides_nobody(pair, stranger, settle):
    one, two = pair
    version = int(stranger.get(KEYS.version))
    publish_event(stranger, "+", two.me, version + 1)
    gevent.sleep(LEASE / 5)
    fresh = settle(one)
    assert one.receiver.up == [two.me, fresh.me]


def test_bytes_of_nobody_bring_nobody_up_and_are_counted(pair, stranger):
    one, two = pair
    bundle = write_bundle(write_member(new_member("phantom")), [b"boo"])
    stranger.publish(KEYS.channel(one.me), bundle)
    wait_until(lambda: one.receiver.refused, SECONDS)
    assert one.receiver.up == [two.me]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"+",
        b"+ x y",
        b"+ 1 a:b",
        b"* 1 aaaaaaaaaaaaaaaa:b",
        b"+ 1 aaaaaaaaaaaaaaaa:a@b",
    ],
)
def test_what_is_no_event_is_refused(pair, stranger, data):
    one, _ = pair
    stranger.publish(KEYS.events, data)
    wait_until(lambda: one.receiver.refused, SECONDS)
    assert one.receiver.maybe_lost == []


def test_many_forged_events_are_few_looks(pair, stranger, monkeypatch):
    one, two = pair
    looks = []
    refresh = Scripts.refresh
    monkeypatch.setattr(Scripts, "refresh", lambda *a, **k: looks.append(a) or refresh(*a, **k))
    for turn in range(500):
        publish_event(stranger, "-", two.me, LATE + turn)
        if turn % 50 == 0:
            gevent.sleep(0.02)
    gevent.sleep(0.1)
    assert 1 <= len(looks) < 30


def test_who_comes_publishes_and_leaves_at_once_is_heard(join, server):
    one = join("one")
    for turn in range(5):
        guest = join(f"guest{turn}")
        assert guest.backend.publish(one.me, b"hello")
        guest.backend.stop()
        wait_until(lambda guest=guest: guest.me in one.receiver.lost, SECONDS)
        assert one.got_of(guest) == [b"hello"]


def test_a_clean_leave_is_known_at_once(join):
    one, two = join("one", lease=30), join("two", lease=30)
    wait_until(lambda: two.me in one.receiver.members, SECONDS)
    two.backend.stop()
    wait_until(lambda: one.receiver.lost == [two.me], 1)


def test_a_forged_loss_loses_no_node_for_a_client(server, stranger):
    from greenrelay.cluster.redisway import RedisWay
    from greenrelay.cluster.urls import read_url
    from tests.cluster.backends import Recorder

    threadpool = gevent.get_hub().threadpool
    node = Member("node", "n" * 16)
    scripts = Scripts(KEYS, node, 30, "PUBLISH", 1)
    stranger.execute_command(*scripts.join())
    way = RedisWay(read_url(f"redis://{server.address}"))
    me = new_member("client")
    receiver = Recorder(me)
    threadpool.apply(way.start, (me, receiver))
    try:
        publish_event(stranger, "-", node)
        publish_event(stranger, "+", new_member("phantom"))
        stranger.publish(KEYS.events, b"rubbish")
        wait_until(lambda: receiver.refused, SECONDS)
        last = Member("last", "l" * 16)
        stranger.execute_command(*Scripts(KEYS, last, 30, "PUBLISH", 1).join())
        wait_until(lambda: last in receiver.members, SECONDS)
        assert (receiver.lost, receiver.up) == ([], [node, last])
    finally:
        threadpool.apply(way.stop)
