"""How many connections there may be, and who gives room back (§8)."""

import pytest

from greenrelay.errors import RefusedError
from greenrelay.testing import fake_websocket
from greenrelay.web.quota import Quota
from tests.targets import RecordingTarget


@pytest.fixture
def enter(node):
    """Let a connection from an address in, or raise what stands against it."""
    recorder = RecordingTarget(node)

    def enter(quota, address="192.0.2.1"):
        quota.check(address)
        session = fake_websocket(node, recorder.pid)
        quota.count(node, session.pid, address)
        return session

    return enter


def test_node_has_room_for_so_many(enter):
    """§8"""
    quota = Quota(per_node=2)
    enter(quota, "192.0.2.1")
    enter(quota, "192.0.2.2")
    with pytest.raises(RefusedError, match="this server has too many connections") as refused:
        enter(quota, "192.0.2.3")
    assert refused.value.status.startswith("503")
    assert dict(refused.value.headers)["Retry-After"] == "5"


def test_each_address_has_room_of_its_own(enter):
    """§8"""
    quota = Quota(per_address=1)
    enter(quota, "192.0.2.1")
    enter(quota, "192.0.2.2")
    with pytest.raises(RefusedError, match="this address has too many connections"):
        enter(quota, "192.0.2.1")


def test_whoever_ends_gives_its_room_back(enter):
    """§8: once, and only its own."""
    quota = Quota(per_node=2, per_address=2)
    first, _ = enter(quota), enter(quota)
    first.kill()
    first.kill()
    enter(quota)
    with pytest.raises(RefusedError):
        enter(quota)


def test_without_a_quota_nothing_is_kept(node, enter):
    """§8: 0 is off, and costs no monitor."""
    session = enter(Quota())
    assert not node.topology.watchers(session.pid)
