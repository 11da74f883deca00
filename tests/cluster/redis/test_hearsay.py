"""What is held of those who may be members, and what becomes of it (§7.2)."""

import pytest

from greenrelay.cluster.redis_hearsay import HELD_COST, MAX_HELD_BYTES, Hearsay
from greenrelay.cluster.redis_keys import write_bundle, write_member
from greenrelay.cluster.redis_roster import Roster
from tests.cluster.backends import Recorder, new_member

ME, ONE, TWO = (new_member(node) for node in ("me", "one", "two"))


class Heard:
    """A `Hearsay`, and what it has told."""

    def __init__(self):
        self.receiver = Recorder(ME)
        self.looks, self.while_paused = [], lambda: None
        self.roster = Roster(ME, self.receiver.on_up, self.receiver.on_lost, 10.0)
        look_soon = lambda: self.looks.append(1)  # noqa: E731
        self.hearsay = Hearsay(self.roster, self.receiver, look_soon, lambda: self.while_paused())

    def say(self, member, *items):
        self.hearsay.on_message(write_bundle(write_member(member), items))

    def look(self, version, *changes):
        self.hearsay.begin_look()
        self.answer(version, *changes)

    def answer(self, version, *changes):
        if changes:
            self.hearsay.take(version, changes, 0.0)
        self.hearsay.end_look()


@pytest.fixture
def heard():
    heard = Heard()
    heard.look("5", [], [])
    return heard


def news(sign, version, member):
    return f"{sign} {version} {write_member(member)}".encode()


def text(member):
    return write_member(member).encode()


def test_bytes_of_who_turns_out_to_be_a_member_are_delivered_in_order(heard):
    heard.say(ONE, b"1", b"2")
    heard.say(ONE, b"3")
    heard.look("6", [news("+", 6, ONE)])
    assert heard.receiver.bytes == {ONE: [b"1", b"2", b"3"]}


def test_what_comes_while_held_bytes_are_delivered_comes_behind_them(heard):
    items = [b"%d" % number for number in range(100)]
    heard.say(ONE, *items)
    heard.while_paused = lambda: heard.say(ONE, b"later")
    heard.look("6", [news("+", 6, ONE)])
    assert heard.receiver.bytes[ONE] == [*items, b"later"]


def test_who_came_and_left_before_the_look_is_heard_in_between(heard):
    heard.say(ONE, b"hello")
    heard.look("7", [news("+", 6, ONE), news("-", 7, ONE)])
    assert (heard.receiver.bytes, heard.receiver.lost) == ({ONE: [b"hello"]}, [ONE])


def test_who_is_found_on_the_list_of_the_lost_is_heard_before(heard):
    heard.say(ONE, b"hello")
    heard.look("9", [], [text(ONE)])
    assert (heard.receiver.bytes, heard.receiver.lost) == ({ONE: [b"hello"]}, [ONE])


def test_a_former_incarnation_does_not_end_the_one_that_is_up(heard):
    former = new_member("one")
    heard.look("6", [news("+", 6, ONE)])
    heard.say(former, b"boo")
    heard.look("9", [text(ONE)], [text(former)])
    assert (heard.receiver.up, heard.receiver.lost) == ([ONE], [])


def test_bytes_of_nobody_are_refused_after_a_look_that_began_later(heard):
    heard.hearsay.begin_look()
    heard.say(ONE, b"boo")
    heard.answer("5")
    assert (heard.receiver.refused, len(heard.looks)) == ([], 1)
    heard.look("5")
    assert [count for _, count in heard.receiver.refused] == [1]


def test_no_more_than_a_bound_is_held_and_the_rest_is_told(heard):
    heard.say(ONE, bytes(MAX_HELD_BYTES // 2))
    heard.say(TWO, bytes(MAX_HELD_BYTES // 2))
    heard.look("6", [news("+", 6, ONE)])
    assert [count for _, count in heard.receiver.maybe_lost] == [1]
    assert len(heard.receiver.bytes[ONE]) == 1


def test_nothing_is_left_of_what_was_held(heard):
    for turn in range(3):
        heard.say(ONE, bytes(MAX_HELD_BYTES - 3 * HELD_COST))
        heard.look("5")
        assert len(heard.receiver.refused) == turn + 1
    assert heard.receiver.maybe_lost == []


def test_who_is_gone_is_not_held(heard):
    heard.look("7", [news("+", 6, ONE), news("-", 7, ONE)])
    heard.say(ONE, b"late")
    heard.say(ME, b"ours")
    assert heard.looks == []


def test_an_event_that_is_known_asks_for_no_look(heard):
    heard.hearsay.on_event(news("-", 5, ONE))
    assert heard.looks == []
    heard.hearsay.on_event(news("-", 6, ONE))
    assert len(heard.looks) == 1


def test_news_that_are_none_are_passed_over(heard):
    heard.look("7", [b"\xff", news("+", 6, ONE), b"+ 7 x:y"])
    heard.look("8", [b"", text(TWO), b"x:y"], [])
    assert heard.receiver.up == [ONE, TWO]


def test_an_event_tells_how_far_the_channel_has_come(heard):
    heard.hearsay.on_event(news("+", 8, ONE))
    heard.hearsay.on_event(b"+ 9 rubbish")
    assert heard.hearsay.version == 8
