"""Sockets of any make, as a transport takes them."""

import socket

import gevent.socket
import pytest

from greenrelay.relay.sockets import PlainSocket, held_by_kernel, remote_address, stream_socket


@pytest.fixture(params=[socket, gevent.socket], ids=["standard library", "gevent"])
def ends(request):
    """Our end as a transport takes it, the object that it was made of, and the peer."""
    given, peer = request.param.socketpair()
    ours = stream_socket(given)
    yield ours, given, peer
    ours.close()
    peer.close()


def test_socket_is_taken_over_and_never_waits(ends):
    ours, given, _ = ends
    assert given.fileno() == -1
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_plain_socket_keeps_nothing_to_itself(ends):
    ours, _, peer = ends
    assert (ours.begun, ours.pending) == (0, None)
    peer.send(b"hello")
    assert ours.recv(10) == b"hello"


def test_plain_socket_is_taken_as_it_is(ends):
    ours, _, _ = ends
    assert isinstance(ours, PlainSocket)
    assert stream_socket(ours) is ours


def test_closed_socket_has_no_address_and_holds_nothing(ends):
    ours, _, _ = ends
    ours.close()
    assert (remote_address(ours), held_by_kernel(ours)) == ("", 0)
