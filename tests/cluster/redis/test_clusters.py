"""Three masters that share the slots, with sharded channels (§7.1)."""

import gevent
import pytest
from redis.crc import key_slot

from greenrelay.cluster.redis_keys import Keys
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS
from tests.cluster.redis_servers import RedisServer, need_redis

need_redis()
KEYS = Keys("default")
SLOTS = 16384


class ThreeMasters:
    """A Redis Cluster; its servers answer for a third of the slots each."""

    def __init__(self, folder):
        options = {"cluster_enabled": "yes", "cluster_node_timeout": 500}
        self.servers = [RedisServer(folder, **options) for _ in range(3)]
        bounds = [0, 5461, 10922, SLOTS]
        for server, first, end in zip(self.servers, bounds, bounds[1:], strict=False):
            server.cli("cluster", "addslotsrange", first, end - 1)
        for server in self.servers[1:]:
            bus = self.servers[0].cluster_port
            server.cli("cluster", "meet", "127.0.0.1", self.servers[0].port, bus)
        wait_until(self.is_ready, SECONDS)

    def is_ready(self):
        return all(
            {"cluster_state:ok", "cluster_known_nodes:3"} <= set(server.cli("cluster", "info"))
            for server in self.servers
        )

    @property
    def url(self):
        return f"redis+cluster://{self.servers[0].address}"

    def owner(self, key):
        """Return the number of the master of a key."""
        return min(key_slot(key.encode()) // 5461, 2)

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def masters(tmp_path_factory):
    masters = ThreeMasters(tmp_path_factory.mktemp("cluster"))
    yield masters
    masters.stop()


@pytest.fixture
def members(join, masters):
    """Members whose channels are on all three masters."""
    names, owners = [], set()
    joined = []
    while len(owners) < 3 or len(joined) < 3:
        names.append(f"node{len(names)}")
        joined.append(join(names[-1], masters.url, lease=15))
        owners.add(masters.owner(KEYS.channel(joined[-1].me)))
    wait_until(lambda: all(len(one.receiver.members) == len(joined) - 1 for one in joined), SECONDS)
    return joined


def talk(members):
    """Let each tell all others something."""
    for one in members:
        for other in members:
            if one is not other:
                assert one.backend.publish(other.me, b"from " + one.me.node.encode())
    wait_until(lambda: all(_has_all(one, members) for one in members), SECONDS)


def _has_all(one, members):
    return all(
        one.got_of(other)[-1:] == [b"from " + other.me.node.encode()]
        for other in members
        if other is not one
    )


def test_members_on_all_masters_talk(members):
    talk(members)
    assert [one.receiver.maybe_lost for one in members] == [[]] * len(members)


def test_order_is_kept(members):
    one, two, *_ = members
    sent = [b"%d" % number for number in range(5000)]
    for data in sent:
        one.backend.publish(two.me, data)
    wait_until(lambda: two.got_of(one) == sent, SECONDS)


def test_names_are_unique(members):
    claims = [
        gevent.spawn(member.backend.claim, "room", f"proc@{member.me.node}/1") for member in members
    ]
    gevent.joinall(claims, timeout=SECONDS)
    assert len({claim.value for claim in claims}) == 1


def test_a_last_stop_leaves_no_key(members, masters):
    members[0].backend.claim("room", "proc@one/1")
    for one in members:
        one.backend.stop()
    assert [server.cli("dbsize") for server in masters.servers] == [["0"]] * 3


def test_every_channel_is_sharded_and_has_the_prefix(members, masters):
    channels = [
        name for server in masters.servers for name in server.cli("pubsub", "shardchannels") if name
    ]
    assert len(channels) >= len(members) + 1
    assert {name[: len("greenrelay:default:")] for name in channels} == {"greenrelay:default:"}


def test_a_slot_that_moves_takes_its_channel_along(members, masters):
    one, two, *_ = members
    channel = KEYS.channel(two.me)
    slot, old = key_slot(channel.encode()), masters.owner(channel)
    new = (old + 1) % 3
    try:
        move(masters, slot, old, new)
        one.backend.publish(two.me, b"after the move")
        wait_until(lambda: two.got_of(one)[-1:] == [b"after the move"], SECONDS)
    finally:
        move(masters, slot, new, old)


def move(masters, slot, old, new):
    giver, taker = masters.servers[old], masters.servers[new]
    (giver_id,), (taker_id,) = giver.cli("cluster", "myid"), taker.cli("cluster", "myid")
    taker.cli("cluster", "setslot", slot, "importing", giver_id)
    giver.cli("cluster", "setslot", slot, "migrating", taker_id)
    for server in (taker, giver):
        server.cli("cluster", "setslot", slot, "node", taker_id)


def test_a_master_that_comes_back_is_used_again(members, masters):
    channel = KEYS.channel(members[0].me)
    server = masters.servers[masters.owner(channel)]
    server.stop()
    members[1].backend.publish(members[0].me, b"while it is away")
    server.start()
    wait_until(masters.is_ready, SECONDS)
    wait_until(lambda: members[0].got_of(members[1]) == [b"while it is away"], 2 * SECONDS)
    talk(members)
