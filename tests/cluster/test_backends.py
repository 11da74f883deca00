"""What every backend promises, whatever carries its bytes (§7.1 to §7.6)."""

import gevent
import pytest

from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, Joiner, backend_params, new_member


@pytest.fixture(params=backend_params())
def join(request, tmp_path):
    with request.param(tmp_path) as make_backend:
        joiner = Joiner(make_backend)
        yield joiner
        joiner.stop_all()


def test_two_members_are_up_to_each_other(join):
    one, two = join(2)
    assert one.receiver.up == [two.me]
    assert two.receiver.up == [one.me]


def test_who_joins_later_meets_all(join):
    join(4)
    five = join()
    assert len(five.receiver.members) == 4


def test_bytes_come_in_the_order_in_which_they_were_published(join):
    one, two = join(2)
    sent = [b"%d" % number for number in range(1000)]
    for data in sent:
        assert one.backend.publish(two.me, data)
    wait_until(lambda: len(two.got_of(one)) == len(sent), SECONDS)
    assert two.got_of(one) == sent


def test_small_and_large_keep_their_order(join):
    one, two = join(2)
    sent = [
        bytes([number]) * size for number, size in enumerate([1, 700_000, 2, 70_000, 1_048_576, 3])
    ]
    for data in sent:
        one.backend.publish(two.me, data)
    wait_until(lambda: len(two.got_of(one)) == len(sent), SECONDS)
    assert two.got_of(one) == sent


def test_only_the_receiver_that_is_named_gets_it(join):
    one, two, three = join(3)
    one.backend.publish(three.me, b"for three")
    one.backend.publish(two.me, b"for two")
    wait_until(lambda: two.got_of(one) and three.got_of(one), SECONDS)
    assert (two.got_of(one), three.got_of(one)) == ([b"for two"], [b"for three"])


def test_publish_neither_blocks_nor_switches(join):
    one, two = join(2)
    turns = []
    other = gevent.spawn(turns.append, "a turn")
    one.backend.publish(two.me, b"x")
    assert turns == []
    other.join()


def test_nothing_is_published_to_a_member_that_does_not_exist(join):
    one = join()
    assert one.backend.publish(new_member("nowhere"), b"x") is False


def test_nothing_is_pending_when_all_has_gone_out(join):
    one, two = join(2)
    one.backend.publish(two.me, b"x" * 1000)
    wait_until(lambda: two.got_of(one), SECONDS)
    assert one.backend.pending(two.me) == 0


def test_who_leaves_is_lost_once_to_all_others(join):
    one, two, three = join(3)
    join.stop(three)
    wait_until(lambda: one.receiver.lost and two.receiver.lost, SECONDS)
    assert (one.receiver.lost, two.receiver.lost) == ([three.me], [three.me])


def test_what_was_published_before_a_leave_arrives_before_the_loss(join):
    one, two = join(2)
    seen = []
    one.receiver.when_lost = lambda member: seen.append(len(one.got_of(two)))
    for _ in range(500):
        two.backend.publish(one.me, b"x" * 1000)
    join.stop(two)
    wait_until(lambda: seen, SECONDS)
    assert seen == [500]


def test_nothing_is_published_to_who_has_left(join):
    one, two = join(2)
    join.stop(two)
    wait_until(lambda: one.receiver.lost, SECONDS)
    assert one.backend.publish(two.me, b"x") is False


def test_a_node_that_comes_back_is_another_member(join):
    one, two = join(2)
    join.stop(two)
    again = join()
    assert again.me in one.receiver.members
    assert two.me not in one.receiver.members


def test_stop_is_idempotent(join):
    one = join()
    one.backend.stop()
    join.stop(one)


def test_who_has_stopped_publishes_nothing(join):
    one, two = join(2)
    join.stop(one)
    assert one.backend.publish(two.me, b"x") is False


def test_a_name_that_nobody_holds_is_given_to_who_claims_it(join):
    one = join()
    assert one.backend.claim("room", "proc@node1/a") == "proc@node1/a"


def test_a_name_that_is_held_tells_its_holder(join):
    one, two = join(2)
    one.backend.claim("room", "proc@node1/a")
    assert two.backend.claim("room", "proc@node2/b") == "proc@node1/a"


def test_two_processes_of_one_node_do_not_share_a_name(join):
    one = join()
    one.backend.claim("room", "proc@node1/a")
    assert one.backend.claim("room", "proc@node1/b") == "proc@node1/a"


def test_who_holds_a_name_may_claim_it_again(join):
    one = join()
    one.backend.claim("room", "proc@node1/a")
    assert one.backend.claim("room", "proc@node1/a") == "proc@node1/a"


def test_a_name_that_is_released_is_free(join):
    one, two = join(2)
    one.backend.claim("room", "proc@node1/a")
    one.backend.release("room", "proc@node1/a")
    wait_until(lambda: two.backend.claim("room", "proc@node2/b") == "proc@node2/b", SECONDS)


def test_only_its_holder_releases_a_name(join):
    one, two = join(2)
    one.backend.claim("room", "proc@node1/a")
    one.backend.release("room", "proc@node1/b")
    two.backend.release("room", "proc@node1/a")
    gevent.sleep(0.05)  # what a release does, it may do later
    assert two.backend.claim("room", "proc@node2/b") == "proc@node1/a"


def test_the_names_of_who_leaves_are_free(join):
    one, two = join(2)
    one.backend.claim("room", "proc@node1/a")
    join.stop(one)
    wait_until(lambda: two.backend.claim("room", "proc@node2/b") == "proc@node2/b", SECONDS)


def test_names_may_be_any_text(join):
    one, two = join(2)
    name = "Räume/{1}\n\x00:*" + "x" * 500
    one.backend.claim(name, "proc@node1/a")
    assert two.backend.claim(name, "proc@node2/b") == "proc@node1/a"


def test_of_many_claims_at_once_one_wins(join):
    members = join(4)
    claims = [
        gevent.spawn(member.backend.claim, "room", f"proc@{member.me.node}/{number}")
        for number in range(5)
        for member in members
    ]
    gevent.joinall(claims, timeout=SECONDS)
    assert len({claim.value for claim in claims}) == 1


def test_a_receiver_is_told_nothing_after_a_stop(join):
    one, two = join(2)
    join.stop(one)
    told = list(one.receiver.up), list(one.receiver.lost), one.got_of(two)
    two.backend.publish(one.me, b"x")
    gevent.sleep(0.05)  # long enough for what must not come
    assert told == (one.receiver.up, one.receiver.lost, [])
