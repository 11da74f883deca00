"""`local:` between interpreters: bytes, death, hanging, and what each leaves behind."""

import signal
import time

import pytest

from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS

LEASE = 0.5


@pytest.mark.parametrize("count", [2, 5])
def test_interpreters_see_each_other(processes, count):
    """§7.1"""
    members = processes(*(f"node{number}" for number in range(count)))
    assert all(len(member.is_up) == count - 1 for member in members)


def test_a_hundred_thousand_come_in_order(processes):
    """§7.3"""
    one, two = processes("one", "two")
    sizes = [0, 1, 10, 100, 1000]
    digest = one.do("send", "two", 100_000, 1, sizes, seconds=60)
    end = two.wait_for("end", seconds=60)
    assert (end["count"], end["digest"]) == (100_001, digest)


def test_small_and_large_come_in_order_in_both_directions(processes):
    """§7.3"""
    one, two = processes("one", "two")
    sizes = [1, 100, 65_530, 65_540, 300_000, 1_048_575]
    one.begin("send", "two", 200, 1, sizes)
    two.begin("send", "one", 200, 2, sizes)
    for here, there in ((one, two), (two, one)):
        digest = here.wait_for("done", seconds=30, verb="send")["value"]
        assert there.wait_for("end", seconds=30)["digest"] == digest


def test_who_is_killed_is_lost_within_a_second(processes):
    """§7.2"""
    one, two, three = processes("one", "two", "three")
    begin = time.monotonic()
    three.signal(signal.SIGKILL)
    one.wait_for("lost", node="three")
    two.wait_for("lost", node="three")
    assert time.monotonic() - begin < 1


def test_the_names_of_who_is_killed_are_free(processes):
    """§7.2"""
    one, two = processes("one", "two")
    two.do("claim", "room", "proc@two/a")
    two.signal(signal.SIGKILL)
    one.wait_for("lost", node="two")
    assert one.do("claim", "room", "proc@one/a") == "proc@one/a"


def test_who_is_killed_can_come_back_under_its_name(processes):
    """§7.2"""
    one, two = processes("one", "two")
    two.signal(signal.SIGKILL)
    one.wait_for("lost", node="two")
    two.process.wait()
    processes("two")
    ups = one.all_told("up", node="two")
    assert len({up["incarnation"] for up in ups}) == 2


def test_who_stands_still_for_its_lease_is_lost_once_to_all(processes):
    """§7.2"""
    one, two, three, four = processes("one", "two", "three", "four", lease=LEASE)
    four.signal(signal.SIGSTOP)
    for member in (one, two, three):
        member.wait_for("lost", node="four", seconds=5)
    four.signal(signal.SIGCONT)
    wait_until(lambda: all("four" in member.is_up for member in (one, two, three)), SECONDS)
    assert [len(member.all_told("lost")) for member in (one, two, three)] == [1, 1, 1]


def test_who_wakes_up_learns_that_it_was_lost(processes):
    """§7.2: everybody is lost to it, and it is another incarnation."""
    one, two = processes("one", "two", lease=LEASE)
    two.signal(signal.SIGSTOP)
    lost = one.wait_for("lost", node="two", seconds=5)
    two.signal(signal.SIGCONT)
    isolated = two.wait_for("isolated")
    assert (isolated["up"], len(two.all_told("lost"))) == ([], 1)
    wait_until(lambda: one.is_up == {"two"} and two.is_up == {"one"}, SECONDS)
    back = one.all_told("up")[-1]["incarnation"]
    assert back == isolated["incarnation"] != lost["incarnation"]


def test_names_that_were_taken_meanwhile_stay_taken(processes):
    """§7.2"""
    one, two = processes("one", "two", lease=LEASE)
    for name in ("a", "b"):
        two.do("claim", name, f"proc@two/{name}")
    two.signal(signal.SIGSTOP)
    one.wait_for("lost", node="two", seconds=5)
    assert one.do("claim", "a", "proc@one/a") == "proc@one/a"
    two.signal(signal.SIGCONT)
    two.wait_for("isolated")
    assert two.do("claim", "a", "proc@two/a") == "proc@one/a"
    assert two.do("claim", "b", "proc@two/b") == "proc@two/b"


def test_a_short_standstill_is_no_loss(processes):
    """§7.2"""
    one, two = processes("one", "two", lease=1.0)
    two.signal(signal.SIGSTOP)
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() - begin > 0.4)
    two.signal(signal.SIGCONT)
    assert one.do("send", "two", 10, 1, [1]) == two.wait_for("end")["digest"]
    assert not one.all_told("lost")


def test_who_stands_still_takes_nobody_else_for_lost(processes):
    """§7.2: all others were silent to it; none of them is blamed."""
    one, two, three = processes("one", "two", "three", lease=LEASE)
    two.signal(signal.SIGSTOP)
    one.wait_for("lost", node="two", seconds=5)
    two.signal(signal.SIGCONT)
    wait_until(lambda: two.is_up == {"one", "three"} and "isolated" in str(two.told), SECONDS)
    wait_until(lambda: "two" in one.is_up and "two" in three.is_up, SECONDS)
    assert not one.all_told("lost", node="three")
    assert not three.all_told("lost", node="one")


def test_all_may_stand_still_at_once(processes):
    """§7.2: whoever wakes up first is not alone for long."""
    members = processes("one", "two", "three", lease=LEASE)
    for member in members:
        member.signal(signal.SIGSTOP)
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() - begin > 2 * LEASE)
    for member in members:
        member.signal(signal.SIGCONT)
    assert members[0].do("send", "two", 10, 1, [1]) == members[1].wait_for("end")["digest"]
    wait_until(lambda: all(len(member.is_up) == 2 for member in members), SECONDS)


def test_what_is_handed_over_beyond_the_buffer_is_refused_and_counted(processes):
    """§7.3"""
    one, two = processes("one", "two", max_pending=1_000_000)
    two.signal(signal.SIGSTOP)
    taken = one.do("fill", "two", 100_000, 100)
    two.signal(signal.SIGCONT)
    assert 9 <= taken <= 20
    assert one.wait_for("maybe_lost") == {
        "what": "maybe_lost",
        "text": "node two reads too slowly",
        "count": 1,
    }


def test_a_stop_is_bounded_when_nobody_reads(processes):
    """§7.1"""
    one, two = processes("one", "two")
    two.signal(signal.SIGSTOP)
    one.do("fill", "two", 500_000, 20)
    begin = time.monotonic()
    one.stop()
    assert time.monotonic() - begin < 2


def test_nothing_is_left_after_clean_stops(processes, tmp_path):
    """§7.9"""
    for member in processes("one", "two", "three"):
        member.stop()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_all_stop_at_once(processes, tmp_path):
    """§7.9"""
    members = processes("one", "two", "three", "four")
    for member in members:
        member.begin("stop")
    wait_until(lambda: all(member.process.poll() is not None for member in members), SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_survivors_take_away_what_a_killed_one_has_left(processes, tmp_path):
    """§7.9"""
    one, two = processes("one", "two")
    two.signal(signal.SIGKILL)
    one.wait_for("lost", node="two")
    assert len(list(tmp_path.glob("*/*/*.sock"))) == 1
    one.stop()
    assert list(tmp_path.iterdir()) == []


def test_the_next_to_come_takes_away_what_all_that_were_killed_have_left(processes, tmp_path):
    """§7.9"""
    for member in processes("one", "two"):
        member.signal(signal.SIGKILL)
        member.process.wait()
    three = processes("three")
    assert len(list(tmp_path.glob("*/*/*.sock"))) == 1
    three.stop()
    assert list(tmp_path.iterdir()) == []


def test_two_deployments_do_not_meet(processes):
    """§7.9"""
    one, two = (processes.start(name, deployment=name) for name in ("blue", "green"))
    one.wait_for("joined")
    two.wait_for("joined")  # by then it has met everybody
    assert (one.is_up, two.is_up) == (set(), set())


def test_a_name_that_a_living_node_has_is_refused(processes):
    processes("one")
    refused = processes.start("one").wait_for("refused")
    assert refused["text"].startswith("the name one is taken by a running node in ")


def test_a_forked_child_can_do_nothing_with_it(processes):
    one, two = processes("one", "two")
    assert one.do("fork", 0.1) == '[false, "ClusterError"]'
    assert not two.all_told("lost")


def test_a_forked_child_does_not_keep_its_parent_alive(processes):
    """§7.2: the child's descriptors are closed, so the parent's death shows."""
    one, two = processes("one", "two")
    two.do("fork", 5)
    begin = time.monotonic()
    two.signal(signal.SIGKILL)
    one.wait_for("lost", node="two")
    assert time.monotonic() - begin < 1
