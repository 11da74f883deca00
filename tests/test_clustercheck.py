"""What `greenrelay doctor` says of a cluster (§10.2), in words for who has never had one."""

import logging
import os
import socket
import tempfile

import pytest

from greenrelay.cluster.joining import join, leave
from greenrelay.clustercheck import check_cluster, check_versions, is_private
from greenrelay.processes.node import Node
from greenrelay.web.middleware import RelayMiddleware
from tests.cluster.redis_servers import RedisServer, need_redis


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where `local:` meets."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def find(url):
    """Return what is found, as (is it serious, what)."""
    app = RelayMiddleware(lambda environ, start_response: [], cluster=url)
    return [(finding.is_serious, finding.what) for finding in check_cluster(app)]


def test_nothing_is_found_where_nothing_is_wrong(folder):
    assert find("local:") == []
    assert list(folder.iterdir()) == []


def test_no_cluster_is_no_finding():
    assert find(None) == []


def test_several_workers_that_were_told_not_to_join(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    ((is_serious, what),) = find("")
    assert is_serious
    assert what.startswith("GREENRELAY_CLUSTER is empty, so workers do not know each other")


def test_a_url_of_the_environment_that_names_none(monkeypatch):
    monkeypatch.setattr("greenrelay.clustercheck.chosen_url", lambda middleware: "locl:x")
    ((is_serious, what),) = find(None)
    assert is_serious
    assert "a cluster's URL begins with one of local:" in what


def test_a_service_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ((is_serious, what),) = find(f"redis://:hunter2@127.0.0.1:{port}/0?secret={'x' * 40}")
    assert is_serious
    assert what.startswith("a server would not start, as it can't join the cluster: ")
    assert "Connection refused" in what
    assert "hunter2" not in what


def test_a_folder_that_is_open_to_others(folder):
    base = folder / f"greenrelay-{os.geteuid()}"
    base.mkdir()
    base.chmod(0o755)
    ((is_serious, what),) = find("local:")
    assert is_serious
    assert "is open to others" in what


def test_another_secret_than_the_others_have(caplog):
    caplog.set_level(logging.CRITICAL)
    member = Node("web1")
    join(member, f"local:?secret={'a' * 40}")
    found = find(f"local:?secret={'b' * 40}")
    leave(member)
    assert found == [(True, "what node web1 says in the cluster is not understood")]


def test_a_secret_that_can_be_guessed():
    assert find("local:?secret=hunter2") == [
        (False, "the cluster's secret has 7 characters: it can be guessed")
    ]


def test_a_redis_where_nothing_is_signed(tmp_path):
    need_redis()
    server = RedisServer(tmp_path)
    try:
        ((is_serious, what),) = find(f"redis://{server.address}")
    finally:
        server.stop()
    assert not is_serious
    assert what.startswith("nodes do not sign what they tell each other")


def test_a_library_that_is_too_old(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.9")
    whats = [finding.what for finding in check_versions("redis://host")]
    assert "there is redis 0.9, and the cluster needs 5.0.1 or newer" in whats
    assert len([finding.what for finding in check_versions("local:")]) == 1


@pytest.mark.parametrize(
    ("root", "folder", "answer"),
    [
        ("/tmp/systemd-private-1f-app.service-x/tmp", "/tmp", True),
        ("/tmp/systemd-private-1f-app.service-x/tmp", "/tmp/mine", True),
        ("/tmp/systemd-private-1f-app.service-x/tmp", "/srv/tmp", False),
        ("/", "/tmp", False),
    ],
)
def test_a_temporary_folder_of_a_service_is_recognised(tmp_path, root, folder, answer):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 {root} /tmp rw,noatime master:1 - ext4 /dev/root rw\n")
    assert is_private(folder, str(mounts)) is answer
