"""A server that has no descriptors left waits for some, and says so in a line now and then (§8)."""

import contextlib
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from greenrelay.testing import wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
LIMIT = 40

COMPLAINT = re.compile(".*can't accept connections: .*Too many open files.*")

SERVER = """
import logging
import resource
import sys
from greenrelay.server import RelayServer

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

logging.basicConfig()
server = RelayServer(("127.0.0.1", 0), app, log=None)
server.start()
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path):
    """A server with few descriptors: its URL, and the file that has its standard error."""
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(LIMIT)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=file,
        )
    yield process.stdout.readline().decode().strip(), errors
    process.kill()
    process.wait()
    process.stdout.close()


def ask(client):
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return client.read_answer().body


def test_server_without_descriptors_says_so_once_a_second_and_recovers(served):
    """§8: nobody who is in is disturbed, and those who wait get in when others leave."""
    url, errors = served
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw.RawClient(url)) for _ in range(LIMIT * 3 // 2)]
        began = time.monotonic()
        wait_until(lambda: errors.read_text().count("\n") >= 2, SECONDS)
        assert ask(clients[0]) == b"ok"
        lines, elapsed = errors.read_text().splitlines(), time.monotonic() - began
        assert len(lines) <= elapsed + 2
        assert [each for each in lines if not COMPLAINT.fullmatch(each)] == []
        for client in clients[:LIMIT]:
            client.close()
        assert ask(clients[-1]) == b"ok"


def test_limit_of_this_process_is_above_the_servers():
    """Else the tests above would meet their own."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 4 * LIMIT
