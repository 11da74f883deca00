"""The event stream client against servers that send their bytes in odd pieces (§10.5)."""

import gevent
import gevent.queue
import gevent.server
import pytest

from greenrelay.testing import EventStreamClient, UpgradeRefused

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def pieces():
    """What the server sends, one piece after the other; `None` is the end."""
    return gevent.queue.Queue()


@pytest.fixture
def url(pieces):
    """Return the address of a server that sends the pieces to its one client."""

    def serve(sock, _):
        for piece in iter(pieces.get, None):
            sock.sendall(piece)
        sock.close()

    server = gevent.server.StreamServer(("127.0.0.1", 0), serve)
    server.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    pieces.put(None)
    server.stop(1)


BODY = b"7\r\ndata: a\r\n4;x=y\r\n\n\nda\r\n7\r\nta: b\n\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(BODY)))
def test_waiting_in_vain_inside_of_a_chunk_loses_nothing(url, pieces, cut):
    """§10.5: `http.client` can't be asked again."""
    pieces.put(CHUNKED + BODY[:cut])
    with EventStreamClient(url) as stream:
        events = []
        with pytest.raises((TimeoutError, EOFError)):
            while True:
                events.append(stream.receive(timeout=0.001))
        pieces.put(BODY[cut:])
        events += stream
    assert [event.data for event in events] == ["a", "b"]


@pytest.mark.parametrize("head", [CHUNKED, HEAD + b"\r\n", HEAD + b"Content-Length: 9\r\n\r\n"])
def test_closing_ends_another_greenlets_wait(url, pieces, head):
    """§10.5: the file that `http.client` reads from can't be closed while somebody waits."""
    pieces.put(head)
    stream = EventStreamClient(url)
    reader = gevent.spawn(list, stream)
    gevent.sleep(0)
    stream.close()
    assert reader.get(timeout=1) == []


ENDS = {
    "the last chunk": CHUNKED + b"9\r\ndata: a\n\n\r\n0\r\n\r\n",
    "the length": HEAD + b"Content-Length: 9\r\n\r\ndata: a\n\nHTTP/1.1 400 None\r\n\r\n",
}


@pytest.mark.parametrize("answer", ENDS.values(), ids=ENDS.keys())
def test_the_stream_ends_where_its_body_does(url, pieces, answer):
    """RFC 9112 §6.3: not only with the connection."""
    pieces.put(answer)
    with EventStreamClient(url) as stream:
        assert [event.data for event in stream] == ["a"]


@pytest.mark.parametrize("body", [CHUNKED + b"9\r\ndata: a\n\n\r\n", HEAD + b"\r\ndata: a\n\n"])
def test_the_stream_ends_with_its_connection(url, pieces, body):
    """RFC 9112 §6.3"""
    pieces.put(body)
    pieces.put(None)
    with EventStreamClient(url) as stream:
        assert [event.data for event in stream] == ["a"]


def test_a_server_that_hangs_up_in_its_head_is_no_answer(url, pieces):
    """§10.5"""
    pieces.put(HEAD)
    pieces.put(None)
    with pytest.raises(ConnectionError, match="has hung up, having said b'HTTP/1.1 200 OK"):
        EventStreamClient(url)


def test_a_head_that_comes_byte_by_byte_is_read(url, pieces):
    """§10.5"""
    for byte in b"HTTP/1.1 409 Conflict\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nno":
        pieces.put(bytes((byte,)))
    with pytest.raises(UpgradeRefused) as refused:
        EventStreamClient(url)
    assert (refused.value.status, refused.value.headers["X-A"]) == (409, "1")
    assert refused.value.body == b"no"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_refusal_that_has_no_body_is_not_waited_for(url, pieces, status):
    """RFC 9112 §6.3: a page's event source gives up at a 204, and the connection is kept."""
    pieces.put(b"HTTP/1.1 " + status + b"\r\nX-A: 1\r\n\r\n")
    with pytest.raises(UpgradeRefused) as refused:
        EventStreamClient(url)
    assert (refused.value.status, refused.value.body) == (int(status[:3]), b"")
