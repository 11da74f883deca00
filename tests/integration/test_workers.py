"""Several workers are one cluster: under `serve --workers` and under gunicorn (§7.1, §10.2)."""

import os
import signal
from pathlib import Path

import pytest

from greenrelay.testing import wait_until
from tests.integration import clustered
from tests.integration.commands import Served
from tests.integration.gunicorns import GEVENT, Gunicorn
from tests.integration.programs import SECONDS

WORKERS = ("--workers", "2")


@pytest.fixture
def start(tmp_path):
    """Start a server of the app; where its workers meet is the test's own."""
    (tmp_path / "site_app.py").write_text(clustered.APP)
    (tmp_path / "tmp").mkdir()
    started = []

    def run(kind, *arguments, **environment):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(tmp_path / "tmp"))
            for name, value in environment.items():
                patch.setenv(name, value)
            started.append(kind(tmp_path, *arguments, "site_app:app"))
        return started[-1]

    yield run
    for served in started:
        served.kill()


def serve(folder, *arguments):
    return Served(folder, "--port", "0", *arguments)


def gunicorn(folder, *arguments):
    return Gunicorn(folder, *GEVENT, *arguments)


def preloaded(folder, *arguments):
    return gunicorn(folder, "--preload", *arguments)


def deployments(tmp_path):
    return [path.name for path in Path(tmp_path, "tmp").glob("greenrelay-*/*")]


@pytest.mark.parametrize("kind", [serve, gunicorn, preloaded])
def test_clients_of_two_workers_are_in_one_room(start, kind):
    """§7.1, §7.6"""
    served = start(kind, *WORKERS)
    one, two = clustered.join_on_different_workers(served).values()
    one.send("hello")
    assert (one.receive(), two.receive()) == ("hello", "hello")
    two.send("and back")
    assert one.receive() == "and back"
    one.close()
    two.close()


@pytest.mark.parametrize("kind", [serve, gunicorn])
def test_a_stop_leaves_nothing_behind(start, kind, tmp_path):
    """§7.9, §9"""
    served = start(kind, *WORKERS)
    for client in clustered.join_on_different_workers(served).values():
        client.close()
    served.signal(signal.SIGTERM)
    assert served.wait() == 0
    assert deployments(tmp_path) == []
    assert "Traceback" not in served.text


def test_workers_that_are_joined_are_told_nothing(start):
    """§10.6"""
    served = start(gunicorn, *WORKERS)
    for client in clustered.join_on_different_workers(served).values():
        client.close()
    assert "this server has several workers" not in served.text


def test_no_cluster_can_be_chosen_too(start, tmp_path):
    """§10.6: and is told."""
    served = start(gunicorn, *WORKERS, GREENRELAY_CLUSTER="")
    wait_until(lambda: "this server has several workers" in served.text, SECONDS)
    assert deployments(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_replaced_joins_again(start, number):
    """§7.2"""
    served = start(gunicorn, *WORKERS)
    clustered.answers(served, "/", 2)
    os.kill(clustered.worker_pids(served)[0], number)
    wait_until(lambda: len(clustered.worker_pids(served)) == 3, SECONDS)
    one, two = clustered.join_on_different_workers(served).values()
    one.send("hello")
    assert two.receive() == "hello"
    one.close()
    two.close()


def test_two_gunicorns_do_not_meet(start, tmp_path):
    start(gunicorn, *WORKERS).url  # noqa: B018  # waits
    (tmp_path / "output").rename(tmp_path / "first")
    start(gunicorn, *WORKERS).url  # noqa: B018  # waits
    wait_until(lambda: len(deployments(tmp_path)) == 2, SECONDS)


def test_two_gunicorns_meet_where_they_are_told_to(start, tmp_path):
    """§7.1"""
    one = start(gunicorn, GREENRELAY_CLUSTER="local:both")
    where = one.get("/where").body
    one.output = (tmp_path / "output").rename(tmp_path / "first")
    two = start(gunicorn, GREENRELAY_CLUSTER="local:both")
    assert two.get("/where").body == where


def test_workers_may_be_given_one_name(start):
    """§1.1: each has its own."""
    served = start(serve, *WORKERS, "--node", "web")
    names = {answer.split()[1] for answer in clustered.answers(served, "/", 2)}
    assert names == {"web-1", "web-2"}


def test_one_worker_joins_what_it_is_told_to(start, tmp_path):
    """§7.1"""
    served = start(serve, "--cluster", "local:mine")
    served.url  # noqa: B018  # waits
    assert deployments(tmp_path) == ["mine"]
    served.signal(signal.SIGTERM)
    assert served.wait() == 0
    assert deployments(tmp_path) == []


def test_one_worker_joins_nothing_by_itself(start, tmp_path):
    """§7.1"""
    start(serve).url  # noqa: B018  # waits
    assert deployments(tmp_path) == []


@pytest.mark.parametrize("workers", [(), WORKERS], ids=["one worker", "two workers"])
@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("locl:", "a cluster's URL begins with one of local:"),
        ("local:mine?lese=1s", "unknown option 'lese'; did you mean 'lease'"),
    ],
)
def test_a_wrong_cluster_is_one_line(start, workers, url, fault):
    """§7.1"""
    served = start(serve, *workers, "--cluster", url)
    assert served.wait() == 2
    assert fault in served.text
    assert len(served.text.splitlines()) == 1


@pytest.mark.parametrize("workers", [(), WORKERS], ids=["one worker", "two workers"])
def test_a_cluster_that_can_not_be_joined_ends_it(start, tmp_path, workers):
    """§7.1"""
    base = tmp_path / "tmp" / f"greenrelay-{os.geteuid()}"
    base.mkdir()
    base.chmod(0o755)
    served = start(serve, *workers, "--cluster", "local:")
    assert served.wait() == 2
    assert "can't join the cluster: " in served.text
    assert "is open to others" in served.text
    assert "Traceback" not in served.text


def test_workers_that_can_not_be_joined_serve_alone_and_say_so(start, tmp_path):
    """§10.6: nobody has asked for a cluster."""
    base = tmp_path / "tmp" / f"greenrelay-{os.geteuid()}"
    base.mkdir()
    base.chmod(0o755)
    served = start(gunicorn, *WORKERS)
    wait_until(lambda: "this server has several workers" in served.text, SECONDS)
    assert "can't join the workers: " in served.text
    assert served.get("/").status == 200
