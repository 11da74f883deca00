"""Redis is away, slow, or hangs up: local work goes on, and no loss is silent (§7.3)."""

import signal
import time

import gevent
import pytest

from greenrelay.cluster.redis_keys import Keys, write_bundle, write_member
from greenrelay.errors import ClusterError
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS
from tests.cluster.redis.conftest import LEASE
from tests.cluster.redis_servers import need_redis

need_redis()
LONG = 15.0
"""A lease that outlasts the outage."""


@pytest.fixture
def patient(join):
    """Two members whose leases outlast an outage."""
    one, two = join("one", lease=LONG), join("two", lease=LONG)
    wait_until(lambda: one.receiver.members == {two.me}, SECONDS)
    return one, two


def talk(one, two):
    """Let something go each way."""
    before = len(one.got_of(two)), len(two.got_of(one))

    def is_through():
        assert one.backend.publish(two.me, b"there")
        assert two.backend.publish(one.me, b"and back")
        gevent.sleep(0.02)
        return len(one.got_of(two)) > before[0] and len(two.got_of(one)) > before[1]

    wait_until(is_through, SECONDS)


def lost(member):
    return sum(count for _, count in member.receiver.maybe_lost)


def test_a_server_that_forgets_everything_loses_nobody(patient, server):
    one, two = patient
    one.backend.claim("room", "proc@one/1")
    server.stop()
    server.start()
    talk(one, two)
    assert (one.receiver.lost, two.receiver.lost) == ([], [])
    assert (one.receiver.isolated, two.receiver.isolated) == (0, 0)


def test_names_are_held_by_who_held_them_before_a_restart(patient, server):
    one, two = patient
    one.backend.claim("room", "proc@one/1")
    server.stop()
    server.start()
    assert two.backend.claim("room", "proc@two/1") == "proc@one/1"


def test_an_absence_is_told_once_and_its_end(patient, server, caplog):
    server.stop()
    with pytest.raises(ClusterError):
        patient[0].backend.claim("room", "proc@one/1")
    server.start()
    wait_until(lambda: "is back" in caplog.text, SECONDS)
    lines = [record for record in caplog.records if "is away" in record.getMessage()]
    assert len(lines) in (1, 2)  # of each node that has noticed


def test_a_password_that_is_wanted_all_at_once_is_told_once(patient, server, caplog):
    """Without one, Redis lets who connects in, and hangs up on what he asks."""
    server.cli("config", "set", "requirepass", "secret")
    for kind in ("normal", "pubsub"):
        server.cli("--pass", "secret", "client", "kill", "type", kind)
    with pytest.raises(ClusterError, match="refuses the login"):
        patient[0].backend.claim("room", "proc@one/1")
    assert "is back" not in caplog.text


def test_a_server_that_is_back_is_found_within_a_tenth_of_the_lease(
    join, server, caplog, monkeypatch
):
    """Else an absence of a third of it may cost the membership."""
    monkeypatch.setattr("random.uniform", lambda first, last: last)
    with caplog.at_level("INFO"):
        one = join("one", lease=6.0)
        server.stop()
        one.backend._on_again()
        gevent.sleep(3.2)
        server.start()
        began = time.monotonic()
        wait_until(lambda: "is back" in caplog.text, SECONDS)
    assert time.monotonic() - began < 1.2


def test_what_is_published_meanwhile_arrives_afterwards(patient, server):
    one, two = patient
    server.stop()
    sent = [b"%d" % number for number in range(100)]
    for data in sent:
        assert one.backend.publish(two.me, data)
    assert one.backend.pending(two.me) == sum(map(len, sent))
    server.start()
    wait_until(lambda: two.got_of(one) == sent, SECONDS)
    assert not [what for what, _ in one.receiver.maybe_lost if "subscription" not in what]


def test_what_waits_has_a_bound(join, server):
    one, two = join("one", lease=LONG, max_pending=10_000), join("two", lease=LONG)
    wait_until(lambda: one.receiver.members, SECONDS)
    server.stop()
    taken = [one.backend.publish(two.me, b"x" * 936) for _ in range(15)]
    assert taken == [True] * 10 + [False] * 5
    assert lost(one) == 5


def test_a_longer_absence_than_the_lease_isolates_everybody_once(pair, server):
    one, two = pair
    old = one.me, two.me
    server.stop()
    wait_until(lambda: one.receiver.isolated and two.receiver.isolated, SECONDS)
    gevent.sleep(LEASE)
    server.start()
    wait_until(lambda: one.receiver.members and two.receiver.members, SECONDS)
    talk(one, two)
    assert (one.receiver.isolated, two.receiver.isolated) == (1, 1)
    assert (one.receiver.lost, two.receiver.lost) == ([old[1]], [old[0]])


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_killed_connections_come_back(patient, server, kind):
    one, two = patient
    server.cli("client", "kill", "type", kind)
    talk(one, two)
    assert (one.receiver.lost, two.receiver.lost) == ([], [])


def test_a_gap_in_the_subscription_is_told(patient, server):
    one, _ = patient
    server.cli("client", "kill", "type", "pubsub")
    wait_until(lambda: lost(one), SECONDS)
    assert "subscription" in one.receiver.maybe_lost[0][0]


def test_who_came_while_the_subscription_was_away_is_found(join, server, proxy):
    one = join("one", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    proxy.hold()
    server.cli("client", "kill", "type", "pubsub")
    two = join("two", lease=LONG)
    proxy.go_on()
    wait_until(lambda: one.receiver.members == {two.me}, SECONDS)


def test_a_paused_server_only_delays(patient, server):
    one, two = patient
    server.cli("client", "pause", "300")
    one.backend.publish(two.me, b"late")
    wait_until(lambda: two.got_of(one) == [b"late"], SECONDS)
    assert (lost(one), lost(two)) == (0, 0)


def test_a_receiver_that_is_too_slow_for_redis_learns_that_it_has_missed_some(
    join, start_server, make_proxy
):
    limit = ["pubsub", "1mb", "1mb", "1"]
    server = start_server(client_output_buffer_limit=limit)
    proxy = make_proxy(server)
    one = join("one", f"redis://{server.address}", lease=LONG)
    two = join("two", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    wait_until(lambda: one.receiver.members, SECONDS)
    proxy.hold()
    for _ in range(100):
        one.backend.publish(two.me, b"x" * 200_000)
        gevent.sleep(0)
    wait_until(lambda: len(server.cli("client", "list", "type", "pubsub")) == 1, SECONDS)
    proxy.go_on()
    wait_until(lambda: lost(two), SECONDS)
    talk(one, two)


def test_a_slow_network_only_delays(join, proxy):
    proxy.delay = 0.05
    one = join("one", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    two = join("two", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    wait_until(lambda: one.receiver.members, SECONDS)
    sent = [b"%d" % number for number in range(2000)]
    for data in sent:
        one.backend.publish(two.me, data)
    wait_until(lambda: two.got_of(one) == sent, SECONDS)


def test_nothing_goes_out_while_the_lease_is_in_doubt(join, proxy):
    one = join("one", f"redis://127.0.0.1:{proxy.port}")
    two = join("two")
    wait_until(lambda: one.receiver.members, SECONDS)
    one.backend._membership.stay.writer.renew(0.0)
    one.backend.publish(two.me, b"x")
    gevent.sleep(0.05)
    assert two.got_of(one) == []
    wait_until(lambda: two.got_of(one) == [b"x"], SECONDS)


def test_what_nobody_hears_waits_until_somebody_does(join, proxy):
    one = join("one", lease=LONG)
    two = join("two", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    wait_until(lambda: one.receiver.members, SECONDS)
    two.backend._membership.stay.reconnect()
    proxy.hold()
    sent = [b"%d" % number for number in range(100)]
    for data in sent:
        one.backend.publish(two.me, data)
        gevent.sleep(0.001)
    assert one.backend.pending(two.me)
    proxy.go_on()
    wait_until(lambda: two.got_of(one) == sent, SECONDS)
    assert lost(one) == 0


def test_the_loop_turns_while_redis_hangs(pair, server):
    one, two = pair
    server.signal(signal.SIGSTOP)
    slowest, ends = 0.0, time.monotonic() + 1.5 * LEASE
    while time.monotonic() < ends:
        began = time.monotonic()
        one.backend.publish(two.me, b"x" * 1000)
        gevent.sleep(0.001)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.2


def test_others_have_their_turn_while_much_comes_at_once(pair, server):
    """As after an outage: the server's buffer is never empty."""
    one, two = pair
    start, end = write_bundle(write_member(one.me), [b"x" * 1_000_000]).split(b"x" * 1_000_000)
    assert end == b""
    text = "".join(f"\\{byte:03}" for byte in start)
    much = f"local data = '{text}' .. string.rep('x', 1000000)"
    script = f"{much} for i = 1, 25 do redis.call('publish', KEYS[1], data) end"
    with Turns() as turns:
        server.cli("eval", script, 1, Keys("default").channel(two.me))
        wait_until(lambda: len(two.got_of(one)) == 25, SECONDS)
    assert turns.slowest < 0.03


class Turns:
    """The longest that the event loop has worked between two turns of a timer, in CPU time."""

    slowest = 0.0

    def __enter__(self):
        self._greenlet = gevent.spawn(self._run)
        return self

    def _run(self):
        while True:
            began = time.thread_time()
            gevent.sleep(0.001)
            self.slowest = max(self.slowest, time.thread_time() - began)

    def __exit__(self, *error):
        self._greenlet.kill()


def test_a_claim_while_redis_is_away_is_told(patient, server, monkeypatch):
    monkeypatch.setattr("greenrelay.cluster.redis.CLAIM_SECONDS", 0.2)
    server.stop()
    with pytest.raises(ClusterError, match="redis://127"):
        patient[0].backend.claim("room", "proc@one/1")


def test_a_claim_whose_answer_was_lost_holds_no_name(join, proxy, monkeypatch):
    monkeypatch.setattr("greenrelay.cluster.redis.CLAIM_SECONDS", 0.2)
    one = join("one", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    two = join("two", lease=LONG)
    proxy.hold()
    with pytest.raises(ClusterError):
        one.backend.claim("room", "proc@one/1")
    proxy.go_on()
    wait_until(lambda: two.backend.claim("room", "proc@two/1") == "proc@two/1", SECONDS)


def test_the_time_out_of_who_claims_reaches_him_as_it_is(join, proxy):  # §7.6
    one = join("one", f"redis://127.0.0.1:{proxy.port}", lease=LONG)
    proxy.hold()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        one.backend.claim("room", "proc@one/1")
    proxy.go_on()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_stop_takes_two_seconds_at_most_without_redis(patient, server, number):
    one, two = patient
    one.backend.publish(two.me, b"x")
    server.signal(number)
    began = time.monotonic()
    gevent.joinall([gevent.spawn(member.backend.stop) for member in patient])
    assert time.monotonic() - began < 2.2
