"""What dies, and what users see: the rows of that table in docs/deploying.md (§7.2, §7.3).

Two nodes are in one cluster, over Unix sockets or over a real Redis, each with one client; the
room in which both are lives on the first.
"""

import os
import signal

import gevent
import pytest
from gevent.event import Event

from greenrelay.testing import ConnectionClosed, wait_until
from tests.cluster.redis_servers import Proxy, RedisServer, need_redis
from tests.integration import clustered
from tests.integration.commands import Served
from tests.integration.programs import SECONDS

need_redis()

LEASE = "2s"


class Client:
    """A client in the room; what it hears is kept, and how it ended."""

    def __init__(self, served):
        self.socket = served.connect_ws()
        self.node = self.socket.receive(timeout=SECONDS)
        self.heard = []
        self.heard_some = Event()
        self.closed = None
        self.greenlet = gevent.spawn(self._listen)

    def _listen(self):
        try:
            while True:
                self.heard.append(self.socket.receive(timeout=60))
                self.heard_some.set()
        except ConnectionClosed as closed:
            self.closed = closed.code

    def say(self, text):
        self.socket.send(text)

    def hears(self, other, text):
        """Wait until it has heard what another one said, again and again: some may be lost."""

        def has_heard():
            other.say(text)
            return text in self.heard

        wait_until(has_heard, SECONDS)

    def is_closed_with(self, code):
        wait_until(lambda: self.closed is not None, SECONDS)
        assert self.closed == code


class Site:
    """Two nodes, and a client of each, who hear each other."""

    def __init__(self, folder, url, far_url=None):
        self.folder = folder
        self.first = self.serve("one", url)
        self.second = self.serve("two", far_url or url)
        self.clients = []
        self.near, self.far = self.enter(self.first), self.enter(self.second)
        self.far.hears(self.near, "are you there?")
        self.near.hears(self.far, "yes")

    def serve(self, name, url):
        (self.folder / name).mkdir()
        (self.folder / name / "site_app.py").write_text(clustered.APP)
        served = Served(
            self.folder / name, "site_app:app", "--port", "0", "--node", name, "--cluster", url
        )
        served.url  # noqa: B018  # waits
        return served

    def enter(self, served):
        self.clients.append(Client(served))
        return self.clients[-1]

    def is_whole_again(self):
        """Wait until two who come anew to the two nodes are in one room.

        For a moment there may be two rooms of the name, and who has come to one stays there.
        """

        def is_one_room():
            near, far = self.enter(self.first), self.enter(self.second)
            near.say("again")
            far.heard_some.wait(1)
            return "again" in far.heard

        wait_until(is_one_room, SECONDS)

    def stop(self):
        for served in (self.first, self.second):
            served.process.send_signal(signal.SIGCONT)
            served.kill()
        for client in self.clients:
            client.greenlet.kill()
            client.socket.abort()


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path, redis):
    """Two nodes that share a Redis."""
    site = Site(tmp_path, f"redis://{redis.address}?lease={LEASE}")
    yield site
    site.stop()


@pytest.fixture(params=["local", "redis"])
def any_site(request, tmp_path, monkeypatch):
    """Two nodes that meet in either way."""
    if request.param == "redis":
        yield request.getfixturevalue("site")
        return
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    site = Site(tmp_path, f"local:site?lease={LEASE}")
    yield site
    site.stop()


@pytest.fixture
def cut(tmp_path, redis):
    """Two nodes, and the way of the second to Redis."""
    proxy = Proxy(redis.port)
    far = f"redis://127.0.0.1:{proxy.port}?lease={LEASE}"
    site = Site(tmp_path, f"redis://{redis.address}?lease={LEASE}", far)
    yield site, proxy
    proxy.go_on()
    site.stop()
    proxy.stop()


def test_who_had_the_room_on_a_node_that_dies_comes_back(any_site):
    any_site.first.kill()
    any_site.near.is_closed_with(1006)
    any_site.far.is_closed_with(1012)
    again = any_site.enter(any_site.second)
    again.hears(again, "a new room")


def test_who_had_the_room_on_a_node_that_hangs_comes_back(any_site):
    os.kill(any_site.first.process.pid, signal.SIGSTOP)
    any_site.far.is_closed_with(1012)
    os.kill(any_site.first.process.pid, signal.SIGCONT)
    any_site.near.hears(any_site.near, "I was away")
    assert any_site.near.closed is None


def test_a_restart_of_redis_closes_nothing(site, redis):
    redis.stop()
    site.near.hears(site.near, "alone for a moment")
    redis.start()
    site.far.hears(site.near, "and back")
    assert (site.near.closed, site.far.closed) == (None, None)


def test_without_redis_for_long_every_node_is_alone(site, redis):
    redis.stop()
    site.far.is_closed_with(1012)
    site.near.hears(site.near, "alone")
    redis.start()
    site.is_whole_again()


def test_a_node_that_is_cut_off_is_alone_and_comes_back(cut):
    site, proxy = cut
    proxy.hold()
    site.far.is_closed_with(1012)
    site.near.hears(site.near, "without the other")
    proxy.go_on()
    site.is_whole_again()


def test_a_deploy_closes_all_who_had_to_do_with_that_node_at_once(any_site):
    any_site.first.signal(signal.SIGTERM)
    any_site.near.is_closed_with(1012)
    any_site.far.is_closed_with(1000)
    assert any_site.first.wait() == 0
