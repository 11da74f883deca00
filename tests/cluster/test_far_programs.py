"""Random programs of processes in three interpreters over `local:`: what has to be so afterwards.

test_cluster_model.py has the same over `memory:`, with envelopes lost; here nothing is, so what was
sent to one that lives has come (§2.2), each monitor of one that is dead has fired once (§2.3),
links are known at both ends (§2.4), and all nodes know the same names and groups (§7.6, §2.13).
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenrelay import process
from greenrelay.process import on_node
from tests.cluster.places import FarPlaces
from tests.cluster.players import DEEDS, GROUPS, NAMES

PLAYERS = "tests.cluster.players:"

numbers = st.integers(0, 5)
deeds = st.tuples(numbers, st.sampled_from(DEEDS), numbers, st.integers(0, 1))
programs = st.lists(st.one_of(deeds, st.just("settle")), min_size=5, max_size=40)


@pytest.fixture(scope="module")
def three(services):
    """A place in each of three interpreters, one of them this one."""
    places = FarPlaces(services.get("local"), "there", "third")
    with on_node(places.here.node):
        yield places
    places.stop()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=programs)
def test_any_program_leaves_all_nodes_alike(three, program):  # §7.1
    pids = [place.ask(PLAYERS + "spawn") for place in three.all * 2]
    try:
        for deed in program:
            if deed == "settle":
                three.settle()
            else:
                one, verb, other, word = deed
                others = pids if verb == "shout" else [pids[other]]
                process.send(pids[one], "do", [verb, others, word])
        Outcome(reports_at_rest(three)).check()
    finally:
        for place in three.all:
            place.end()
            place.ask(PLAYERS + "clear")
        three.settle()


def reports_at_rest(three):
    """Return what all nodes report, as soon as they have nothing to do and report it twice."""
    last, reports = None, []
    for _ in range(50):
        three.settle()
        last, reports = reports, [place.ask(PLAYERS + "report") for place in three.all]
        if reports == last and not any(report["busy"] for report in reports):
            return reports
    raise AssertionError(f"no rest: {reports}")


class Outcome:
    """What all nodes have reported, nothing being under way any more."""

    def __init__(self, reports):
        self.reports = reports
        self.alive = {pid for report in reports for pid in report["alive"]}
        self.players = {k: v for report in reports for k, v in report["players"].items()}
        self.linked = {k: v for report in reports for k, v in report["linked"].items()}

    def check(self):
        for pid in self.players:
            self.check_order(pid)
            if pid in self.alive:
                self.check_monitors(pid)
                self.check_links(pid)
        self.check_names_and_groups()

    def check_order(self, pid):
        for sender, player in self.players.items():
            got = self.players[pid]["got"].get(sender, [])
            assert got == list(range(1, len(got) + 1))
            if pid in self.alive:
                assert len(got) == player["sent"].get(pid, 0)

    def check_monitors(self, pid):
        for watched, exits in self.players[pid]["watched"]:
            assert len(exits) == (watched not in self.alive)
            assert "noconnection" not in exits

    def check_links(self, pid):
        for other in self.linked[pid]:
            assert other in self.alive
            assert pid in self.linked[other]

    def check_names_and_groups(self):
        for name in NAMES:
            holders = {report["names"][name] for report in self.reports}
            assert len(holders) == 1
            assert holders <= self.alive | {None}
        for group in GROUPS:
            first, *others = (report["groups"][group] for report in self.reports)
            assert all(first == other for other in others)
            assert set(first) <= self.alive
