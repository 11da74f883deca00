"""Real Redis servers, each on a port and in a folder of its own, ended after the test."""

import os
import shutil
import signal

import gevent.socket
import pytest
from gevent import subprocess
from gevent.event import Event

from greenrelay.testing import wait_until

SECONDS = 10
"""How long a server may take on a busy machine."""

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
REDIS = shutil.which("redis-server", path=PATH)


def need_redis():
    """Skip the module where there is no Redis; a CI run must have it."""
    if REDIS is None and os.environ.get("CI") != "true":
        pytest.skip(
            "redis-server is not installed: apt-get install redis-server", allow_module_level=True
        )


def free_port():
    with gevent.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A server that is started, stopped and started again on one port.

    Args:
        folder: what it writes goes there.
        options: as in its configuration file, `_` for `-`.
        arguments: of its command line, before the options.
        is_plain: without the options that all others have.
    """

    def __init__(self, folder, *arguments, is_plain=False, **options):
        self.port = free_port()
        self._folder = folder / str(self.port)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._password = options.get("requirepass")
        self._arguments = list(arguments)
        if options.get("cluster_enabled") == "yes":
            options["cluster_port"] = self.cluster_port = free_port()
        everyday = {"save": "", "appendonly": "no", "bind": "127.0.0.1", "dir": str(self._folder)}
        for name, value in ({} if is_plain else {**everyday, **options}).items():
            words = value if isinstance(value, list) else [value]
            self._arguments += [f"--{name.replace('_', '-')}", *map(str, words)]
        self.process = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        log = (self._folder / "log").open("ab")
        self.process = subprocess.Popen(
            [REDIS, *self._arguments, *self._port_arguments], stdout=log, stderr=log
        )
        log.close()
        wait_until(self._answers, SECONDS)

    @property
    def _port_arguments(self):
        tls = ["--port", "0", "--tls-port", str(self.port)]
        return tls if "--tls-cert-file" in self._arguments else ["--port", str(self.port)]

    def _answers(self):
        assert self.process.poll() is None, (self._folder / "log").read_text()
        with gevent.socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def cli(self, *words):
        """Return the lines that a command gives."""
        login = ["--pass", self._password, "--no-auth-warning"] if self._password else []
        command = ["redis-cli", *login, "-p", str(self.port), *map(str, words)]
        return subprocess.check_output(command, text=True).splitlines()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """End it at once; what it knew is gone."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()


class Proxy:
    """A way to a server that can be cut, and held up, without either side knowing."""

    def __init__(self, port):
        self._to = ("127.0.0.1", port)
        self._listener = gevent.socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self.delay = 0.0
        self.first_delay = 0.0
        """Of the first connection, a node's for commands, instead."""
        self._open = Event()
        self._open.set()
        self._greenlets = [gevent.spawn(self._accept)]
        self._sockets = [self._listener]

    def hold(self):
        """Let nothing through, and close nothing."""
        self._open.clear()

    def go_on(self):
        self._open.set()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            try:
                far = gevent.socket.create_connection(self._to)
            except OSError:
                near.close()  # as the server is away
                continue
            is_first = len(self._sockets) == 1
            self._sockets += [near, far]
            self._greenlets += [
                gevent.spawn(self._copy, near, far, is_first),
                gevent.spawn(self._copy, far, near, is_first),
            ]

    def _copy(self, source, sink, is_first):
        try:
            while data := source.recv(65536):
                gevent.sleep(self.first_delay if is_first else self.delay)
                self._open.wait()
                sink.sendall(data)
        except OSError:
            pass  # either side has gone, and the other is told
        finally:
            source.close()
            sink.close()

    def stop(self):
        gevent.killall(self._greenlets)
        for sock in self._sockets:
            sock.close()
