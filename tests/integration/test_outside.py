"""Programs that are no node reach a user's tabs (§7.8): those that the how-to prints, as printed.

The app is served by two workers, in a cluster over Unix sockets or over a real Redis.
"""

import json
import os
import re
import secrets
import subprocess
import sys

import gevent
import pytest

from greenrelay.testing import EventStreamClient, wait_until
from tests.cluster.redis_servers import RedisServer, need_redis
from tests.integration import printed, raw
from tests.integration.commands import Served
from tests.integration.programs import ROOT, SECONDS, Program

need_redis()


class Celery(Program):
    """A Celery worker with two processes."""

    LISTENING = re.compile(r"(celery)@\S+ ready\.")

    def stop(self):
        """Ask it to end, and its processes with it."""
        self.signal(15)
        self.wait()


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["local", "redis"])
def folder(request, tmp_path, monkeypatch, redis):
    """A folder with the programs; the environment says which cluster is meant."""
    printed.write_programs("howto.md", tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    name = secrets.token_hex(4)
    url = (
        "local:shop" if request.param == "local" else f"redis://{redis.address}/0?deployment={name}"
    )
    monkeypatch.setenv("GREENRELAY_CLUSTER", url)
    monkeypatch.setenv("BROKER_URL", f"redis://{redis.address}/1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def serve(folder):
    """Serve an app of the folder with two workers."""
    served = []

    def serve(app):
        served.append(Served(folder, app, "--port", "0", "--workers", "2", "--drain-seconds", "1"))
        served[-1].url  # noqa: B018  # waits
        return served[-1]

    yield serve
    for program in served:
        program.signal(15)
        assert program.wait() == 0


def run(folder, *arguments):
    """Return what a program prints."""
    done = gevent.subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def post(served, path, form=""):
    """Return the answer to a form."""
    lines = [b"Content-Type: application/x-www-form-urlencoded", b"Connection: close"]
    lines.append(f"Content-Length: {len(form)}".encode())
    with raw.RawClient(served.url) as client:
        client.send(raw.post(path, *lines) + form.encode())
        return client.read_answer()


def log_in(served, user):
    """Return an open tab of a user, who is in the user's group on all nodes."""
    cookie = post(served, "/login", f"user={user}").headers["Set-Cookie"].partition(";")[0]
    return EventStreamClient(served.url + "/notices", headers={"Cookie": cookie})


@pytest.fixture
def tabs(serve):
    """Three tabs of user 7, on whichever worker, and one of user 8."""
    served = serve("notices:app")
    tabs = [log_in(served, user) for user in (7, 7, 7, 8)]

    def seen(user):
        return {json.loads(post(served, f"/orders/{user}").body)["seen"] for _ in range(8)}

    wait_until(lambda: (seen(7), seen(8)) == ({3}, {1}), SECONDS)
    yield tabs
    for tab in tabs:
        tab.close()


def news(tab, count):
    """Return the next notices of a tab, without those by which we found out that it is there."""
    found = []
    while len(found) < count:
        notice = json.loads(tab.receive(timeout=SECONDS).data)
        if notice != {"text": "Your order is on its way."}:
            found.append(notice)
    return found


def test_a_celery_task_tells_all_tabs_of_a_user(folder, tabs):
    """§7.8"""
    (folder / "worker").mkdir()
    arguments = ("--workdir", str(folder), "-A", "tasks", "worker", "--loglevel", "INFO")
    worker = Celery(folder / "worker", ["celery", *arguments])
    try:
        assert worker.url
        run(folder, "-c", "import tasks; tasks.make_report.delay(7)")
        told = [{"report": percent} for percent in range(0, 100, 25)]
        told.append({"report": "ready", "url": "/reports/7.csv"})
        assert [news(tab, 5) for tab in tabs[:3]] == [told] * 3
    finally:
        worker.stop()


def test_many_threads_share_a_client(folder, tabs):
    """§7.8"""
    assert run(folder, "remind.py") == "4 screens; 98 users are away\n"
    assert [news(tab, 1) for tab in tabs] == [[{"text": "Your trial ends tomorrow."}]] * 4


def test_a_program_on_asyncio_calls_it_in_threads(folder, tabs):
    """§7.8"""
    run(folder, "watch.py")
    told = [{"price": price} for price in (17, 18, 16)]
    assert [news(tab, 3) for tab in tabs[:3]] == [told] * 3


def test_a_shell_sends_to_a_process(folder, serve):
    """§7.8"""
    served = serve("news:app")
    with EventStreamClient(served.url + "/news") as reader:
        command = printed.find_command("howto.md", "greenrelay send ")
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environment, check=True, timeout=SECONDS
        )
        assert reader.receive(timeout=SECONDS).data == "rain again"
