"""How nodes find and lose each other through a real Redis (§7.2, §7.9)."""

import os
import signal
import time

import gevent
import gevent.os
import pytest
import redis

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_keys import Keys, write_member
from greenrelay.cluster.redis_scripts import Scripts
from greenrelay.errors import ClusterError
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS
from tests.cluster.redis.conftest import LEASE
from tests.cluster.redis_servers import need_redis

need_redis()
KEYS = Keys("default")


def test_a_new_member_is_known_within_a_second(join):
    one = join("one", lease=15)
    began = time.monotonic()
    two = join("two", lease=15)
    wait_until(lambda: two.me in one.receiver.members, SECONDS)
    assert time.monotonic() - began < 1


def test_who_answers_before_a_join_is_answered_is_heard(join, server, make_proxy):
    proxy = make_proxy(server)
    one = join("one")
    one.receiver.on_up = lambda member: one.backend.publish(member, b"welcome")
    proxy.first_delay = 0.05
    two = join("two", f"redis://127.0.0.1:{proxy.port}")
    wait_until(lambda: two.got_of(one) == [b"welcome"], SECONDS)


def test_a_forked_child_is_no_member(pair, server):
    one, two = pair
    child = gevent.os.fork_and_watch()
    if child == 0:
        try:
            gevent.sleep(LEASE)
            os._exit(int(one.backend.publish(two.me, b"from the child")))
        finally:
            os._exit(2)
    gevent.sleep(1.5 * LEASE)
    assert gevent.os.waitpid(child, 0)[1] == 0
    assert one.backend.publish(two.me, b"from the parent")
    wait_until(lambda: two.got_of(one) == [b"from the parent"], SECONDS)
    assert (one.receiver.lost, one.receiver.maybe_lost) == ([], [])


def test_members_stay_for_longer_than_a_lease(join):
    one, two = join("one", lease=1.5), join("two", lease=1.5)
    gevent.sleep(2)
    assert [one.receiver.lost, two.receiver.lost] == [[], []]


def test_a_killed_node_is_lost_once_after_its_lease(join, start_program):
    one = join("one")
    program = start_program("two")
    program.signal(signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: one.receiver.lost, SECONDS)
    assert LEASE / 2 < time.monotonic() - began < 3 * LEASE
    gevent.sleep(LEASE / 2)
    assert [member.node for member in one.receiver.lost] == ["two"]


def test_the_names_of_a_killed_node_are_free(join, start_program):
    one = join("one")
    start_program("two").signal(signal.SIGKILL)
    assert one.backend.claim("two", "proc@one/1") == "proc@two/1"
    wait_until(lambda: one.receiver.lost, SECONDS)
    assert one.backend.claim("two", "proc@one/1") == "proc@one/1"


def test_the_keys_of_a_lost_node_are_cleared_away(join, server, start_program):
    one = join("one")
    start_program("two").signal(signal.SIGKILL)
    wait_until(lambda: one.receiver.lost, SECONDS)
    wait_until(lambda: server.cli("hkeys", KEYS.names) in ([], [""]), SECONDS)
    assert not [key for key in server.cli("keys", "*") if key.startswith(KEYS.names)]


def test_the_keys_of_a_killed_node_expire_when_nobody_is_left(server, start_program):
    start_program("alone").signal(signal.SIGKILL)
    assert server.cli("keys", "*") != [""]
    wait_until(lambda: server.cli("keys", "*") in ([], [""]), SECONDS)


def test_a_hung_node_that_wakes_up_is_another_member(join, start_program):
    one = join("one")
    program = start_program("two")
    program.signal(signal.SIGSTOP)
    wait_until(lambda: one.receiver.lost, SECONDS)
    program.signal(signal.SIGCONT)
    wait_until(lambda: len(one.receiver.up) == 2, SECONDS)
    wait_until(lambda: program.told[-1] == ["up", "one"], SECONDS)
    assert [words[0] for words in program.told[-3:]] == ["lost", "isolated", "up"]


def test_a_node_that_is_cut_off_loses_all_others_and_comes_back(join, proxy):
    one = join("one")
    two = join("two", f"redis://127.0.0.1:{proxy.port}")
    old = two.me
    proxy.hold()
    wait_until(lambda: one.receiver.lost and two.receiver.isolated, SECONDS)
    assert two.receiver.lost == [one.me]
    proxy.go_on()
    wait_until(lambda: two.me in one.receiver.members, SECONDS)
    assert (one.receiver.lost, two.receiver.isolated) == ([old], 1)


def test_a_node_that_came_back_can_be_talked_to(join, proxy):
    one = join("one")
    two = join("two", f"redis://127.0.0.1:{proxy.port}")
    proxy.hold()
    wait_until(lambda: one.receiver.lost and two.receiver.isolated, SECONDS)
    proxy.go_on()
    wait_until(lambda: one.receiver.members and two.receiver.members, SECONDS)
    assert one.backend.publish(two.me, b"there")
    assert two.backend.publish(one.me, b"and back")
    wait_until(lambda: two.got_of(one)[-1:] == [b"there"], SECONDS)
    wait_until(lambda: one.got_of(two) == [b"and back"], SECONDS)


def test_who_is_declared_lost_learns_it(pair, server):
    one, two = pair
    text = write_member(two.me)
    script = "redis.call('ZREM', KEYS[1], ARGV[1]) redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])"
    now = round(time.time() * 1000)
    server.cli("eval", script, 2, KEYS.members, KEYS.lost, text, now)
    wait_until(lambda: two.receiver.isolated, SECONDS)
    wait_until(lambda: two.me in one.receiver.members, SECONDS)


def test_a_restarted_node_takes_the_place_of_its_dead_incarnation_at_once(join, start_program):
    one = join("one", lease=15)
    start_program("two").signal(signal.SIGKILL)
    gevent.sleep(0.05)  # until Redis has seen its sockets close
    began = time.monotonic()
    again = join("two")
    wait_until(lambda: again.me in one.receiver.members, SECONDS)
    assert time.monotonic() - began < LEASE / 2
    assert [member.node for member in one.receiver.lost] == ["two"]


def test_two_living_nodes_may_not_have_one_name(join):
    join("one")
    with pytest.raises(ClusterError, match="a node named 'one' is a member already"):
        join("one")


def test_the_name_of_a_hung_node_is_free_after_its_lease(join, start_program):
    program = start_program("two")
    program.signal(signal.SIGSTOP)
    again = join("two")
    one = join("one")
    wait_until(lambda: one.receiver.members == {again.me}, SECONDS)


def test_who_wakes_up_and_finds_its_name_taken_waits_until_it_is_free(join, start_program):
    program = start_program("two")
    program.signal(signal.SIGSTOP)
    again, one = join("two"), join("one")
    program.signal(signal.SIGCONT)
    wait_until(lambda: ["isolated"] in program.told, SECONDS)
    gevent.sleep(LEASE)
    assert again.receiver.isolated == 0
    again.backend.stop()
    wait_until(lambda: program.told[-1] == ["up", "one"], SECONDS)
    wait_until(lambda: len(one.receiver.up) - len(one.receiver.lost) == 1, SECONDS)


def test_every_key_ends_by_itself(join, server, start_program):
    one, two = join("one"), join("two")
    two.backend.claim("room", "proc@two/1")
    start_program("three").signal(signal.SIGKILL)
    wait_until(lambda: "three" in [member.node for member in one.receiver.lost], SECONDS)
    two.backend.stop()
    one.backend.claim("hall", "proc@one/1")
    keys = server.cli("keys", "*")
    assert len(keys) >= 4
    assert [key for key in keys if server.cli("pttl", key) == ["-1"]] == []


def test_deployments_do_not_meet(join, server):
    one = join("one", f"redis://{server.address}?deployment=blue")
    join("two", f"redis://{server.address}?deployment=green")
    gevent.sleep(LEASE / 2)
    assert one.receiver.up == []
    names = server.cli("keys", "*") + server.cli("pubsub", "channels")
    assert {name.split(":")[1] for name in names} == {"blue", "green"}


def test_a_last_stop_leaves_no_key(join, server):
    one, two = join("one"), join("two")
    one.backend.claim("room", "proc@one/1")
    one.backend.stop()
    two.backend.claim("room", "proc@two/1")
    two.backend.stop()
    assert server.cli("keys", "*") in ([], [""])
    assert server.cli("pubsub", "channels") in ([], [""])


def test_a_refresh_reads_no_list_while_nobody_comes_or_goes(server):
    members = [Member(f"web{number}", f"{number:016}") for number in range(1000)]
    scripts = [Scripts(KEYS, member, 60, "PUBLISH", 1) for member in members]
    with redis.Redis(port=server.port) as client:
        version = 0
        for script in scripts:
            version = client.execute_command(*script.join())[1].decode()
        reply = client.execute_command(*scripts[0].refresh(version, True))
    assert (reply[0], len(reply)) == (b"ok", 4)
