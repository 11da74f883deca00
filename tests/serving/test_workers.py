"""What gunicorn is told for `greenrelay serve --workers N` (§10.2)."""

import pytest

pytest.importorskip("gunicorn")  # an extra's

from greenrelay.serving.relayworker import RelayWorker
from greenrelay.serving.workers import Task, Workers
from greenrelay.wire import KEEP_ALIVE_SECONDS


@pytest.fixture
def settings():
    none = dict.fromkeys(("cluster", "node", "routers", "certfile", "keyfile"))
    task = Task(
        app="site_app:app", url="http://127.0.0.1:8000", fd=3, workers=2,
        drain_seconds=40, log_level="info", **none,
    )  # fmt: skip
    return Workers(task).cfg


def test_its_workers_run_our_server(settings):
    assert settings.worker_class is RelayWorker


def test_its_workers_keep_clients_as_one_worker_does(settings):
    """§8: and have no bound of their own."""
    assert settings.keepalive == KEEP_ALIVE_SECONDS
    assert settings.worker_connections > 1_000_000


def test_no_worker_is_killed_while_it_may_drain(settings):
    """§9"""
    assert min(settings.graceful_timeout, settings.timeout) > 40
