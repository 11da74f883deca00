"""Fixtures of the suite that runs over all kinds of placement."""

import gevent
import pytest

from greenrelay import process
from greenrelay.process import on_node
from greenrelay.testing import wait_until
from tests.cluster.far import SECONDS, FarServices
from tests.cluster.places import KINDS, open_places
from tests.cluster.redis_servers import need_redis


@pytest.fixture(scope="session")
def services():
    """What joins interpreters; each of them is started once, when it is first wanted."""
    services = FarServices()
    yield services
    services.stop()


@pytest.fixture(params=KINDS)
def places(request, services):
    """Here and there, as the same node, or as two that talk."""
    if request.param == "redis":
        need_redis()
    with open_places(request.param, services) as places:
        yield places


@pytest.fixture(params=KINDS[1:])
def apart(request, services):
    """Here and there as two nodes that talk: for what one node alone has not got."""
    if request.param == "redis":
        need_redis()
    with open_places(request.param, services) as places:
        yield places


@pytest.fixture
def cluster():
    """Two nodes in this interpreter: for what tests can only do, or see, from within both."""
    with open_places("memory") as places:
        yield places


def placed(request):
    """Return the places of a test, whichever it has."""
    (name,) = {"places", "apart", "cluster"} & set(request.fixturenames)
    return request.getfixturevalue(name)


class Box:
    """A process here that keeps what it gets."""

    def __init__(self, place):
        self.messages, self.events = [], []
        self.pid = place.spawn(self._collect)

    def _collect(self):
        for message in process.inbox():
            self.messages.append((message.topic, message.payload))

    def wait_for(self, topic, count=1):
        """Return the payloads of a topic, as soon as there are so many."""
        wait_until(lambda: len(self.all(topic)) >= count, SECONDS)
        return self.all(topic)

    def all(self, topic):
        return [payload for each, payload in self.messages if each == topic]


@pytest.fixture
def box(request):
    return Box(placed(request).here)


class Watcher:
    """A process here that keeps its events; it does on request what only a process may."""

    def __init__(self, place, traps=True):
        self.events, self.error = [], None
        self.pid = place.spawn(self._watch, traps)
        with on_node(place.node):
            self.place = place

    def _watch(self, traps):
        process.trap_links(traps)
        inbox, events = process.inbox(), process.events()
        while True:
            channel, item = process.select(inbox, events)
            if channel is inbox:
                function, args, result = item.payload
                try:
                    result.append(function(*args))
                except Exception as error:
                    result.append(error)
            else:
                self.events.append(item)

    def do(self, function, *args):
        """Have the process call a function, and return its value."""
        result = []
        self.place.node.send(self.pid, "do", (function, args, result))
        wait_until(lambda: result)
        return result[0]

    def news(self, count=1):
        """Return (kind, sender, reason) of its events, as soon as there are so many."""
        wait_until(lambda: len(self.events) >= count)
        gevent.sleep(0.01)  # no other may follow
        return [(event.kind, event.sender, event.reason) for event in self.events]


@pytest.fixture
def watcher(request):
    return Watcher(placed(request).here)
