"""What tests of connections get: a clock, a target, a monitor, and connections without a socket."""

import pytest

from greenrelay.testing import FakeClock, fake_event_stream, fake_websocket
from tests.relay.pair import HEAD, Pair
from tests.targets import RecordingTarget


@pytest.fixture
def clock():
    """The time of all connections of a test."""
    return FakeClock()


@pytest.fixture
def watcher(node):
    """Somebody who may monitor them."""
    return RecordingTarget(node)


@pytest.fixture
def connect(node, recorder, clock):
    """Return an open WebSocket to the recorder; it is not pinged unless that is asked for."""

    def connect(**fields):
        return fake_websocket(node, recorder.pid, clock, **{"ping_interval": "0s", **fields})

    return connect


@pytest.fixture
def watched(node, connect, watcher):
    """Return the same, monitored by the watcher."""

    def watched(**fields):
        session = connect(**fields)
        node.monitor(watcher, session.pid)
        return session

    return watched


@pytest.fixture
def open_stream(node, recorder, clock):
    """Return an open event stream, managed by the recorder unless another target is given."""

    def open_stream(target=recorder.pid, **fields):
        return fake_event_stream(node, target, clock, **fields)

    return open_stream


@pytest.fixture
def pair():
    """A transport and its peer."""
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def transport(pair):
    """A transport that has started, its head read."""
    pair.transport.start()
    assert pair.read() == HEAD
    pair.seen = b""
    pair.receiver.events.clear()
    return pair.transport
