"""What a client still gets when a connection ends, and how its socket is closed (§3.5, §3.6)."""

import socket

import pytest

from greenrelay import process
from tests.integration import raw
from tests.integration.apps import relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

MESSAGES = [f"{number:06}" * 1000 for number in range(100)]


@pytest.fixture(params=["plain", "tls"])
def security(request):
    """Return the arguments of a server and of its client, without TLS and with it."""
    if request.param == "plain":
        return {}, {}
    return request.getfixturevalue("tls"), {"ssl_context": request.getfixturevalue("trust")}


@pytest.fixture
def connect(node, any_server, security, target):
    """Return an open client of the target; it reads nothing of its own accord."""
    ours, theirs = security
    clients = []

    def connect(**fields):
        server = any_server(relay_app(node, target, max_backlog=0, **fields), **ours)
        client = raw.RawClient(server.url, receive_buffer=4096, **theirs)
        clients.append(client)
        if theirs:
            client.socket.suppress_ragged_eofs = False  # TLS has to say that it is the end
        client.upgrade()
        return client

    yield connect
    for client in clients:
        client.close()


def read_all(client):
    """Return the texts of all messages up to the close frame, and its code."""
    texts = []
    while (received := client.read_frame()) is not None:
        opcode, payload = received
        if opcode == raw.CLOSE:
            return texts, int.from_bytes(payload[:2], "big")
        texts.append(payload.decode())
    return texts, None


def test_client_that_closes_first_gets_everything_and_our_close(connect, target):
    """§3.6: whatever it sends behind its own close frame."""
    client = connect()
    for text in MESSAGES:
        send_frame(target.client, text)
    client.send(raw.close(1000), raw.frame(raw.PING, b"late"))
    target.wait_for("ws.leave")
    client.send(raw.text("later"))
    assert read_all(client) == (MESSAGES, 1000)
    client.send(raw.text("latest"))
    assert client.file.read() == b""  # the end, and no reset


def test_last_bytes_that_the_kernel_holds_are_not_reset(connect, target):
    """§3.6: nothing is left with us, everything with the kernel."""
    client = connect()
    send_frame(target.client, "x" * 10_000)
    client.send(raw.close(1000) + raw.frame(raw.PING, b"late") * 100)
    target.wait_for("ws.leave")
    client.send(raw.text("later"))
    assert read_all(client) == (["x" * 10_000], 1000)
    assert client.file.read() == b""


@pytest.mark.parametrize("reply", [raw.close(1000), b"\x00\x00"], ids=["close", "nonsense"])
def test_our_close_arrives_whatever_the_client_answers_too_early(connect, target, reply):
    """§3.5: also an answer that has crossed it."""
    client = connect()
    for text in MESSAGES:
        send_frame(target.client, text)
    process.send(target.client, "ws.close", {"code": 4000})
    client.send(reply, raw.frame(raw.PING, b"late"))
    target.wait_for("ws.leave")
    client.send(raw.text("later"))
    assert read_all(client) == (MESSAGES, 4000)
    assert client.file.read() == b""


def test_client_that_shuts_its_side_down_behind_its_close_gets_the_rest(node, any_server, target):
    """§3.6: it may listen still."""
    server = any_server(relay_app(node, target, max_backlog=0))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        for text in MESSAGES:
            send_frame(target.client, text)
        client.send(raw.close(1001))
        client.socket.shutdown(socket.SHUT_WR)
        target.wait_for("ws.leave")
        assert read_all(client) == (MESSAGES, 1001)
