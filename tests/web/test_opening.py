"""What is read of a request at the door (§3.1, §3.2, §6.2); only values, no socket."""

import io
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix

from greenrelay.errors import RefusedError
from greenrelay.protocol.handshake import Handshake
from greenrelay.protocol.origins import Claim, OriginPolicy, Verdict
from greenrelay.web.opening import Opening, read_opening
from greenrelay.web.servers import NO_SOCKET, SOCKET_KEY
from greenrelay.web.taking import RequestSocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
PLAIN = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "PATH_INFO": "/ws",
    "REMOTE_ADDR": "192.0.2.1",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "example.org",
    "HTTP_CONNECTION": "keep-alive",
}
UPGRADE = {
    **PLAIN,
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_KEY": KEY,
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}
SHAKEN = Handshake(KEY, ())
OWN = {"HTTP_ORIGIN": "http://example.org"}
FOREIGN = {"HTTP_ORIGIN": "https://evil.example"}
CLAIM = Claim("http://example.org", "http", "example.org", "192.0.2.1")


# -- an ordinary request -----------------------------------------------------------


def test_an_ordinary_request_asks_for_nothing():
    """§3.1"""
    assert read_opening(PLAIN) == Opening(
        "GET", "/ws", "192.0.2.1", None, None, None, is_multiprocess=False, socket=NO_SOCKET
    )


def test_an_environ_that_says_nothing_is_read_as_well():
    assert read_opening({}) == Opening("", "", "", None, None, None, False, NO_SOCKET)


class Counting(dict):
    """An environ that knows what it has been asked for."""

    def __init__(self, environ):
        super().__init__(environ)
        self.asked = []

    def get(self, key, default=None):
        self.asked.append(key)
        return super().get(key, default)

    def __contains__(self, key):
        self.asked.append(key)
        return super().__contains__(key)

    def __getitem__(self, key):
        self.asked.append(key)
        return super().__getitem__(key)


def test_an_ordinary_request_costs_a_few_look_ups():
    """§3.1: none of the handshake, and nothing twice."""
    environ = Counting({**PLAIN, SOCKET_KEY: RequestSocket()})
    read_opening(environ)
    assert len(environ.asked) == len(set(environ.asked)) == 9
    assert not [key for key in environ.asked if "WEBSOCKET" in key or key == "HTTP_CONNECTION"]


def test_reading_changes_nothing():
    """PEP 3333: the environ is the app's."""
    environ = {**UPGRADE, **OWN}
    assert read_opening(MappingProxyType(environ)).claim == CLAIM
    assert environ == {**UPGRADE, **OWN}


FIELDS = {
    # id: (environ, field, value)
    "the method": ({"REQUEST_METHOD": "POST"}, "method", "POST"),
    "the path, byte for byte": (
        {"PATH_INFO": "/gr\xc3\xb6\xc3\x9fe"},
        "path",
        "/gr\xc3\xb6\xc3\x9fe",
    ),
    "the address": ({"REMOTE_ADDR": "2001:db8::1"}, "address", "2001:db8::1"),
    "no address": ({"REMOTE_ADDR": ""}, "address", ""),
    "HEAD": ({"REQUEST_METHOD": "HEAD"}, "is_head", True),
    "no HEAD": ({}, "is_head", False),
    "several workers": ({"wsgi.multiprocess": True}, "is_multiprocess", True),
    "one worker": ({"wsgi.multiprocess": False}, "is_multiprocess", False),
    "the last event": ({"HTTP_LAST_EVENT_ID": "7"}, "last_event_id", "7"),
    "an empty last event": ({"HTTP_LAST_EVENT_ID": ""}, "last_event_id", ""),
    "a last event in UTF-8": ({"HTTP_LAST_EVENT_ID": "\xc3\xb6"}, "last_event_id", "ö"),
    "a last event that is none": ({"HTTP_LAST_EVENT_ID": "\xff"}, "last_event_id", "\ufffd"),
    "an upgrade": (UPGRADE, "is_upgrade", True),
    "another protocol": ({**UPGRADE, "HTTP_UPGRADE": "h2c"}, "is_upgrade", False),
    "an upgrade for another hop": ({**UPGRADE, "HTTP_CONNECTION": "close"}, "is_upgrade", False),
    "a handshake": (UPGRADE, "handshake", SHAKEN),
    "the page": (OWN, "claim", CLAIM),
}


@pytest.mark.parametrize(("changes", "field", "value"), FIELDS.values(), ids=FIELDS.keys())
def test_each_field_is_what_the_server_says(changes, field, value):
    assert getattr(read_opening({**PLAIN, **changes}), field) == value


# -- the handshake -----------------------------------------------------------------

REFUSED = {
    # id: (environ, status)
    "no upgrade": (PLAIN, "426 Upgrade Required"),
    "another protocol": ({**UPGRADE, "HTTP_UPGRADE": "h2c"}, "426 Upgrade Required"),
    "another method": ({**UPGRADE, "REQUEST_METHOD": "POST"}, "405 Method Not Allowed"),
    "HTTP/1.0": ({**UPGRADE, "SERVER_PROTOCOL": "HTTP/1.0"}, "400 Bad Request"),
    "two keys": ({**UPGRADE, "HTTP_SEC_WEBSOCKET_KEY": f"{KEY},{KEY}"}, "400 Bad Request"),
    "a body": ({**UPGRADE, "CONTENT_LENGTH": "1"}, "400 Bad Request"),
    "another version": ({**UPGRADE, "HTTP_SEC_WEBSOCKET_VERSION": "8"}, "426 Upgrade Required"),
}


@pytest.mark.parametrize(("environ", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_handshake_that_is_none_is_refused_when_it_is_needed(environ, status):
    """§3.2: and not before, for the page may be an ordinary one."""
    opening = read_opening(environ)
    with pytest.raises(RefusedError) as refused:
        opening.require_handshake()
    assert refused.value.status == status


def test_a_handshake_is_given_as_it_was_offered():
    """§3.3"""
    assert read_opening(UPGRADE).require_handshake() == SHAKEN


def test_a_refusal_does_not_keep_its_request():
    """It would go with its traceback, until the collector comes by."""
    refusal = read_opening({**UPGRADE, "CONTENT_LENGTH": "1"}).handshake
    assert isinstance(refusal, RefusedError)
    assert refusal.__traceback__ is None


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*UPGRADE, "HTTP_ORIGIN", "HTTP_LAST_EVENT_ID", "CONTENT_LENGTH"]),
        st.text(st.characters(max_codepoint=255), max_size=30),
    )
)
def test_any_request_gets_through_the_door(changes):
    """§3.2: what is wrong with it is for the next one to say."""
    opening = read_opening({**UPGRADE, **changes})
    assert isinstance(opening.handshake, (Handshake, RefusedError, type(None)))


# -- the page ----------------------------------------------------------------------

JUDGED = {
    # id: (environ, patterns, verdict)
    "no page": ({}, "", Verdict.NO_ORIGIN),
    "its own": (OWN, "", Verdict.SAME),
    "a listed one": (FOREIGN, "https://evil.example", Verdict.LISTED),
    "anybody": (FOREIGN, "*", Verdict.ANY),
}


@pytest.mark.parametrize(("changes", "patterns", "verdict"), JUDGED.values(), ids=JUDGED.keys())
def test_a_page_that_may_is_told_why(changes, patterns, verdict):
    """§6.2"""
    assert read_opening({**UPGRADE, **changes}).check_origin(OriginPolicy(patterns)) is verdict


@pytest.mark.parametrize(
    ("host", "shown"),
    [("example.org", "http://example.org:80"), ("a/b", "unknown, its Host is malformed")],
)
def test_a_foreign_page_is_refused_and_the_log_has_both_sites(host, shown):
    """§6.2"""
    with pytest.raises(RefusedError) as refused:
        read_opening({**UPGRADE, **FOREIGN, "HTTP_HOST": host}).check_origin(OriginPolicy())
    assert refused.value.status == "403 Forbidden"
    assert refused.value.detail == f"'https://evil.example' is not allowed; this site is {shown!r}"


# -- what the app's middleware puts right --------------------------------------------

FORWARDED = {
    **UPGRADE,
    "HTTP_ORIGIN": "https://site.example",
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "site.example",
}


def test_word_of_proxy_fix_counts_behind_the_app():
    """§6.2, §8: the client's own address, and the site as its browser knows it."""
    environ = dict(FORWARDED)
    opening = read_opening(environ)
    ProxyFix(lambda environ, start_response: [], x_host=1)(environ, None)
    restated = opening.restated(environ)
    assert restated.address == "203.0.113.9"
    assert restated.check_origin(OriginPolicy()) is Verdict.SAME
    with pytest.raises(RefusedError):  # what was read before stays what it was
        opening.check_origin(OriginPolicy())


def test_nothing_else_is_read_again():
    """What the server has said stands: an app may do with its environ what it likes."""
    opening = read_opening(UPGRADE)
    restated = opening.restated({"REMOTE_ADDR": "192.0.2.1", "wsgi.input": io.BytesIO()})
    assert restated == opening
