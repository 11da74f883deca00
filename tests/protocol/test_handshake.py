"""The opening handshake: what it takes, what it refuses and with which words."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.headers import parse_connection
from websockets.http11 import Request
from websockets.uri import parse_uri
from websockets.utils import accept_key

from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.protocol.handshake import (
    Handshake,
    check_handshake,
    encode_head,
    end_to_end_headers,
    is_upgrade,
    split_tokens,
    upgrade_headers,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3


def request(**changes):
    """Return the environ of a correct handshake, changed; `None` takes a key out."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.org",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        **changes,
    }
    return {name: value for name, value in environ.items() if value is not None}


def refusal(**changes):
    """Return why a changed handshake is refused, `None` if it is taken."""
    try:
        check_handshake(request(**changes))
    except RefusedError as refused:
        return refused
    return None


# -- what is taken ---------------------------------------------------------------------------

ACCEPTED = {
    "as in the RFC": {},
    "keep-alive beside it, as Firefox sends": {"HTTP_CONNECTION": "keep-alive, Upgrade"},
    "any case": {"HTTP_CONNECTION": "uPGRADE", "HTTP_UPGRADE": "WebSocket"},
    "tabs around tokens": {"HTTP_CONNECTION": "keep-alive\t,\tupgrade\t"},
    "empty elements of a list": {"HTTP_CONNECTION": ",, Upgrade ,"},
    "elements beside it that are no tokens": {"HTTP_CONNECTION": 'Upgrade, "x", a b'},
    "several protocols to upgrade to": {"HTTP_UPGRADE": "h2c, websocket"},
    "a length of zero": {"CONTENT_LENGTH": "0"},
    "an empty length, as WSGI allows": {"CONTENT_LENGTH": ""},
    "a port in Host": {"HTTP_HOST": "example.org:8000"},
    "an IPv6 address in Host": {"HTTP_HOST": "[::1]:8000"},
    "spaces around the version": {"HTTP_SEC_WEBSOCKET_VERSION": " 13\t"},
    "a server that hides its protocol": {"SERVER_PROTOCOL": None},
    "HTTP above 1.1": {"SERVER_PROTOCOL": "HTTP/1.2"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_correct_handshakes_are_taken(changes):
    """§3.2, RFC 6455 §4.2.1"""
    assert is_upgrade(request(**changes))
    assert check_handshake(request(**changes)) == Handshake(KEY, ())


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_every_key_of_sixteen_bytes_is_taken(random):
    """§3.2"""
    key = base64.b64encode(random).decode()
    assert check_handshake(request(HTTP_SEC_WEBSOCKET_KEY=key)).key == key


# -- no upgrade ------------------------------------------------------------------------------

NO_UPGRADE = {
    "an ordinary request": {"HTTP_CONNECTION": None, "HTTP_UPGRADE": None},
    "no Connection": {"HTTP_CONNECTION": None},
    "no Upgrade": {"HTTP_UPGRADE": None},
    "keep-alive only": {"HTTP_CONNECTION": "keep-alive"},
    "notupgrade": {"HTTP_CONNECTION": "notupgrade"},
    "upgraded": {"HTTP_CONNECTION": "upgraded"},
    "upgrade as part of a token": {"HTTP_CONNECTION": "keep-alive, x-upgrade"},
    "two tokens without a comma": {"HTTP_CONNECTION": "keep-alive Upgrade"},
    "another protocol": {"HTTP_UPGRADE": "h2c"},
    "websocket2": {"HTTP_UPGRADE": "websocket2"},
    "a protocol with a version": {"HTTP_UPGRADE": "websocket/13"},
    "quoted": {"HTTP_UPGRADE": '"websocket"'},
    "a space that is none in HTTP": {"HTTP_UPGRADE": "\xa0websocket"},
    "a line separator of Unicode": {"HTTP_CONNECTION": "upgrade\x85"},
    "a vertical tab": {"HTTP_CONNECTION": "\x0bupgrade"},
}


@pytest.mark.parametrize("changes", NO_UPGRADE.values(), ids=NO_UPGRADE.keys())
def test_a_request_that_is_no_upgrade_is_told_to_be_one(changes):
    """§3.2: 426, tokens compared whole"""
    assert not is_upgrade(request(**changes))
    refused = refusal(**changes)
    assert refused.status == "426 Upgrade Required"
    assert refused.headers == (("Upgrade", "websocket"), ("Connection", "Upgrade"))


# -- refused ---------------------------------------------------------------------------------

NO_KEY = "Sec-WebSocket-Key must be there once, base64 of 16 bytes"
NO_BODY = "an upgrade request has no body"
BAD_REQUESTS = {
    "HTTP/1.0": ({"SERVER_PROTOCOL": "HTTP/1.0"}, "a WebSocket needs HTTP/1.1"),
    "HTTP/0.9": ({"SERVER_PROTOCOL": "HTTP/0.9"}, "a WebSocket needs HTTP/1.1"),
    "HTTP/0.8": ({"SERVER_PROTOCOL": "HTTP/0.8"}, "a WebSocket needs HTTP/1.1"),
    "key missing": ({"HTTP_SEC_WEBSOCKET_KEY": None}, NO_KEY),
    "key empty": ({"HTTP_SEC_WEBSOCKET_KEY": ""}, NO_KEY),
    "key repeated": ({"HTTP_SEC_WEBSOCKET_KEY": f"{KEY},{KEY}"}, NO_KEY),
    "key repeated with a space": ({"HTTP_SEC_WEBSOCKET_KEY": f"{KEY}, {KEY}"}, NO_KEY),
    "key of 15 bytes": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 20}, NO_KEY),
    "key of 17 bytes": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 23 + "="}, NO_KEY),
    "key of 18 bytes": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 24}, NO_KEY),
    "key without padding": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 22}, NO_KEY),
    "key with half its padding": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 22 + "="}, NO_KEY),
    "key with padding in front": ({"HTTP_SEC_WEBSOCKET_KEY": "==" + "A" * 22}, NO_KEY),
    "key with padding inside": ({"HTTP_SEC_WEBSOCKET_KEY": "AA==" + "A" * 20}, NO_KEY),
    "URL-safe key": ({"HTTP_SEC_WEBSOCKET_KEY": "-_" + "A" * 20 + "=="}, NO_KEY),
    "key with a line break": ({"HTTP_SEC_WEBSOCKET_KEY": "A" * 21 + "\n=="}, NO_KEY),
    "key with a space": ({"HTTP_SEC_WEBSOCKET_KEY": " " + "A" * 21 + "=="}, NO_KEY),
    "key beyond ASCII": ({"HTTP_SEC_WEBSOCKET_KEY": "é" * 22 + "=="}, NO_KEY),
    "Host missing": ({"HTTP_HOST": None}, "Host must be there once"),
    "Host empty": ({"HTTP_HOST": ""}, "Host must be there once"),
    "Host repeated": ({"HTTP_HOST": "a.example,b.example"}, "Host must be there once"),
    "a body of one byte": ({"CONTENT_LENGTH": "1"}, NO_BODY),
    "a body of many bytes": ({"CONTENT_LENGTH": "9" * 9999}, NO_BODY),
    "a length that is none": ({"CONTENT_LENGTH": "x"}, NO_BODY),
    "a negative length": ({"CONTENT_LENGTH": "-1"}, NO_BODY),
    "a chunked body": ({"HTTP_TRANSFER_ENCODING": "chunked"}, NO_BODY),
    "a coding without a name": ({"HTTP_TRANSFER_ENCODING": ""}, NO_BODY),
}


@pytest.mark.parametrize(("changes", "body"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_malformed_handshakes_are_bad_requests(changes, body):
    """§3.2: 400"""
    refused = refusal(**changes)
    assert (refused.status, refused.body) == ("400 Bad Request", body)
    assert refused.headers == ()


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "", None])
def test_another_method_is_not_allowed(method):
    """§3.2: 405"""
    refused = refusal(REQUEST_METHOD=method)
    assert refused.status == "405 Method Not Allowed"
    assert refused.headers == (("Allow", "GET"),)


@pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "13,13", "\xa013"])
def test_another_version_is_told_the_one_that_is_spoken(version):
    """§3.2: 426 with `Sec-WebSocket-Version: 13`, RFC 6455 §4.4"""
    refused = refusal(HTTP_SEC_WEBSOCKET_VERSION=version)
    assert refused.status == "426 Upgrade Required"
    assert ("Sec-WebSocket-Version", "13") in refused.headers
    assert {("Upgrade", "websocket"), ("Connection", "Upgrade")} < set(refused.headers)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(request()) + ["CONTENT_LENGTH", "HTTP_SEC_WEBSOCKET_PROTOCOL"]),
        st.one_of(st.none(), st.text(st.characters(max_codepoint=255), max_size=30)),
    )
)
def test_any_request_is_a_handshake_or_refused(changes):
    """§3.2: bodies are one line of text, and none of it comes from the client."""
    refused = refusal(**changes)
    assert refused is None or refused.status[:3] in ("400", "405", "426")
    assert refused is None or (refused.body.isascii() and refused.body.isprintable())


# -- the answer ------------------------------------------------------------------------------


def answer(environ, handler_headers=(), extensions=""):
    return upgrade_headers(check_handshake(environ), handler_headers, extensions)


def test_the_answer_is_the_one_of_the_rfc():
    """RFC 6455 §1.3"""
    assert answer(request()) == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ]


def test_an_independent_client_accepts_the_answer():
    """§3.3"""
    client = ClientProtocol(parse_uri("ws://example.org/"), subprotocols=["chat"])
    sent = client.connect().headers
    environ = request(
        HTTP_CONNECTION=sent["Connection"],
        HTTP_SEC_WEBSOCKET_KEY=sent["Sec-WebSocket-Key"],
        HTTP_SEC_WEBSOCKET_PROTOCOL=sent["Sec-WebSocket-Protocol"],
    )
    headers = answer(environ, [("Sec-WebSocket-Protocol", "chat")])
    client.send_request(Request("/", sent))
    client.receive_data(encode_head("101 Switching Protocols", headers))
    assert (client.handshake_exc, client.subprotocol) == (None, "chat")


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_the_accept_key_is_that_of_an_independent_server(random):
    """RFC 6455 §4.2.2"""
    key = base64.b64encode(random).decode()
    headers = dict(answer(request(HTTP_SEC_WEBSOCKET_KEY=key)))
    assert headers["Sec-WebSocket-Accept"] == accept_key(key)


SUBPROTOCOLS = {
    "offered": ("chat", ["chat"], ["chat"]),
    "second of several": ("v2, chat", ["chat"], ["chat"]),
    "without spaces": ("v2,chat", ["chat"], ["chat"]),
    "no token": ("http://a.example/v=1, chat", ["http://a.example/v=1"], ["http://a.example/v=1"]),
    "beside what is no token": ("a=b==, chat", ["chat"], ["chat"]),
    "not offered": ("chat", ["other"], []),
    "nothing offered": (None, ["chat"], []),
    "an empty offer": ("", ["chat"], []),
    "an empty choice": ("chat, ", [""], []),
    "other case": ("chat", ["Chat"], []),
    "part of an offer": ("superchat", ["chat"], []),
    "not chosen": ("chat", [], []),
    "a choice and another": ("a, b", ["b", "a"], ["b"]),
    "two in one": ("a, b", ["a, b"], []),
}


@pytest.mark.parametrize(
    ("offered", "chosen", "sent"), SUBPROTOCOLS.values(), ids=SUBPROTOCOLS.keys()
)
def test_a_subprotocol_travels_if_the_client_offered_it(offered, chosen, sent):
    """§3.3"""
    chosen = [("Sec-WebSocket-Protocol", name) for name in chosen]
    headers = answer(request(HTTP_SEC_WEBSOCKET_PROTOCOL=offered), chosen)
    assert [value for name, value in headers if name == "Sec-WebSocket-Protocol"] == sent


def test_the_offer_keeps_the_clients_order():
    """RFC 6455 §4.2.1: in order of preference"""
    environ = request(HTTP_SEC_WEBSOCKET_PROTOCOL=" b ,a,, c")
    assert check_handshake(environ).protocols == ("b", "a", "c")


def test_offered_extensions_are_handed_on_as_they_are():
    """§3.9: whoever compresses negotiates"""
    offer = "permessage-deflate; client_max_window_bits"
    assert check_handshake(request(HTTP_SEC_WEBSOCKET_EXTENSIONS=offer)).extensions == offer
    assert check_handshake(request()).extensions == ""


def test_agreed_extensions_are_told_and_none_of_the_handlers():
    """§3.9, RFC 6455 §9.1"""
    by_handler = [("Sec-WebSocket-Extensions", "x-handler")]
    told = answer(request(), by_handler, "permessage-deflate")[3:]
    assert told == [("Sec-WebSocket-Extensions", "permessage-deflate")]
    assert answer(request(), by_handler)[3:] == []


TRAVELS = [
    ("Set-Cookie", "a=1"),
    ("Set-Cookie", "b=2"),
    ("X-Request-Id", "7"),
    ("Access-Control-Allow-Origin", "https://app.example.com"),
    ("Vary", "Origin"),
    ("Server", "ours"),
]
STAYS = """Content-Type Content-Length content-encoding Content-Security-Policy Connection
    Keep-Alive Proxy-Authenticate Proxy-Authorization Proxy-Connection TE Trailer
    Transfer-Encoding Upgrade X-WS-Relay x-sse-relay Sec-WebSocket-Accept
    SEC-WEBSOCKET-EXTENSIONS Sec-WebSocket-Version Sec-WebSocket-Protocol""".split()


def test_headers_of_the_handler_travel_in_their_order():
    """§3.3: `Set-Cookie`, custom ones"""
    assert answer(request(), TRAVELS)[3:] == TRAVELS


@pytest.mark.parametrize("name", STAYS)
def test_headers_of_a_body_of_one_hop_and_of_ours_do_not_travel(name):
    """§3.3: `Content-*` and hop-by-hop ones do not."""
    assert end_to_end_headers([("A", "1"), (name, "x"), ("B", "2")]) == [("A", "1"), ("B", "2")]


# -- the head --------------------------------------------------------------------------------


def test_a_head_ends_with_an_empty_line():
    """RFC 9112 §2"""
    head = encode_head("101 Switching Protocols", [("A", "1"), ("B", "ü")])
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nA: 1\r\nB: \xfc\r\n\r\n"


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0"], ids=ascii)
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_can_not_break_out_of_its_line(place, break_):
    """§3.2: response splitting is the app's mistake, not the client's gain."""
    smuggled = f"a{break_}Set-Cookie: admin=1"
    header = (smuggled, "x") if place == "name" else ("X-Name", smuggled)
    with pytest.raises(ConfigurationError, match="remove it"):
        encode_head("200 OK", [header])


@pytest.mark.parametrize("name", ["", "X Name", "X-Name:", "X-Näme", "(X)", " X-Name", "X-Name "])
def test_a_header_name_is_a_token(name):
    """RFC 9110 §5.1: a browser drops a connection whose head it can't read, without a word."""
    with pytest.raises(ConfigurationError, match="is no name for a header"):
        encode_head("200 OK", [(name, "x")])


def test_a_header_beyond_latin_1_is_the_apps_mistake():
    """§3.2: a configuration error names the header"""
    with pytest.raises(ConfigurationError, match="'X-Name'.*latin-1"):
        encode_head("200 OK", [("X-Name", "日本")])


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("", set()),
        (",", set()),
        ("a", {"a"}),
        ("A, b", {"a", "b"}),
        ("a b", {"a b"}),
        (" a\t,\tb ", {"a", "b"}),
        ("a,,a", {"a"}),
    ],
)
def test_a_list_of_tokens_is_split_at_its_commas(value, tokens):
    """§3.2, RFC 9110 §5.6.1"""
    assert split_tokens(value) == tokens


@settings(max_examples=80, deadline=None)
@given(st.lists(st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True), min_size=1, max_size=5))
def test_an_independent_parser_finds_the_same_tokens(tokens):
    """§3.2"""
    value = " , ".join(tokens)
    assert split_tokens(value) == {token.lower() for token in parse_connection(value)}
