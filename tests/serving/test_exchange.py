"""One request: its body's fault, and whether the answer is still the app's (§8, §10.4)."""

import io

import gevent.socket
import pytest

from greenrelay.serving.body import MAX_DISCARD_BYTES, RequestBody
from greenrelay.serving.bypass import Bypass
from greenrelay.serving.exchange import Exchange
from greenrelay.web.taking import BodyFault


@pytest.fixture
def pair():
    """Return both ends of a TCP connection: the server's, and its client's."""
    with gevent.socket.create_server(("127.0.0.1", 0)) as listener:
        client = gevent.socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with ours, client:
            yield ours, client


def body_of(data, length, pair, is_awaited=False):
    return RequestBody(io.BufferedReader(io.BytesIO(data)), pair[0], length, 0, is_awaited)


def test_a_request_whose_head_is_not_read_yet_has_nothing():
    exchange = Exchange()
    assert exchange.fault is None
    assert not exchange.ends_connection()
    assert not exchange.is_bypassed()


def test_the_fault_of_a_body_is_the_exchanges(pair):
    exchange = Exchange(body_of(b"none\r\n", None, pair))
    assert exchange.fault is None
    with pytest.raises(BodyFault):
        exchange.body.read()
    assert exchange.fault.status == "400 Bad Request"
    assert exchange.ends_connection()


@pytest.mark.parametrize(
    ("length", "ends"), [(0, False), (9, False), (MAX_DISCARD_BYTES + 1, True)]
)
def test_a_body_that_is_too_long_to_be_read_ends_the_connection(pair, length, ends):
    assert Exchange(body_of(b"", length, pair)).ends_connection() == ends


def test_a_client_is_not_asked_for_a_body_once_its_answer_has_begun(pair):
    """§8: a 100 behind the answer would be taken for the next one."""
    exchange = Exchange(body_of(b"", 5, pair, is_awaited=True))
    assert exchange.ends_connection()
    exchange.give_up_body()
    with pytest.raises(BodyFault):
        exchange.body.read()
    pair[0].close()
    assert pair[1].recv(100) == b""


def test_an_upgrade_request_has_no_body_to_give_up():
    exchange = Exchange()
    exchange.give_up_body()
    assert not exchange.ends_connection()


def test_bytes_that_somebody_else_sends_are_a_bypass(pair):
    ours, _ = pair
    ours.sendall(b"the answer before")
    exchange = Exchange(bypass=Bypass(ours))
    assert not exchange.is_bypassed()
    with ours.dup() as duplicate:
        duplicate.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert exchange.is_bypassed()


def test_nobody_can_tell_of_a_socket_that_is_no_tcp():
    ours, other = gevent.socket.socketpair()
    with ours, other:
        bypass = Bypass(ours)
        ours.sendall(b"x")
        assert not bypass.is_used()


def test_an_answer_is_the_apps_until_it_is_dropped():
    exchange = Exchange()
    assert not exchange.drops_answer
    exchange.drop_answer()
    assert exchange.drops_answer
