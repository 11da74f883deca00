"""Names over `local:` while many claim them, and some stand still or die in the middle (§7.6).

Whoever holds a name puts a file in its place as long as it does, and finds none of a living one.
"""

import signal
import time

import gevent

from greenrelay.testing import wait_until

NODES = ("one", "two", "three", "four")
NAMES, ROUNDS = 50, 1000
LEASE = 0.5


def begin_races(members, folder, rounds=ROUNDS, names=NAMES):
    folder.mkdir()
    for seed, member in enumerate(members):
        member.begin("race", str(folder), names, rounds, seed)


def held_by(members):
    """Return how often each held a name, when all are done."""
    counts = [member.wait_for("done", verb="race", seconds=60)["value"] for member in members]
    assert not any(member.all_told("double") for member in members)
    return counts


def test_a_name_has_one_holder_at_every_instant(processes, tmp_path):
    """§7.6"""
    members = processes(*NODES)
    begin_races(members, tmp_path / "held")
    assert min(held_by(members)) > 0


def test_of_one_name_too(processes, tmp_path):
    """§7.6"""
    members = processes(*NODES)
    begin_races(members, tmp_path / "held", rounds=300, names=1)
    assert sum(held_by(members)) > 0


def test_also_while_members_stand_still_and_wake_up(processes, tmp_path):
    """§7.6: what a member holds when it is declared lost, others may take."""
    members = processes(*NODES, lease=LEASE)
    begin_races(members, tmp_path / "held", rounds=4000)
    for member in (members[0], members[1], members[0]):
        member.signal(signal.SIGSTOP)
        gevent.sleep(2 * LEASE)  # what is tried is its length
        member.signal(signal.SIGCONT)
        gevent.sleep(LEASE)
    assert min(held_by(members)) > 0
    assert members[0].all_told("isolated")


def test_also_while_members_are_killed(processes, tmp_path):
    """§7.6"""
    members = processes(*NODES)
    begin_races(members, tmp_path / "held", rounds=4000)
    for member in members[:2]:
        gevent.sleep(0.1)  # so that it is in the middle
        member.signal(signal.SIGKILL)
    assert min(held_by(members[2:])) > 0


def test_a_name_of_who_stands_still_is_free_after_its_lease(processes):
    """§7.2: and not before."""
    one, two = processes("one", "two", lease=LEASE)
    two.do("claim", "room", "proc@two/a")
    two.signal(signal.SIGSTOP)
    begin = time.monotonic()
    assert one.do("claim", "room", "proc@one/a") == "proc@two/a"
    wait_until(lambda: one.do("claim", "room", "proc@one/a") == "proc@one/a")
    assert LEASE * 0.8 < time.monotonic() - begin < 4 * LEASE
