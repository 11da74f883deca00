"""What is wrong when a node can't join: one line, and no password in it (§7.1)."""

import gevent
import gevent.socket
import pytest

from greenrelay.cluster.redis import open_redis
from greenrelay.errors import ClusterError
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, Recorder, new_member
from tests.cluster.redis_servers import free_port, need_redis

need_redis()


def refused(url):
    """Return why a node can't join."""
    backend, me = open_redis(url), new_member("one")
    with pytest.raises(ClusterError) as caught:
        backend.start(me, Recorder(me))
    backend.stop()
    text = str(caught.value)
    assert "\n" not in text
    assert "hidden" not in text
    return text


@pytest.fixture
def answer():
    """Listen on a port, and answer whatever is said there."""
    greenlets, sockets = [], []

    def serve(reply):
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sockets.append(listener)

        def run():
            while True:
                sock, _ = listener.accept()
                sockets.append(sock)
                if reply is not None:
                    sock.sendall(reply)

        greenlets.append(gevent.spawn(run))
        return listener.getsockname()[1]

    yield serve
    gevent.killall(greenlets)
    for sock in sockets:
        sock.close()


def test_a_wrong_password_is_told(start_server):
    server = start_server(requirepass="right")
    assert "password" in refused(f"redis://:hidden@{server.address}")


def test_a_missing_password_is_told(start_server):
    server = start_server(requirepass="right")
    assert "Authentication required" in refused(f"redis://{server.address}")


def test_a_needless_password_is_told(server):
    assert "without any password" in refused(f"redis://:hidden@{server.address}")


def test_a_right_password_joins(start_server, join):
    server = start_server(requirepass="r@ght")
    one = join("one", f"redis://:r%40ght@{server.address}")
    assert one.backend.claim("room", "proc@one/1") == "proc@one/1"


def test_an_unreachable_server_is_told():
    port = free_port()
    assert "refused" in refused(f"redis://:hidden@127.0.0.1:{port}")


def test_an_unknown_host_is_told():
    assert "nowhere.invalid" in refused("redis://:hidden@nowhere.invalid")


def test_a_database_that_does_not_exist_is_told(server):
    assert "DB index" in refused(f"redis://{server.address}/999")


def test_a_user_who_may_not_is_told(start_server):
    server = start_server(user=["web", "on", ">hidden", "~other:*", "&*", "+@all"])
    assert "permi" in refused(f"redis://web:hidden@{server.address}").lower()


def test_a_user_with_the_deployments_keys_and_channels_joins(start_server, join):
    user = ["web", "on", ">pw", "~greenrelay:default:*", "&greenrelay:default:*", "+@all"]
    server = start_server(user=user)
    one, two = (join(name, f"redis://web:pw@{server.address}") for name in ("one", "two"))
    assert one.backend.claim("room", "proc@one/1") == "proc@one/1"
    wait_until(lambda: one.receiver.members, SECONDS)
    one.backend.publish(two.me, b"x")
    wait_until(lambda: two.got_of(one) == [b"x"], SECONDS)


def test_what_is_no_redis_is_told(answer):
    assert refused(f"redis://:hidden@127.0.0.1:{answer(b'HTTP/1.1 400 Bad Request')}")


def test_a_server_that_says_nothing_is_told_in_time(answer, monkeypatch):
    monkeypatch.setattr("greenrelay.cluster.redis_link.CONNECT_SECONDS", 0.2)
    with gevent.Timeout(2):
        assert "127.0.0.1" in refused(f"redis://:hidden@127.0.0.1:{answer(None)}")


def test_a_server_that_is_no_cluster_is_told(server):
    assert "cluster support disabled" in refused(f"redis+cluster://{server.address}")


def test_a_cluster_that_is_not_made_yet_is_told(start_server):
    server = start_server(cluster_enabled="yes")
    assert "cluster" in refused(f"redis+cluster://{server.address}")


def test_a_server_of_a_cluster_needs_the_other_scheme(start_server):
    server = start_server(cluster_enabled="yes")
    assert "redis+cluster://" in refused(f"redis://{server.address}")


def test_a_start_that_failed_can_be_tried_again(start_server):
    server = start_server()
    server.stop()
    backend, me = open_redis(f"redis://{server.address}"), new_member("one")
    with pytest.raises(ClusterError):
        backend.start(me, Recorder(me))
    server.start()
    backend.start(me, Recorder(me))
    backend.stop()


def test_nothing_is_left_of_a_start_that_failed(server):
    refused(f"redis+cluster://{server.address}")
    wait_until(lambda: len(server.cli("client", "list")) == 1, SECONDS)
    assert server.cli("keys", "*") in ([], [""])
