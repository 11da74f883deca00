"""Request bodies on our server: a fault in one ends the connection, none is waited for for ever.

What a view does with a body must not matter: whatever it has left is never the next request.
"""

import gevent
import pytest
from flask import Flask, request

from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Lines

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET /get HTTP/1.1\r\nHost: a\r\n\r\n"
VIEWS = ["read", "half", "lines", "form", "swallow", "never"]
READING = VIEWS[:-1]


class BodyApp(Flask):
    """One view for each way to treat a body; `asked` has the paths that reached the app."""

    def __init__(self):
        super().__init__("bodies")
        self.asked = []
        self.before_request(lambda: self.asked.append(request.path))
        for name in (*VIEWS, "get", "smuggled"):
            self.add_url_rule(f"/{name}", name, self.answer, methods=["GET", "POST", "HEAD"])

    def answer(self):
        how = request.endpoint
        if how == "half":
            return request.stream.read(3)
        if how == "lines":
            return b"".join(request.stream.readlines())
        if how == "form":
            return str(dict(request.form))
        if how == "never":
            return "never"
        try:
            return request.get_data()
        except Exception:
            if how == "read":
                raise
            return "swallowed"


@pytest.fixture
def app():
    return BodyApp()


@pytest.fixture
def access():
    return Lines()


@pytest.fixture
def server(app, access, relay_server):
    return relay_server(app, log=access, body_timeout=0.2)


def post(path, *lines, version=b"1.1"):
    """Return the head of a POST of a form with further header lines."""
    first = b"POST /%s HTTP/%s\r\nHost: a\r\n" % (path.encode(), version)
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    return first + form + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
FAULTS = {
    "a request in a size line": b"1z" + SMUGGLED,
    "no number": b"xyz\r\n",
    "17 digits": b"00000000000000005\r\nabcde\r\n0\r\n\r\n",
    "17 digits of a flood": b"FFFFFFFFFFFFFFFFF\r\n",
    "a bare LF behind the size": b"5\nabcde\r\n0\r\n\r\n",
    "a bare CR behind the size": b"5\rabcde\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "a sign": b"+5\r\nabcde\r\n0\r\n\r\n",
    "a minus": b"-5\r\nabcde\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nabcde\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nabcde\r\n0\r\n\r\n",
    "a space behind the size": b"5 \r\nabcde\r\n0\r\n\r\n",
    "a tab before an extension": b"5\t;a\r\nabcde\r\n0\r\n\r\n",
    "an empty size line": b"\r\nabcde\r\n0\r\n\r\n",
    "only an extension": b";a=b\r\nabcde\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0\r\nabcde\r\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a\nabcde\r\n0\r\n\r\n",
    "a bare CR in an extension": b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
    "an endless extension": b"5;" + b"a" * 100_000,
    "endless extensions": (b"1;" + b"a" * 4_000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n",
    "a chunk that is too short": b"5\r\nabc\r\n0\r\n\r\n",
    "a chunk that is too long": b"5\r\nabcdefg\r\n0\r\n\r\n",
    "a bare LF behind a chunk": b"5\r\nabcde\n0\r\n\r\n",
    "a bare LF behind the last": b"5\r\nabcde\r\n0\n\n",
    "a bare LF at the end": b"5\r\nabcde\r\n0\r\n\n",
    "no line's end at the end": b"5\r\nabcde\r\n0\r\n" + SMUGGLED,
    "a trailer without a colon": b"5\r\nabcde\r\n0\r\nX\r\n\r\n",
    "a trailer with a space": b"5\r\nabcde\r\n0\r\nX : 1\r\n\r\n",
    "a folded trailer": b"5\r\nabcde\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "a trailer with a bare LF": b"5\r\nabcde\r\n0\r\nX: 1\nY: 2\r\n\r\n",
    "NUL in a trailer": b"5\r\nabcde\r\n0\r\nX: \0\r\n\r\n",
    "an endless trailer": b"5\r\nabcde\r\n0\r\nX: " + b"a" * 100_000,
    "endless trailers": b"5\r\nabcde\r\n0\r\n" + b"X: 1\r\n" * 20_000,
}


def ends(client):
    """Read to the end; it must come by itself, and nothing before it."""
    with gevent.Timeout(5):
        assert client.read_rest() == b""


@pytest.mark.parametrize("view", ["read", "lines", "form", "swallow"])
@pytest.mark.parametrize("body", FAULTS.values(), ids=FAULTS.keys())
def test_fault_in_a_body_gets_a_400_and_ends_the_connection(
    server, app, access, caplog, view, body
):
    """§3.2: whatever the view makes of it; nothing behind the fault is a request."""
    with raw.RawClient(server.url) as client:
        client.send(post(view, CHUNKED) + body + SMUGGLED)
        answer = client.read_answer()
        assert (answer.status, answer.headers["Connection"]) == (400, "close")
        assert answer.body.count(b"\n") == 1
        ends(client)
    assert app.asked == [f"/{view}"]
    assert [record.exc_info for record in caplog.records] == [None]
    assert [" 400 " in line for line in access.lines] == [True]


@pytest.mark.parametrize("view", ["half", "never"])
@pytest.mark.parametrize("body", FAULTS.values(), ids=FAULTS.keys())
def test_fault_that_the_view_has_not_met_ends_the_connection(server, app, caplog, view, body):
    """§3.2: it has been answered already; nothing behind the fault is a request."""
    with raw.RawClient(server.url) as client:
        client.send(post(view, CHUNKED) + body + SMUGGLED)
        assert client.read_answer().status in (200, 400)
        ends(client)
    assert app.asked == [f"/{view}"]
    assert [record.exc_info for record in caplog.records] == [None]


BODIES = {
    "a length": post("{}", b"Content-Length: 7") + b"a=b&c=d",
    "no length": post("{}"),
    "nothing": post("{}", b"Content-Length: 0"),
    "one chunk": post("{}", CHUNKED) + b"7\r\na=b&c=d\r\n0\r\n\r\n",
    "tiny chunks": post("{}", CHUNKED) + b"1\r\na\r\n1\r\n=\r\n001\r\nb\r\n0\r\n\r\n",
    "no chunk": post("{}", CHUNKED) + b"0\r\n\r\n",
    "extensions": post("{}", CHUNKED) + b'7;a;b="c ;d"\r\na=b&c=d\r\n000;x\r\n\r\n',
    "trailers": post("{}", CHUNKED) + b"7\r\na=b&c=d\r\n0\r\nX: 1\r\nContent-Length: 9\r\n\r\n",
    "upper case": post("{}", b"TRANSFER-ENCODING:CHUNKED") + b"A\r\na=bbbbbbbb\r\n0\r\n\r\n",
    "much": post("{}", b"Content-Length: 100000") + b"a" * 100_000,
    "many chunks": post("{}", CHUNKED) + (b"3E8\r\n" + b"a" * 1000 + b"\r\n") * 99 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_next_request_begins_behind_the_body(server, app, view, body):
    """§3.2: read, half read, or not at all."""
    with raw.RawClient(server.url) as client:
        client.send(body.replace(b"{}", view.encode(), 1) * 3 + GET)
        assert [client.read_answer().status for _ in range(4)] == [200] * 4
    assert app.asked == [f"/{view}"] * 3 + ["/get"]


@pytest.mark.parametrize("view", ["half", "never"])
def test_body_that_is_not_worth_reading_ends_the_connection(server, app, view):
    """§3.2: and the client, which still sends, gets its answer."""
    with raw.RawClient(server.url) as client:
        sender = gevent.spawn(
            client.send, post(view, b"Content-Length: 3000000") + b"a" * 3_000_000
        )
        answer = client.read_answer()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        ends(client)
        sender.kill()
    assert app.asked == [f"/{view}"]


# -- Expect: 100-continue ------------------------------------------------------

EXPECT = b"Expect: 100-continue"


def test_client_that_asks_is_told_to_continue(server):
    """§3.2: when the view reads, and once."""
    with raw.RawClient(server.url) as client:
        client.send(post("read", b"Content-Length: 5", EXPECT))
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.send(b"abcde")
        assert client.read_answer()[::2] == (200, b"abcde")
        client.send(GET)
        assert client.read_answer().status == 200


@pytest.mark.parametrize("late", [b"", SMUGGLED], ids=["nothing", "what it was asked for"])
def test_unread_expectation_ends_the_connection(server, app, late):
    """§3.2: nobody can tell whether a body or a request comes next."""
    with raw.RawClient(server.url) as client:
        client.send(post("never", b"Content-Length: %d" % len(SMUGGLED), EXPECT) + late)
        answer = client.read_answer()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        client.send(GET)
        ends(client)
    assert app.asked == ["/never"]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(post("read", b"Content-Length: 0", EXPECT), id="no body"),
        pytest.param(
            post("read", b"Content-Length: 1", b"Connection: keep-alive", EXPECT, version=b"1.0")
            + b"x",
            id="HTTP/1.0",
        ),
    ],
)
def test_nobody_is_told_to_continue_who_does_not_wait_for_it(server, head):
    """RFC 9110 §10.1.1"""
    with raw.RawClient(server.url) as client:
        client.send(head)
        assert client.read_answer().status == 200
        client.send(GET)
        assert client.read_answer().status == 200


# -- time ----------------------------------------------------------------------

HALF_BODIES = {
    "nothing": post("{}", b"Content-Length: 5"),
    "half": post("{}", b"Content-Length: 5") + b"ab",
    "no size line": post("{}", CHUNKED),
    "half a size line": post("{}", CHUNKED) + b"5",
    "half a chunk": post("{}", CHUNKED) + b"5\r\nab",
    "half a trailer": post("{}", CHUNKED) + b"0\r\nX:",
}


@pytest.mark.parametrize("view", ["read", "lines", "swallow"])
@pytest.mark.parametrize("body", HALF_BODIES.values(), ids=HALF_BODIES.keys())
def test_body_that_stops_gets_a_408(server, access, caplog, view, body):
    """§8"""
    with raw.RawClient(server.url) as client:
        client.send(body.replace(b"{}", view.encode(), 1))
        answer = client.read_answer()
        assert (answer.status, answer.headers["Connection"]) == (408, "close")
        ends(client)
    assert [record.exc_info for record in caplog.records] == [None]
    assert [" 408 " in line for line in access.lines] == [True]


def test_slow_body_that_goes_on_is_waited_for(server):
    """§8: the time runs from the last progress."""
    with raw.RawClient(server.url) as client:
        client.send(post("read", b"Content-Length: 10"))
        for _ in range(10):
            gevent.sleep(0.05)
            client.send(b"x")
        assert client.read_answer()[::2] == (200, b"x" * 10)


def test_answered_request_is_not_held_by_its_body(server):
    """§8: the view has not waited for it, and the rest never comes."""
    with raw.RawClient(server.url) as client:
        client.send(post("never", b"Content-Length: 5") + b"ab")
        assert client.read_answer().status == 200
        ends(client)
    wait_until(lambda: not len(server.server.pool))


@pytest.mark.parametrize("view", ["read", "lines", "swallow"])
@pytest.mark.parametrize("body", HALF_BODIES.values(), ids=HALF_BODIES.keys())
def test_client_that_ends_in_its_body_gets_a_400(server, caplog, view, body):
    """§3.2: it may still be listening."""
    with raw.RawClient(server.url) as client:
        client.send(body.replace(b"{}", view.encode(), 1))
        client.socket.shutdown(gevent.socket.SHUT_WR)
        assert client.read_answer().status == 400
        ends(client)
    assert [record.exc_info for record in caplog.records] == [None]


class Impatient:
    """An app that waits for its body itself, and gives up in the middle of a size line."""

    def __call__(self, environ, start_response):
        with gevent.Timeout(0.05, False):
            environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "0")])
        return []


def test_app_that_gives_up_in_a_size_line_leaves_no_half_of_it(relay_server):
    """§3.2: `5f` must not be read as `f`."""
    server = relay_server(Impatient(), body_timeout=5)
    with raw.RawClient(server.url) as client:
        client.send(post("", CHUNKED) + b"5")
        assert client.read_answer().status == 200
        client.send(b"f\r\n" + b"a" * 15 + b"\r\n0\r\n\r\n" + SMUGGLED)
        ends(client)


# -- targets -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://a/get", "a"),
        ("HTTP://Other.Example:8000/get?x=1", "Other.Example:8000"),
        ("https://a/get", "a"),
    ],
)
def test_absolute_target_is_routed_by_its_path(server, app, target, host):
    """RFC 9112 §3.2.2: its host takes the place of `Host`."""
    hosts = []
    app.before_request(lambda: hosts.append(request.host))
    with raw.RawClient(server.url) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: wrong\r\n\r\n".encode())
        assert client.read_answer().status == 200
    assert (app.asked, hosts) == (["/get"], [host])


def test_head_ended_by_a_line_feed_among_crlfs_is_refused(server, app):
    """§3.2: what one server takes for the end is a value's line to the next."""
    with raw.RawClient(server.url) as client:
        client.send(b"GET /get HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED)
        assert client.read_answer().status == 400
        ends(client)
    assert app.asked == []


def test_head_typed_by_hand_is_taken(server):
    """RFC 9112 §2.2"""
    with raw.RawClient(server.url) as client:
        client.send(b"GET /get HTTP/1.1\nHost: a\n\n")
        assert client.read_answer().status == 200


def test_long_request_line_is_refused(server, access):
    """§3.2"""
    with raw.RawClient(server.url) as client:
        client.send(b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_answer().status == 414
    wait_until(lambda: " 414 " in "".join(access.lines))
