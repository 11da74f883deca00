"""The directory of a deployment is its user's alone, or it is refused (§7.1)."""

import os
import re
import secrets

import gevent
import pytest

from greenrelay.cluster.local import LocalBackend
from greenrelay.cluster.localdirectory import Directory
from greenrelay.errors import ClusterError, ConfigurationError
from greenrelay.testing import wait_until
from tests.cluster.backends import Joined, Joiner

BASE = f"greenrelay-{os.geteuid()}"


def refusal(root, deployment="test"):
    """Return the one line with which it is refused."""
    with pytest.raises(ClusterError) as caught:
        Joined(LocalBackend(deployment, root=str(root)), "node")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_it_is_made_for_its_user_alone(tmp_path):
    directory = Directory("test", str(tmp_path))
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / BASE, tmp_path / BASE / "test")]
    directory.leave()
    assert modes == [0o700, 0o700]


@pytest.mark.parametrize("path", [BASE, f"{BASE}/test"])
@pytest.mark.parametrize("mode", [0o770, 0o701, 0o722])
def test_one_that_is_open_to_others_is_refused(tmp_path, path, mode):
    (tmp_path / BASE / "test").mkdir(parents=True)
    (tmp_path / BASE).chmod(0o700)
    (tmp_path / BASE / "test").chmod(0o700)
    (tmp_path / path).chmod(mode)
    assert re.search(rf"{path} is open to others \(mode .*\): chmod 700 it$", refusal(tmp_path))


@pytest.mark.parametrize("path", [BASE, f"{BASE}/test"])
def test_a_symbolic_link_is_refused(tmp_path, path):
    (tmp_path / "elsewhere" / "test").mkdir(parents=True, mode=0o700)
    (tmp_path / "elsewhere").chmod(0o700)
    if path != BASE:
        (tmp_path / BASE).mkdir(mode=0o700)
    (tmp_path / path).symlink_to(tmp_path / "elsewhere")
    assert f"{path} is a symbolic link or no directory: remove it" in refusal(tmp_path)


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / BASE).touch()
    assert "is a symbolic link or no directory: remove it" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("path", [BASE, f"{BASE}/test"])
def test_another_user_s_is_refused(tmp_path, path):
    (tmp_path / BASE).mkdir(mode=0o700)
    (tmp_path / BASE / "test").mkdir(mode=0o700)
    os.chown(tmp_path / path, 65534, 65534)
    assert f"{path} belongs to user 65534, and this is user 0: remove it" in refusal(tmp_path)


def test_a_temporary_directory_that_is_not_there_is_told(tmp_path):
    assert "No such file or directory" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "-x", ".hidden", "ä", "x" * 65])
def test_a_deployment_is_called_what_a_directory_can_be(name):
    with pytest.raises(ConfigurationError, match="a deployment can't be called"):
        LocalBackend(name)


def test_a_path_may_be_longer_than_a_socket_s(tmp_path):
    """A socket's path has at most 107 bytes."""
    root = tmp_path / ("long" * 50)
    root.mkdir()
    joiner = Joiner(lambda: LocalBackend(root=str(root)))
    one, two = joiner(2)
    assert (one.receiver.members, two.receiver.members) == ({two.me}, {one.me})
    joiner.stop_all()


def test_who_finds_it_being_taken_away_waits_for_its_end(tmp_path):
    joiner = Joiner(lambda: LocalBackend(root=str(tmp_path)))
    for _ in range(20):
        one = joiner()
        leaving = gevent.spawn(joiner.stop, one)
        two = Joined(LocalBackend(root=str(tmp_path)), f"node-{secrets.token_hex(4)}")
        leaving.join()
        two.backend.stop()
    assert list(tmp_path.iterdir()) == []


def test_members_meet_again_when_it_was_removed_under_them(tmp_path):
    """§7.2: else those who come later would be another cluster."""
    joiner = Joiner(lambda: LocalBackend(root=str(tmp_path), lease=0.2))
    one, two = joiner(2)
    before = {one.me, two.me}
    (tmp_path / BASE / "default").rename(tmp_path / "away")
    wait_until(lambda: one.me not in before and two.me not in before)
    three = joiner()
    assert three.receiver.members == {one.me, two.me}
    joiner.stop_all()
