"""Ending a connection whose client may still be sending (§8, §9)."""

import ssl

import gevent
import gevent.socket
import pytest

from greenrelay.serving.closing import await_client_close, linger, send_close_notify


@pytest.fixture
def pair():
    ours, client = gevent.socket.socketpair()
    with ours, client:
        yield ours, client


class TlsEnd:
    """A TLS socket whose peer's `close_notify` has not come.

    Args:
        error: raised by `unwrap()`.
    """

    def __init__(self, error):
        self.error = error
        self.timeout = 5.0
        self.timeouts = []

    def gettimeout(self):
        return self.timeout

    def settimeout(self, seconds):
        self.timeout = seconds

    def unwrap(self):
        self.timeouts.append(self.timeout)
        raise self.error


@pytest.mark.parametrize("error", [ssl.SSLWantReadError(), ssl.SSLWantWriteError(), ValueError()])
def test_close_notify_is_never_waited_for(error):
    sock = TlsEnd(error)
    send_close_notify(sock)
    assert sock.timeouts == [0.0]
    assert sock.timeout == 5.0


def test_a_plain_socket_has_no_close_notify(pair):
    send_close_notify(pair[0])
    pair[0].sendall(b"as before")
    assert pair[1].recv(99) == b"as before"


def test_lingering_drops_what_comes_until_the_client_has_closed(pair):
    ours, client = pair
    client.sendall(b"late")
    lingering = gevent.spawn(linger, ours)
    assert client.recv(1) == b""
    assert not lingering.ready()
    client.close()
    lingering.join(5)
    assert lingering.successful()


def test_what_a_client_still_sends_is_left_to_others(pair):
    """§10.4: a view's own library may read it from its duplicate."""
    ours, client = pair
    client.sendall(b"for the view")
    await_client_close(ours, 0.05)
    assert client.recv(1) == b""
    assert ours.recv(99) == b"for the view"


def test_a_client_that_has_closed_is_not_waited_for(pair):
    ours, client = pair
    client.close()
    with gevent.Timeout(2):
        await_client_close(ours, 60)
