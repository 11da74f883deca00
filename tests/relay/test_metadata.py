"""The metadata of a connection: each message has its own, for whoever gets it to change (§3.3)."""

import pytest

from greenrelay.testing import fake_event_stream, fake_websocket
from tests.targets import RecordingTarget


def metadata():
    return {"user": 7, "rooms": ["tea"], "seat": {"row": 1}}


def spoil(message):
    """Change what a message has brought, at every depth."""
    found = message.payload["metadata"]
    found["rooms"].append("coffee")
    found["seat"]["row"] = 2
    found["user"] = 8


@pytest.mark.parametrize("fake", [fake_websocket, fake_event_stream])
def test_what_a_target_does_to_join_is_not_seen_in_heartbeat_and_leave(node, recorder, clock, fake):
    """§3.3, §5.2"""
    session = fake(node, recorder.pid, clock, metadata=metadata(), heartbeat_interval="5s")
    spoil(recorder.messages[-1])
    clock.advance(6)
    assert recorder.messages[-1].payload["metadata"] == metadata()
    spoil(recorder.messages[-1])
    session.kill()
    assert recorder.messages[-1].payload["metadata"] == metadata()
    assert recorder.topics == [session.JOIN, session.HEARTBEAT, session.LEAVE]


def test_what_a_target_does_to_one_envelope_is_not_seen_in_the_next(node, recorder):
    """§3.3"""
    session = fake_websocket(node, recorder.pid, metadata=metadata(), dialect="envelope")
    for _ in range(2):
        session.on_bytes(b"\x81\x82\0\0\0\0hi")
        assert recorder.messages[-1].payload["metadata"] == metadata()
        spoil(recorder.messages[-1])
    session.kill()


def test_two_targets_of_a_moved_connection_have_metadata_of_their_own(node, recorder):
    """§3.6"""
    session, other = fake_websocket(node, recorder.pid, metadata=metadata()), RecordingTarget(node)
    node.send(session.pid, "ws.control", {"target_pid": other.pid})
    spoil(recorder.messages[-1])
    assert other.messages[0].payload["metadata"] == metadata()
    session.kill()


def test_what_a_sender_does_to_a_control_message_afterwards_changes_nothing(node, recorder):
    """§3.6"""
    session, sent = fake_websocket(node, recorder.pid), {"rooms": ["tea"]}
    node.send(session.pid, "ws.control", {"metadata": sent})
    sent["rooms"].append("coffee")
    session.kill()
    assert recorder.messages[-1].payload["metadata"] == {"rooms": ["tea"]}
