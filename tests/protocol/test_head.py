"""The guards around a request head, each against the attack it stands for."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.errors import RefusedError
from greenrelay.protocol.head import check_field_line, check_head, parse_chunk_size, split_target
from greenrelay.wire import MAX_HEAD_BYTES

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: example.org\r\n"
UPGRADE = b"Upgrade: websocket\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


def fault(*lines):
    """Return the answer to a malformed head, `None` if nothing is wrong with it."""
    try:
        check_head(list(lines))
    except RefusedError as refused:
        return f"{refused.status}: {refused.body}"
    return None


# -- what is taken ---------------------------------------------------------------------------

GOOD = {
    "the least": (GET, HOST),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n",),
    "HTTP/1.0 with Host": (b"GET / HTTP/1.0\r\n", HOST),
    "line feeds alone": (b"GET / HTTP/1.1\n", b"Host: example.org\n"),
    "another method": (b"PROPFIND / HTTP/1.1\r\n", HOST),
    "a target of every character": (b"GET /a;b?c=d&e=%20\xc3\xa9!~ HTTP/1.1\r\n", HOST),
    "an absolute target": (b"GET http://example.org/ HTTP/1.1\r\n", HOST),
    "an absolute target of IPv6": (b"GET HTTPS://[::1]:8000?a=b HTTP/1.1\r\n", HOST),
    "all of the server": (b"OPTIONS * HTTP/1.1\r\n", HOST),
    "a Host with a port": (GET, b"Host: example.org:8000\r\n"),
    "a Host of IPv4": (GET, b"Host: 127.0.0.1:8000\r\n"),
    "a Host of IPv6": (GET, b"Host: [::1]:8000\r\n"),
    "a Host with an underscore": (GET, b"HOST:my_service\r\n"),
    "a Host without a value": (GET, b"Host:\r\n"),
    "an empty value": (GET, HOST, b"X-Empty:\r\n"),
    "no space behind the colon": (GET, HOST, b"X-A:1\r\n"),
    "spaces and tabs around a value": (GET, HOST, b"X-A: \t 1 2 \t \r\n"),
    "colons in a value": (GET, HOST, b"X-Time: 12:30:00\r\n"),
    "bytes beyond ASCII in a value": (GET, HOST, b"X-A: \xff\xc3\xa9\r\n"),
    "a name of every character": (GET, HOST, b"!#$%&'*+-.^_`|~0aZ: x\r\n"),
    "a repeated header": (GET, HOST, b"Cookie: a=1\r\n", b"Cookie: b=2\r\n"),
    "a body": (b"POST / HTTP/1.1\r\n", HOST, b"Content-Length: 5\r\n"),
    "a body with space around its length": (GET, HOST, b"Content-Length: 5 \r\n"),
    "the longest length": (GET, HOST, b"Content-Length: " + b"9" * 18 + b"\r\n"),
    "no body": (GET, HOST, b"Content-Length: 0\r\n"),
    "chunks": (b"POST / HTTP/1.1\r\n", HOST, b"Transfer-Encoding: Chunked\r\n"),
    "an upgrade": (GET, HOST, b"Connection: keep-alive, Upgrade\r\n", UPGRADE),
    "an upgrade of no length": (GET, HOST, UPGRADE, b"Content-Length: 0\r\n"),
    "an upgrade to something else, with a body": (
        *(b"POST / HTTP/1.1\r\n", HOST, b"Connection: Upgrade, HTTP2-Settings\r\n"),
        *(b"Upgrade: h2c\r\n", b"HTTP2-Settings: AAMAAABk\r\n", b"Content-Length: 5\r\n"),
    ),
}


@pytest.mark.parametrize("lines", GOOD.values(), ids=GOOD.keys())
def test_ordinary_heads_pass(lines):
    """§3.2"""
    assert fault(*lines) is None


# -- what is refused -------------------------------------------------------------------------

BAD_TARGET = "the request's target must be a path, or begin like http://example.org"
MIXED = "the head's lines end in different ways"
BAD_LINE = "the request line must be METHOD target HTTP/1.1"
ONE_HOST = "Host must be there once"
NO_HOST = "Host must be like example.org or example.org:8000"
ONE_LENGTH = "the body's length must be given once"
NUMBER = "Content-Length must be a number"
CHUNKED = "the only transfer coding here is chunked"
NO_BODY = "an upgrade request has no body"
TOKEN = "a header's name must be a token, with the colon right behind it"
FOLDED = "header lines can't be folded"

BAD = {
    "no version": ((b"GET /\r\n", HOST), BAD_LINE),
    "no target": ((b"GET HTTP/1.1\r\n", HOST), BAD_LINE),
    "an empty target": ((b"GET  HTTP/1.1\r\n", HOST), BAD_LINE),
    "a space in the target": ((b"GET /a b HTTP/1.1\r\n", HOST), BAD_LINE),
    "a target without a slash": ((b"GET ws HTTP/1.1\r\n", HOST), BAD_TARGET),
    "all of the server, but a GET": ((b"GET * HTTP/1.1\r\n", HOST), BAD_TARGET),
    "another scheme": ((b"GET ftp://example.org/ HTTP/1.1\r\n", HOST), BAD_TARGET),
    "an absolute target without a host": ((b"GET http:///ws HTTP/1.1\r\n", HOST), BAD_TARGET),
    "an absolute target with a port alone": ((b"GET http://:80/ HTTP/1.1\r\n", HOST), BAD_TARGET),
    "an absolute target with a user": ((b"GET http://a@b/ HTTP/1.1\r\n", HOST), BAD_TARGET),
    "an absolute target with two hosts": ((b"GET http://a,b/ HTTP/1.1\r\n", HOST), BAD_TARGET),
    "a tunnel": ((b"CONNECT example.org:443 HTTP/1.1\r\n", HOST), BAD_TARGET),
    "a line feed among CRLFs": ((GET, HOST, b"X-A: a\n", CHUNKS), MIXED),
    "a line feed behind the first line": ((GET[:-2] + b"\n", HOST), MIXED),
    "a CRLF among line feeds": ((GET[:-2] + b"\n", b"Host: a\n", b"X-A: a\r\n"), MIXED),
    "two spaces": ((b"GET  / HTTP/1.1\r\n", HOST), BAD_LINE),
    "a tab between": ((b"GET\t/ HTTP/1.1\r\n", HOST), BAD_LINE),
    "a space before the method": ((b" GET / HTTP/1.1\r\n", HOST), BAD_LINE),
    "a space behind the version": ((b"GET / HTTP/1.1 \r\n", HOST), BAD_LINE),
    "a method that is no token": ((b"G(T / HTTP/1.1\r\n", HOST), BAD_LINE),
    "another protocol": ((b"GET / HTTPS/1.1\r\n", HOST), BAD_LINE),
    "a lower-case protocol": ((b"GET / http/1.1\r\n", HOST), BAD_LINE),
    "half a version": ((b"GET / HTTP/1\r\n", HOST), BAD_LINE),
    "a long version": ((b"GET / HTTP/1.10\r\n", HOST), BAD_LINE),
    "NUL in the request line": ((b"GET /\0 HTTP/1.1\r\n", HOST), BAD_LINE),
    "bare CR in the request line": ((b"GET /\rX HTTP/1.1\r\n", HOST), BAD_LINE),
    "a TLS handshake": ((b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\n",), BAD_LINE),
    "HTTP/2 without asking": ((b"PRI * HTTP/2.0\r\n",), ONE_HOST),
    "Host missing": ((GET, b"X: 1\r\n"), ONE_HOST),
    "Host repeated": ((GET, HOST, b"Host: evil.example\r\n"), ONE_HOST),
    "Host repeated alike": ((GET, HOST, HOST.upper()), ONE_HOST),
    "Host repeated in HTTP/1.0": ((b"GET / HTTP/1.0\r\n", HOST, HOST), ONE_HOST),
    "two Hosts in one": ((GET, b"Host: a.example, b.example\r\n"), NO_HOST),
    "a Host with a path": ((GET, b"Host: a.example/path\r\n"), NO_HOST),
    "a Host with a user": ((GET, b"Host: user@a.example\r\n"), NO_HOST),
    "a Host with a scheme": ((GET, b"Host: http://a.example\r\n"), NO_HOST),
    "a Host with a space": ((GET, b"Host: a.example b\r\n"), NO_HOST),
    "a Host with a port of letters": ((GET, b"Host: a.example:http\r\n"), NO_HOST),
    "a Host with an open bracket": ((GET, b"Host: [::1\r\n"), NO_HOST),
    "a Host beyond ASCII": ((GET, b"Host: \xc3\xa9.example\r\n"), NO_HOST),
    "NUL in a value": ((GET, HOST, b"X-A: a\0b\r\n"), "the head has a NUL"),
    "NUL in a name": ((GET, HOST, b"X\0A: a\r\n"), "the head has a NUL"),
    "bare CR in a value": (
        (GET, HOST, b"X-A: a\rHost: evil.example\r\n"),
        "the head has a carriage return inside of a line",
    ),
    "bare CR in a name": (
        (GET, HOST, b"X\rA: a\r\n"),
        "the head has a carriage return inside of a line",
    ),
    "two CR at the end": (
        (GET, HOST, b"X-A: a\r\r\n"),
        "the head has a carriage return inside of a line",
    ),
    "no colon": ((GET, HOST, b"X-A\r\n"), "a header line has no colon"),
    "no colon in the first": ((GET, b"example.org\r\n"), "a header line has no colon"),
    "space before the colon": ((GET, HOST, b"Content-Length : 5\r\n"), TOKEN),
    "tab before the colon": ((GET, HOST, b"Content-Length\t: 5\r\n"), TOKEN),
    "no name": ((GET, HOST, b": x\r\n"), TOKEN),
    "a name in quotes": ((GET, HOST, b'"X": x\r\n'), TOKEN),
    "a name beyond ASCII": ((GET, HOST, b"X-\xe9: x\r\n"), TOKEN),
    "folded with a space": ((GET, HOST, b"X-A: a\r\n", b" b\r\n"), FOLDED),
    "folded with a tab": ((GET, HOST, b"X-A: a\r\n", b"\tb: c\r\n"), FOLDED),
    "space before the first header": ((GET, b" " + HOST), FOLDED),
    "a length that is no number": ((GET, HOST, b"Content-Length: five\r\n"), NUMBER),
    "an empty length": ((GET, HOST, b"Content-Length:\r\n"), NUMBER),
    "a negative length": ((GET, HOST, b"Content-Length: -5\r\n"), NUMBER),
    "a length with a sign": ((GET, HOST, b"Content-Length: +5\r\n"), NUMBER),
    "a length with an underscore": ((GET, HOST, b"Content-Length: 1_0\r\n"), NUMBER),
    "a length in hexadecimal": ((GET, HOST, b"Content-Length: 0x5\r\n"), NUMBER),
    "a length with a fraction": ((GET, HOST, b"Content-Length: 5.0\r\n"), NUMBER),
    "a length in other digits": ((GET, HOST, "Content-Length: ٥\r\n".encode()), NUMBER),
    "a length of two": ((GET, HOST, b"Content-Length: 5, 5\r\n"), NUMBER),
    "a length of 19 digits": ((GET, HOST, b"Content-Length: " + b"9" * 19 + b"\r\n"), NUMBER),
    "a length of 5000 digits": ((GET, HOST, b"Content-Length: " + b"9" * 5000 + b"\r\n"), NUMBER),
    "two lengths": ((GET, HOST, b"Content-Length: 5\r\n", b"content-length: 6\r\n"), ONE_LENGTH),
    "the same length twice": ((GET, HOST, *[b"Content-Length: 5\r\n"] * 2), ONE_LENGTH),
    "a length and chunks": ((GET, HOST, b"Content-Length: 5\r\n", CHUNKS), ONE_LENGTH),
    "chunks and a length": ((GET, HOST, CHUNKS, b"Content-Length: 0\r\n"), ONE_LENGTH),
    "two codings": ((GET, HOST, CHUNKS, b"Transfer-Encoding: gzip\r\n"), ONE_LENGTH),
    "two codings in one": ((GET, HOST, b"Transfer-Encoding: gzip, chunked\r\n"), CHUNKED),
    "another coding": ((GET, HOST, b"Transfer-Encoding: xchunked\r\n"), CHUNKED),
    "a disguised coding": ((GET, HOST, b"Transfer-Encoding: \x0bchunked\r\n"), CHUNKED),
    "an empty coding": ((GET, HOST, b"Transfer-Encoding:\r\n"), CHUNKED),
    "chunks in HTTP/1.0": (
        (b"POST / HTTP/1.0\r\n", HOST, CHUNKS),
        "chunks need HTTP/1.1",
    ),
    "a body on an upgrade": ((GET, HOST, UPGRADE, b"Content-Length: 5\r\n"), NO_BODY),
    "chunks on an upgrade": ((GET, HOST, UPGRADE, CHUNKS), NO_BODY),
    "a body on an upgrade in any case": (
        (GET, HOST, b"UPGRADE: h2c ,\tWebSocket\r\n", b"Content-Length: 05\r\n"),
        NO_BODY,
    ),
    "a body on an upgrade in two lines": (
        (GET, HOST, b"Upgrade: h2c\r\n", UPGRADE, b"Content-Length: 5\r\n"),
        NO_BODY,
    ),
    "a body on an upgrade to nothing": (
        (GET, HOST, b"Connection: Upgrade\r\n", b"Content-Length: 5\r\n"),
        NO_BODY,
    ),
    "a body on the first of two Connections": (
        (GET, HOST, b"Connection: upgrade \r\n", b"Connection: close\r\n", CHUNKS),
        NO_BODY,
    ),
}


@pytest.mark.parametrize(("lines", "text"), BAD.values(), ids=BAD.keys())
def test_malformed_heads_are_refused_with_what_is_wrong(lines, text):
    """§3.2: 400 on our server for every request, RFC 9112 §2.2, §3, §5, §6"""
    assert fault(*lines) == f"400 Bad Request: {text}"


EVIL = {
    "spaces and a NUL": lambda size: b"X:" + b" " * size + b"\0\r\n",
    "spaces and a letter": lambda size: b"X: a" + b" " * size + b"b\r\n",
    "spaces and a bare CR": lambda size: b"X:" + b" \t" * (size // 2) + b"\rb\r\n",
    "spaces in the request line": lambda size: b"GET" + b" " * size + b"/\r\n",
    "carriage returns": lambda size: b"X: " + b"\r" * size + b"\n",
    "one long name": lambda size: b"X" * size + b"\r\n",
    "one long Host": lambda size: b"Host: " + b"a" * size + b"/\r\n",
}


@pytest.mark.parametrize("make", EVIL.values(), ids=EVIL.keys())
def test_a_head_costs_no_more_than_its_length(make):
    """§8: 64 KiB are allowed, so a second of everybody's time for them is not."""
    line = make(MAX_HEAD_BYTES)
    began = time.process_time()
    fault(line)
    fault(GET, HOST, line)
    assert time.process_time() - began < 1


lines = st.one_of(
    st.sampled_from([line for lines, _ in BAD.values() for line in lines]),
    st.binary(max_size=30),
    st.from_regex(rb"[A-Za-z-]{1,9}:[ \t]?[ -~]{0,9}\r?\n", fullmatch=True),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, min_size=1, max_size=6), st.booleans())
def test_any_head_passes_or_is_refused_in_one_printable_line(lines, begins_well):
    """§3.2: bodies are one line of text; nothing of the client's is repeated."""
    text = fault(*([GET, HOST] if begins_well else []), *lines)
    assert text is None or (text.isascii() and text.isprintable())


# -- targets ---------------------------------------------------------------------------------

TARGETS = [
    ("/", "", "/"),
    ("/a?b=http://c/d", "", "/a?b=http://c/d"),
    ("//a/b", "", "//a/b"),
    ("http://a", "a", "/"),
    ("http://a?b", "a", "/?b"),
    ("http://a/b?c", "a", "/b?c"),
    ("HtTpS://A:1//b", "A:1", "//b"),
    ("*", "", "*"),
]


@pytest.mark.parametrize(("target", "host", "path"), TARGETS)
def test_target_is_split_into_host_and_path(target, host, path):
    """RFC 9112 §3.2"""
    assert split_target(target) == (host, path)


# -- lines in a chunked body -----------------------------------------------------------------

SIZES = [
    (b"0\r\n", 0),
    (b"000\r\n", 0),
    (b"aF\r\n", 0xAF),
    (b"7fffffffffffffff\r\n", (1 << 63) - 1),
    (b"5;a\r\n", 5),
    (b'5;a="b;c";d\r\n', 5),
]


@pytest.mark.parametrize(("line", "size"), SIZES)
def test_size_of_a_chunk(line, size):
    """RFC 9112 §7.1"""
    assert parse_chunk_size(line) == size


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=20), st.from_regex(rb"[0-9a-fA-F+ xX_-]{0,20}[;\r\n]{0,3}")))
def test_any_other_line_is_no_size(line):
    """RFC 9112 §7.1: not all that `int()` takes."""
    digits = line.partition(b";")[0].removesuffix(b"\r\n")
    is_good = line[-2:] == b"\r\n" and not {0, 10, 13} & set(line[:-2])
    if is_good and 1 <= len(digits) <= 16 and set(digits) <= set(b"0123456789abcdefABCDEF"):
        assert parse_chunk_size(line) == int(digits, 16)
    else:
        with pytest.raises(RefusedError):
            parse_chunk_size(line)


TRAILERS = {
    b"X: a\n": "a trailer's line does not end in CRLF",
    b"X: a": "a trailer's line does not end in CRLF",
    b"X: a\0\r\n": "the trailer has a NUL",
    b"X: a\rb\r\n": "the trailer has a carriage return inside of a line",
    b"X\r\n": "a header line has no colon",
    b" X: a\r\n": FOLDED,
    b"X : a\r\n": TOKEN,
}


@pytest.mark.parametrize(("line", "text"), TRAILERS.items())
def test_malformed_trailers_are_refused_with_what_is_wrong(line, text):
    """RFC 9112 §7.1.2"""
    check_field_line(b"X: a\r\n")
    with pytest.raises(RefusedError, match=text):
        check_field_line(line)
