"""Faults of Redis under two servers: what is local goes on, and what is shared is right again.

§7.2, §7.3, §9: no fault holds up a loop, each monitor is told once, names and groups come back.
"""

import re
import signal

import gevent
import pytest

from greenrelay.testing import wait_until
from tests.cluster.redis.test_clusters import ThreeMasters
from tests.cluster.redis.test_sentinels import Watched
from tests.cluster.redis_servers import Proxy, RedisServer, need_redis
from tests.integration.faults import SECONDS, Pair

need_redis()
SHORT = 1.0
"""Seconds of a fault that no lease of 15 s ends in."""
LONG = 4.0
"""Seconds of one in which a lease of 2 s does."""


@pytest.fixture
def start_pair(tmp_path):
    """Start two servers of one cluster."""
    pairs = []

    def start(*urls):
        pairs.append(Pair(tmp_path, *urls))
        return pairs[-1]

    yield start
    for pair in pairs:
        pair.kill()


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """Two servers whose leases outlast the fault, and their Redis."""
    folder = tmp_path_factory.mktemp("patient")
    server = RedisServer(folder)
    proxy = Proxy(server.port)
    pair = Pair(folder, f"redis://{server.address}", f"redis://127.0.0.1:{proxy.port}")
    yield pair, server, proxy
    pair.kill()
    proxy.stop()
    server.stop()


def restart(server, proxy):
    server.stop()
    gevent.sleep(SHORT)
    server.start()


def hang(server, proxy):
    server.signal(signal.SIGSTOP)
    gevent.sleep(SHORT)
    server.signal(signal.SIGCONT)


def kill_clients(server, proxy):
    for kind in ("pubsub", "normal"):
        server.cli("client", "kill", "type", kind)


def pause(server, proxy):
    server.cli("client", "pause", round(SHORT * 1000))


def slow_down(server, proxy):
    proxy.delay = 0.05
    gevent.sleep(SHORT)
    proxy.delay = 0.0


def cut(server, proxy):
    proxy.hold()
    gevent.sleep(SHORT)
    proxy.go_on()


def lock_out(server, proxy):
    server.cli("config", "set", "requirepass", "secret")
    server._password = "secret"
    kill_clients(server, proxy)
    gevent.sleep(SHORT)
    server.cli("config", "set", "requirepass", "")
    server._password = None


def assert_local_traffic_went_on(pair):
    figures = pair.figures()
    assert max(figures["cpu"]) < 0.1, figures
    # A busy machine explains some; one that waits for Redis stands still as long as that does.
    assert max(figures["wall"] + figures["echo"]) < SHORT / 2 + figures["noise"], figures
    assert min(figures["echoes"]) > 0, figures


def assert_few_lines(pair):
    """One a second of each kind, at most; no traceback."""
    for text in pair.logs():
        assert "Traceback" not in text
        kinds = re.findall(
            r"^\S+ (\S+),\d+ WARNING (lost between|the way to|\S+ is away)", text, re.M
        )
        assert len(set(kinds)) >= len(kinds) - 1, kinds  # two of them may share a clock's second


@pytest.mark.parametrize(
    "fault",
    [restart, hang, kill_clients, pause, slow_down, cut, lock_out],
    ids=lambda f: f.__name__,
)
def test_a_fault_within_the_lease_ends_nothing(patient, fault):
    pair, server, proxy = patient
    pair.figures()
    fault(server, proxy)
    assert_local_traffic_went_on(pair)
    pair.wait_until_right()
    pair.talk()
    assert pair.told() == [[], []]
    assert_few_lines(pair)


def test_an_end_after_a_fault_is_told_once(start_pair, redis):
    """§7.3: of processes that were watched before it."""
    pair = start_pair(f"redis://{redis.address}")
    redis.stop()
    pair.one.get("/end/subject-one")
    redis.start()
    pair.two.get("/end/subject-two")
    wait_until(lambda: all(len(told) == 2 for told in pair.told()), SECONDS)
    assert [[kind for kind, _, _ in told] for told in pair.told()] == [["Exit", "LinkDown"]] * 2
    assert {reason for told in pair.told() for _, _, reason in told} == {"killed"}


def test_an_outage_beyond_the_lease_loses_each_once_and_heals(start_pair, redis):
    pair = start_pair(f"redis://{redis.address}?lease=2s")
    redis.stop()
    gevent.sleep(LONG)
    assert_local_traffic_went_on(pair)
    redis.start()
    pair.wait_until_right()
    pair.enter()
    pair.talk()
    for told in pair.told():
        assert [[kind, reason] for kind, _, reason in told] == [
            ["Exit", "noconnection"],
            ["LinkDown", "noconnection"],
        ]
    assert_few_lines(pair)


def test_what_waits_in_a_long_outage_has_a_bound(start_pair, redis):
    pair = start_pair(f"redis://{redis.address}?lease=60s")
    redis.stop()
    before = pair.one.state()["resident"]
    for _ in range(15):
        pair.one.get("/flood/2000/subject-two")  # 4 MB
    grown = pair.one.state()["resident"] - before
    assert grown < 50 * 2**20
    assert pair.one.state()["counts"]["cluster_dropped"]
    assert pair.one.get("/name/new") == "the cluster is away\n"
    redis.start()
    pair.talk()
    assert_few_lines(pair)


@pytest.mark.parametrize("is_hung", [True, False], ids=["hung", "gone"])
def test_a_stop_while_redis_is_away_ends_in_time_and_leaves_nothing(start_pair, redis, is_hung):
    pair = start_pair(f"redis://{redis.address}?lease=2s")
    pair.close()
    redis.signal(signal.SIGSTOP)
    if not is_hung:
        redis.stop()
    pair.one.get("/flood/20/subject-two")
    ends = [gevent.spawn(server.ends) for server in pair.servers]
    assert [end.get()[0] for end in ends] == [0, 0]
    assert max(end.get()[1] for end in ends) < 6  # the drain time; most of it is for a busy machine
    redis.signal(signal.SIGCONT) if is_hung else redis.start()
    wait_until(lambda: redis.cli("keys", "*") in ([], [""]), SECONDS)


def test_a_fail_over_of_sentinel_ends_nothing(start_pair, tmp_path):
    watched = Watched(tmp_path)
    try:
        pair = start_pair(watched.url)
        watched.master.stop()
        pair.wait_until_right()
        pair.talk()
        assert_local_traffic_went_on(pair)
        assert pair.told() == [[], []]
    finally:
        watched.stop()


def test_three_masters_that_hang_up_and_hang_end_nothing(start_pair, tmp_path):
    masters = ThreeMasters(tmp_path)
    try:
        pair = start_pair(masters.url)
        for server in masters.servers:
            kill_clients(server, None)
            hang(server, None)
        pair.talk()
        pair.wait_until_right()
        assert_local_traffic_went_on(pair)
        assert pair.told() == [[], []]
    finally:
        masters.stop()
