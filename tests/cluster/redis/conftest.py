"""What the tests of the Redis backend share: servers, members, and a look at what they leave."""

import gc
import json
import os
import signal
import sys
from pathlib import Path

import gevent
import pytest
from gevent import subprocess

from greenrelay.cluster.redis import open_redis
from greenrelay.cluster.redis_link import Link
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, Joined
from tests.cluster.redis_servers import Proxy, RedisServer

LEASE = 0.9
"""Seconds: short, so that a loss is seen soon, and long enough for a busy machine."""


@pytest.fixture
def start_server(tmp_path):
    """Start a Redis server with options of its configuration file."""
    servers = []

    def start(*arguments, **options):
        servers.append(RedisServer(tmp_path, *arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def make_proxy():
    """Make ways to servers that can be held up."""
    proxies = []

    def make(server):
        proxies.append(Proxy(server.port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


@pytest.fixture
def proxy(make_proxy, server):
    return make_proxy(server)


@pytest.fixture
def join(request, start_server, make_proxy):
    """Join a node: `join("a")`, or elsewhere: `join("a", url)`; they leave after the test."""
    # The fixtures it does not use end after it: who leaves can still say so.
    members = []

    def join(node, url=None, lease=LEASE, **options):
        if url is None:
            url = f"redis://{request.getfixturevalue('server').address}"
        sign = "&" if "?" in url else "?"
        member = Joined(open_redis(f"{url}{sign}lease={round(lease * 1000)}ms", **options), node)
        members.append(member)
        return member

    yield join
    gevent.joinall([gevent.spawn(member.backend.stop) for member in members], timeout=SECONDS)


@pytest.fixture
def pair(join):
    """Two members that know each other."""
    one, two = join("one"), join("two")
    wait_until(lambda: one.receiver.members == {two.me}, SECONDS)
    return one, two


@pytest.fixture(autouse=True, scope="module")
def no_connection_left():
    """After the tests of a module no connection to Redis is open."""
    yield
    gc.collect()
    open_links = [
        item
        for item in gc.get_objects()
        if issubclass(type(item), Link) and item._connection._sock is not None
    ]
    assert open_links == []


class Program:
    """A member in another process."""

    def __init__(self, node, url):
        program = Path(__file__).with_name("member_program.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), node, url],
            env={**os.environ, "PYTHONPATH": str(program.parents[3])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.told = []
        self._reader = gevent.spawn(self._read)

    def _read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()
        self._reader.join(SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start_program(server):
    """Start a member in another process; it has joined when this returns."""
    programs = []

    def start(node):
        url = f"redis://{server.address}?lease={round(LEASE * 1000)}ms"
        programs.append(program := Program(node, url))
        wait_until(lambda: "joined" in [words[0] for words in program.told], SECONDS)
        return program

    yield start
    for program in programs:
        program.end()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return the files of a server that is `localhost`: the certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = [str(folder / name) for name in ("cert.pem", "key.pem")]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command.split(), *name, "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files
