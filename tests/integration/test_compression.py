"""permessage-deflate over a real server, with an independent client (§3.9, RFC 7692)."""

import contextlib
import gc
import random
import tracemalloc
import zlib

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.uri import parse_uri

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

OFFER = "permessage-deflate; client_max_window_bits"
RSV1 = 0x40
LINE = "a line that is there again and again, "


class Client(raw.RawClient):
    """The `websockets` package's client, which offers compression."""

    def __init__(self, url, **parameters):
        super().__init__(url)
        factory = ClientPerMessageDeflateFactory(**parameters)
        self.protocol = ClientProtocol(parse_uri("ws://example.org/ws"), extensions=[factory])
        self.protocol.send_request(self.protocol.connect())
        self.received = []
        self.wait(lambda: self.received)
        assert self.protocol.handshake_exc is None

    def wait(self, condition):
        """Read until the condition is true."""
        self.send(*self.protocol.data_to_send())
        while not condition():
            self.protocol.receive_data(self.socket.recv(1 << 16))
            self.received += self.protocol.events_received()

    @property
    def extensions(self):
        return self.protocol.extensions

    def receive(self):
        """Return the payload of the next frame, inflated."""
        self.received = [event for event in self.received if isinstance(event, Frame)]
        self.wait(lambda: any(isinstance(event, Frame) for event in self.received))
        return bytes(self.received.pop(0).data)


def compressed(payload, opcode=raw.TEXT, first=0x80 | RSV1):
    """Return a client's compressed frame."""
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
    return raw.frame(opcode, data[:-4], first=first)


@pytest.fixture
def server(node, relay_server):
    """Serve an echo with compression."""
    return relay_server(relay_app(node, echo, compression=True, max_message_size=100_000))


# -- agreeing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compression", "offer", "answer"),
    [
        pytest.param(False, OFFER, None, id="off"),
        pytest.param(True, None, None, id="not offered"),
        pytest.param(True, "permessage-deflate; unknown", None, id="declined"),
        pytest.param(
            True,
            f"{OFFER}; server_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10",
            id="agreed",
        ),
    ],
)
def test_101_says_what_was_agreed_on(node, relay_server, compression, offer, answer):
    """§3.9: only where compression is on, and offered."""
    server = relay_server(relay_app(node, echo, compression=compression))
    with raw.RawClient(server.url) as client:
        headers = client.upgrade(sec_websocket_extensions=offer).headers
        assert headers.get("Sec-WebSocket-Extensions") == answer


# -- there and back ------------------------------------------------------------


@pytest.mark.parametrize("bits", [9, 15])
@pytest.mark.parametrize("size", [0, 1, 63, 1000, 90_000])
def test_independent_client_gets_its_messages_back(server, bits, size):
    """§3.9"""
    with Client(server.url, server_max_window_bits=bits) as client:
        assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
        payload = (LINE * 3000)[:size].encode()
        client.protocol.send_text(payload)
        assert client.receive() == payload
        client.protocol.send_binary(payload[::-1])
        assert client.receive() == payload[::-1]


def test_fragments_are_one_compressed_message(server):
    """§3.9, RFC 7692 §6.1: compressed as a whole, and a ping between."""
    with Client(server.url) as client:
        client.protocol.send_text(b"one, ", fin=False)
        client.protocol.send_ping(b"?")
        client.protocol.send_continuation(b"two, ", fin=False)
        client.protocol.send_continuation(b"three", fin=True)
        assert [client.receive(), client.receive()] == [b"?", b"one, two, three"]


def test_message_in_single_bytes_is_inflated(server):
    """§3.9"""
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(*(bytes([byte]) for byte in compressed(LINE.encode())))
        assert client.read_frame() == (raw.TEXT, LINE.encode())


def test_client_may_send_uncompressed_as_well(server):
    """RFC 7692 §6.1: each message says for itself."""
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(raw.text("plain") + compressed(b"packed") + raw.text("plain again"))
        received = [client.read_frame()[1] for _ in range(3)]
    assert received == [b"plain", b"packed", b"plain again"]


# -- what is refused -----------------------------------------------------------

NOISE = random.Random(7).randbytes(120_000)
FAULTS = [
    pytest.param(None, compressed(b"hello"), 1002, id="not agreed on"),
    pytest.param(OFFER, raw.frame(raw.PING, b"", first=0x80 | RSV1), 1002, id="ping"),
    pytest.param(OFFER, raw.frame(raw.CLOSE, b"", first=0x80 | RSV1), 1002, id="close"),
    pytest.param(OFFER, compressed(b"x", 0), 1002, id="stray continuation"),
    pytest.param(
        OFFER, compressed(b"x", first=RSV1) + compressed(b"x", 0), 1002, id="continuation"
    ),
    pytest.param(OFFER, raw.frame(raw.TEXT, b"", first=0xE0), 1002, id="RSV2 as well"),
    pytest.param(
        OFFER, raw.frame(raw.BINARY, b"\xff" * 9, first=0x80 | RSV1), 1007, id="not deflated"
    ),
    pytest.param(OFFER, compressed(b"ok, then \xff"), 1007, id="no UTF-8"),
    pytest.param(OFFER, compressed(b"\xe2\x82"), 1007, id="half a character"),
    pytest.param(OFFER, compressed(b"\0" * 100_001, raw.BINARY), 1009, id="one byte too big"),
    pytest.param(OFFER, compressed(b"\0" * 50_000_000, raw.BINARY), 1009, id="bomb"),
    pytest.param(OFFER, compressed(NOISE, raw.BINARY), 1009, id="too big on the wire"),
]


@pytest.mark.parametrize(("offer", "data", "code"), FAULTS)
def test_fault_in_a_compressed_message_closes(server, offer, data, code):
    """§3.9"""
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=offer)
        client.send(data)
        assert client.read_close()[0] == code


def test_message_of_exactly_the_limit_passes(server):
    """§8"""
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(compressed(NOISE[:100_000], raw.BINARY))
        assert len(client.read_frame()[1]) >= 100_000


# -- broadcasts ----------------------------------------------------------------


def test_broadcast_is_the_same_bytes_for_all_who_compress(node, relay_server):
    """§3.9: one frame; and its text for a client beside them that does not."""
    target = Recorder()
    server = relay_server(relay_app(node, node.spawn(target), compression=True))
    clients = [raw.RawClient(server.url) for _ in range(4)]
    for client in clients:
        client.upgrade(sec_websocket_extensions=None if client is clients[-1] else OFFER)
    wait_until(lambda: len(target.payloads("ws.join")) == 4)
    pids = [join["client_pid"] for join in target.payloads("ws.join")]
    payload = {"type": "text", "data": LINE * 20}
    assert process.broadcast(pids, "ws.send", payload) == 4
    *packed, plain = [client.read_frame()[1] for client in clients]
    assert len(set(packed)) == 1
    assert len(packed[0]) < 100 < len(plain)
    for client in clients:
        client.close()


def test_compression_may_be_switched_off_on_the_way(node, relay_server):
    """§3.6"""
    target = Recorder()
    server = relay_server(relay_app(node, target, compression=True))
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        send_frame(target.client, LINE * 20)
        assert client.read_frame()[1] != (LINE * 20).encode()
        process.send(target.client, "ws.control", {"compression": False})
        send_frame(target.client, LINE * 20)
        assert client.read_frame()[1] == (LINE * 20).encode()


def test_idle_connection_keeps_no_window(node, relay_server):
    """§3.9: zlib's are 300 KiB for both directions."""
    server = relay_server(relay_app(node, node.spawn(echo), compression=True))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw.RawClient(server.url)) for _ in range(50)]
        tracemalloc.start()
        for client in clients:
            client.upgrade(sec_websocket_extensions=OFFER)
            client.send(compressed(LINE.encode() * 50))
            assert client.read_frame()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert held / 50 < 30_000


# -- with frames made by hand ---------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "offer", "agreed"),
    [
        pytest.param({"compression": True}, OFFER, True, id="on"),
        pytest.param({}, OFFER, False, id="off"),
        pytest.param({"compression": True}, None, False, id="not offered"),
        pytest.param({"compression": True}, "x-other", False, id="another offered"),
    ],
)
def test_compression_is_agreed_on_when_it_is_on(node, relay_server, target, fields, offer, agreed):
    """§3.9: and off by default."""
    server = relay_server(relay_app(node, target, **fields))
    with raw.RawClient(server.url) as client:
        answer = client.upgrade(sec_websocket_extensions=offer)
    assert ("permessage-deflate" in answer.headers.get("Sec-WebSocket-Extensions", "")) is agreed


def test_compressed_messages_travel_both_ways(node, relay_server):
    """§3.9"""
    server = relay_server(relay_app(node, echo, compression=True))
    message = b"again and " * 1000
    deflater = zlib.compressobj(wbits=-15)
    deflated = (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(raw.frame(raw.TEXT, deflated, first=0xC0))
        opcode, payload = client.read_frame()
    assert opcode == raw.TEXT
    assert len(payload) < 200
    assert zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff") == message


def test_compressed_message_is_judged_by_its_inflated_size(node, relay_server, target):
    """§3.9"""
    server = relay_server(relay_app(node, target, compression=True, max_message_size=10_000))
    deflater = zlib.compressobj(wbits=-15)
    deflated = (deflater.compress(b"x" * 10_001) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions=OFFER)
        client.send(raw.frame(raw.TEXT, deflated, first=0xC0))
        assert client.read_close()[0] == 1009
    assert target.payloads() == []
