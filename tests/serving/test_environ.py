"""The environ of a checked head: what pywsgi makes of it with the standard library's parser."""

import io
from types import SimpleNamespace

import pytest
from gevent.pywsgi import WSGIHandler
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.protocol.head import check_head
from greenrelay.serving.guarded import GuardedHandler

HOST = b"Host: example.org"


class OurHandler(WSGIHandler):
    """pywsgi's handler, but the lines are those that our check has split."""

    def MessageClass(self, file, seekable):
        lines = list(iter(file.readline, b"\r\n"))
        return check_head([self.requestline.encode("latin-1") + b"\r\n", *lines])

    _headers = GuardedHandler._headers


def told(handler_class, head):
    """Return all that a handler knows of a request when it has read its head."""
    server = SimpleNamespace(get_environ=dict)
    handler = handler_class(None, ("127.0.0.1", 1234), server, io.BytesIO(head))
    assert handler.read_request(handler.read_requestline())
    environ = handler.get_environ()
    environ["wsgi.input"] = type(environ["wsgi.input"])
    return list(environ.items()), handler.content_length, handler.close_connection


def assert_nothing_changes(*lines, first=b"GET /a%20b?c=d HTTP/1.1"):
    head = b"".join(line + b"\r\n" for line in (first, *lines, b""))
    assert told(OurHandler, head) == told(WSGIHandler, head)


HEADS = {
    "the least": (HOST,),
    "no header at all": (),
    "a repeated header": (HOST, b"X-A: 1", b"x-a: 2", b"X-A:", b"X-A: 4"),
    "Cookie repeated": (HOST, b"Cookie: a=1", b"cookie: b=2; c=3", b"Cookie2: d"),
    "bytes beyond ASCII": (HOST, b"X-A: \xe9\xff", b"X-B: \xc3\xa9"),
    "spaces that are none in HTTP": (HOST, b"X-A: \x85\xa0x\x0b\x0c\x1c\x1d\x1e\x1f", b"X-B: \xa0"),
    "separators of lines inside of a value": (HOST, b"X-A: a\x85b\x0bc\x0cd\x1ce"),
    "empty values": (HOST, b"X-A:", b"X-B: ", b"X-C:\t"),
    "space around values": (HOST, b"X-A: \t a b \t ", b"X-B:x"),
    "colons in a value": (HOST, b"X-A: :b::", b"Referer: https://example.org:80/"),
    "underscores in names": (
        HOST,
        b"X_A: 1",
        b"X-A: 2",
        b"Content_Length: 9",
        b"_: 3",
        b"Ho_st: x",
    ),
    "names of every kind": (HOST, b"!#$%&'*+-.^`|~0aZ: 1", b"-: 2", b"FROM: 3", b"From: 4"),
    "the same but for case": (HOST, b"ABC: 1", b"abc: 2", b"Abc: 3"),
    "names that CGI has": (HOST, b"Request-Method: x", b"Remote-Addr: y", b"Path-Info: z"),
    "a type": (HOST, b"Content-Type: text/plain; charset=utf-8"),
    "a type with space around it": (HOST, b"CONTENT-TYPE:  text/plain \t"),
    "an empty type": (HOST, b"Content-Type:"),
    "two types": (HOST, b"Content-Type: a/b", b"Content-Type: c/d"),
    "a type beyond ASCII": (HOST, b"Content-Type: text/\xe9"),
    "a type that e-mail knows": (HOST, b"Content-Type: multipart/mixed; boundary=x", b"X-A: 1"),
    "a message as a type": (HOST, b"Content-Type: message/rfc822", b"X-A: 1"),
    "what e-mail encodes": (HOST, b"X-A: =?utf-8?q?a?=", b"Content-Transfer-Encoding: base64"),
    "a length": (HOST, b"Content-Length: 12"),
    "a length with space around it": (HOST, b"content-length: \t7 \t"),
    "a length of zero": (HOST, b"Content-Length: 00"),
    "chunks": (HOST, b"Transfer-Encoding: Chunked", b"Content-Type: a/b"),
    "chunks with space around them": (HOST, b"Transfer-Encoding:  chunked "),
    "a body to wait for": (HOST, b"Expect: 100-continue", b"Content-Length: 3"),
    "close": (HOST, b"Connection: CLOSE"),
    "close with a space": (HOST, b"Connection: close "),
    "close in the second line": (HOST, b"Connection: keep-alive", b"Connection: close"),
    "close in a list": (HOST, b"Connection: close, TE"),
    "an upgrade": (HOST, b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"),
    "an upgrade of one word": (HOST, b"connection:Upgrade", b"upgrade:x"),
    "an upgrade in two lines": (HOST, b"Upgrade: h2c", b"Upgrade: websocket"),
    "99 headers": (HOST, *(b"X-%d: %d" % (number, number) for number in range(98))),
}


@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS.keys())
def test_environ_is_that_of_the_standard_librarys_parser(lines):
    """PEP 3333; a head without Host is HTTP/1.0's."""
    version = b"1.1" if lines else b"1.0"
    assert_nothing_changes(*lines, first=b"POST /a%20b?c=d HTTP/" + version)


@pytest.mark.parametrize("value", [b"keep-alive", b"Keep-Alive", b"close", b""])
def test_an_old_request_is_kept_alive_as_before(value):
    assert_nothing_changes(HOST, b"Connection: " + value, first=b"GET / HTTP/1.0")


NAMES = st.one_of(
    st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", fullmatch=True),
    st.sampled_from([b"Cookie", b"cookie", b"X-A", b"X_A", b"Content-Type", b"Connection"]),
).filter(lambda name: name.lower() not in (b"host", b"content-length", b"transfer-encoding"))
VALUES = st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_any_checked_head_makes_the_same_environ(fields):
    assert_nothing_changes(HOST, *(name + b":" + value for name, value in fields))
