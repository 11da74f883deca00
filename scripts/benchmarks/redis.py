"""A redis-server of the bench's own, for contenders that talk through one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.suite import MeasurementFailed

START_SECONDS = 10.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextlib.contextmanager
def serving_redis(bench: Workbench, core: int | frozenset[int]) -> Iterator[tuple[Child, str]]:
    """Run a redis-server that keeps nothing; give it and its URL.

    Raises:
        MeasurementFailed: it is not installed, or does not begin to listen.
    """
    program = shutil.which("redis-server", path=PATH)
    if program is None:
        raise MeasurementFailed("redis-server is not installed: apt-get install redis-server")
    with tempfile.TemporaryDirectory(dir=bench.cache) as folder:
        port = find_free_port()
        options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder)
        with Child([program, *options], core, bench.logs / "redis.log") as server:
            wait_for(port)
            yield server, f"redis://127.0.0.1:{port}/0"


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise MeasurementFailed(f"redis-server does not listen after {START_SECONDS:.0f} s")
