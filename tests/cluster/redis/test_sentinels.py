"""A master that Sentinel watches, and the one that takes over (§7.1, §7.3)."""

import pytest

from greenrelay.cluster.redis import open_redis
from greenrelay.errors import ClusterError
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, Recorder, new_member
from tests.cluster.redis_servers import RedisServer, free_port, need_redis

need_redis()


class Watched:
    """A master, its replica, and a Sentinel that watches them."""

    def __init__(self, folder):
        self.one = RedisServer(folder, repl_diskless_sync_delay=0)
        to_one = ["127.0.0.1", self.one.port]
        self.two = RedisServer(folder, replicaof=to_one, repl_diskless_sync_delay=0)
        wait_until(lambda: "master_link_status:up" in self.two.cli("info"), SECONDS)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {self.one.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\n"
            "sentinel failover-timeout mymaster 2000\n"
        )
        self.sentinel = RedisServer(folder, str(configuration), "--sentinel", is_plain=True)
        wait_until(lambda: "num-slaves" in self._replicas(), SECONDS)
        wait_until(lambda: self._replicas()["num-slaves"] == "1", SECONDS)

    def _replicas(self):
        lines = self.sentinel.cli("sentinel", "master", "mymaster")
        return dict(zip(lines[::2], lines[1::2], strict=False))

    @property
    def url(self):
        return f"redis+sentinel://127.0.0.1:{free_port()},{self.sentinel.address}/mymaster"

    @property
    def master(self):
        port = self.sentinel.cli("sentinel", "get-master-addr-by-name", "mymaster")[1]
        return self.one if int(port) == self.one.port else self.two

    def stop(self):
        for server in (self.sentinel, self.one, self.two):
            server.stop()


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path)
    yield watched
    watched.stop()


@pytest.fixture
def members(watched, join):
    one, two = join("one", watched.url, lease=9), join("two", watched.url, lease=9)
    wait_until(lambda: one.receiver.members == {two.me}, SECONDS)
    return one, two


def talk(one, two):
    count = len(two.got_of(one))
    wait_until(lambda: one.backend.publish(two.me, b"x") and len(two.got_of(one)) > count, SECONDS)


def test_members_find_the_master(members):
    talk(*members)


def test_a_wrong_service_is_told(watched):
    backend, me = open_redis(watched.url.replace("mymaster", "other")), new_member("one")
    with pytest.raises(ClusterError, match=r"watches no service named 'other'$"):
        backend.start(me, Recorder(me))


def test_no_sentinel_is_told():
    address = f"127.0.0.1:{free_port()}"
    backend, me = open_redis(f"redis+sentinel://:hidden@{address}/mymaster"), new_member("one")
    with pytest.raises(ClusterError, match=f"{address}.*refused"):
        backend.start(me, Recorder(me))


def test_a_dead_master_is_replaced_and_nobody_is_lost(watched, members):
    one, two = members
    one.backend.claim("room", "proc@one/1")
    watched.master.stop()
    wait_until(lambda: watched.master is watched.two, 2 * SECONDS)
    talk(one, two)
    assert two.backend.claim("room", "proc@two/1") == "proc@one/1"
    assert [member.receiver.lost for member in members] == [[], []]


def test_a_master_that_steps_down_is_left(watched, members):
    wait_until(lambda: _has_begun(watched), SECONDS)
    wait_until(lambda: watched.master is watched.two, SECONDS)
    talk(*members)
    wait_until(lambda: len(watched.two.cli("client", "list", "type", "pubsub")) >= 2, SECONDS)
    assert [member.receiver.lost for member in members] == [[], []]


def _has_begun(watched):
    return watched.sentinel.cli("sentinel", "failover", "mymaster") == ["OK"]
