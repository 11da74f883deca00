"""Taking a socket away from its server's file (§3.3, §10.3)."""

import pytest

from greenrelay.web.taking import RequestSocket, Taken, take_file


@pytest.fixture
def taken(pair):
    """The client's connection, taken."""
    taken = take_file(pair.file)
    yield taken
    taken.sock.close()


def test_what_was_read_ahead_is_kept(pair):
    """§3.3: the server has buffered it together with the head."""
    pair.client.sendall(b"the head\n" + b"early" * 1000)
    assert pair.file.readline() == b"the head\n"
    taken = take_file(pair.file)
    assert taken.early == b"early" * 1000
    taken.sock.close()


def test_what_the_server_has_not_read_yet_is_not_lost(pair):
    """§3.3"""
    pair.client.sendall(b"early" * 10_000)
    taken = take_file(pair.file)
    rest = taken.sock.recv(1 << 20)
    assert taken.early + rest == b"early" * 10_000
    taken.sock.close()


def test_taking_does_not_wait_for_a_silent_client(taken):
    assert taken == Taken(taken.sock, b"", must_wait=False, must_stop=False)
    with pytest.raises(BlockingIOError):
        taken.sock.recv(1)


def test_server_can_do_no_harm_any_more(pair, taken):
    """Its last read, and its close, meet a detached socket."""
    pair.server.close()
    pair.client.sendall(b"hello")
    assert taken.sock.recv(5) == b"hello"
    assert pair.file.closed


def test_close_of_a_taken_socket_reaches_the_client(pair, taken):
    taken.sock.close()
    assert pair.client.recv(1) == b""


def test_socket_of_no_server_is_nothing():
    """§3.2: what may be asked of it is answered, and it can't be taken."""
    none = RequestSocket()
    assert not any((none.can_take, none.is_upgraded, none.is_test_client, none.is_client_gone()))
    none.discard_body(1)
    none.end_connection()
    none.abandon()
    with pytest.raises(NotImplementedError):
        none.take("200 OK")
