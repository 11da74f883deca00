"""Origins: which pages may open a relay, as tables."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.errors import ConfigurationError
from greenrelay.protocol.origins import Origin, OriginPolicy, Verdict, parse_network, read_claim

NO_ORIGIN, SAME, LISTED, ANY, FOREIGN = Verdict


def request(origin=None, host="app.example.com", scheme="https", **more):
    environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": host, "HTTP_ORIGIN": origin, **more}
    return read_claim({name: value for name, value in environ.items() if value is not None})


# -- same origin -----------------------------------------------------------------------------

SAME_OR_NOT = {
    # id: (origin, host, scheme, verdict)
    "no Origin: not a browser": (None, "app.example.com", "https", NO_ORIGIN),
    "no Origin and no Host": (None, None, "https", NO_ORIGIN),
    "the same": ("https://app.example.com", "app.example.com", "https", SAME),
    "the same without TLS": ("http://app.example.com", "app.example.com", "http", SAME),
    "the same, with a port": ("http://localhost:8000", "localhost:8000", "http", SAME),
    "default port written by the page": ("https://a.example:443", "a.example", "https", SAME),
    "default port written in Host": ("https://a.example", "a.example:443", "https", SAME),
    "default port 80": ("http://a.example:80", "a.example", "http", SAME),
    "other case in the origin": ("HTTPS://App.Example.COM", "app.example.com", "https", SAME),
    "other case in Host": ("https://app.example.com", "App.Example.COM", "https", SAME),
    "an IPv4 address": ("http://127.0.0.1:8000", "127.0.0.1:8000", "http", SAME),
    "an IPv6 address": ("http://[::1]:8000", "[::1]:8000", "http", SAME),
    "an IPv6 address, default port": ("http://[2001:DB8::1]", "[2001:db8::1]", "http", SAME),
    "a server that says wss": ("https://a.example", "a.example", "wss", SAME),
    "a server that says ws": ("http://a.example", "a.example", "ws", SAME),
    "a space around it": (" https://a.example ", "a.example", "https", SAME),
    "another host": ("https://evil.example", "app.example.com", "https", FOREIGN),
    "another port": ("https://a.example:8443", "a.example", "https", FOREIGN),
    "another port in Host": ("https://a.example", "a.example:8443", "https", FOREIGN),
    "another scheme": ("http://a.example", "a.example", "https", FOREIGN),
    "another scheme, on its port": ("http://a.example:443", "a.example", "https", FOREIGN),
    "a subdomain of ours": ("https://x.a.example", "a.example", "https", FOREIGN),
    "our parent domain": ("https://example.com", "app.example.com", "https", FOREIGN),
    "ours as a beginning": ("https://a.example.evil", "a.example", "https", FOREIGN),
    "ours as an end": ("https://evila.example", "a.example", "https", FOREIGN),
    "ours as a user": ("https://a.example@evil.example", "a.example", "https", FOREIGN),
    "ours as a path": ("https://evil.example/a.example", "a.example", "https", FOREIGN),
    "ours with a path": ("https://a.example/", "a.example", "https", FOREIGN),
    "ours with a query": ("https://a.example?x", "a.example", "https", FOREIGN),
    "ours with a final dot": ("https://a.example.", "a.example", "https", FOREIGN),
    "no scheme": ("a.example", "a.example", "https", FOREIGN),
    "no host": ("https://", "", "https", FOREIGN),
    "no host but a port": ("https://:443", ":443", "https", FOREIGN),
    "empty": ("", "a.example", "https", FOREIGN),
    "empty, and no Host": ("", None, "https", FOREIGN),
    "no Host": ("https://a.example", None, "https", FOREIGN),
    "null": ("null", "a.example", "https", FOREIGN),
    "null, and Host is null": ("null", "null", "https", FOREIGN),
    "a page in a file": ("file://", "a.example", "https", FOREIGN),
    "two origins": ("https://a.example https://b.example", "a.example", "https", FOREIGN),
    "two origins, with a comma": ("https://a.example, https://b", "a.example", "https", FOREIGN),
    "a port that is none": ("https://a.example:x", "a.example", "https", FOREIGN),
    "any port, literally": ("https://a.example:*", "a.example:*", "https", FOREIGN),
    "an open bracket": ("http://[::1", "[::1", "http", FOREIGN),
    "two Hosts": ("https://a.example,b", "a.example,b", "https", FOREIGN),
    "NUL": ("https://a.example\0", "a.example\0", "https", FOREIGN),
}


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "verdict"), SAME_OR_NOT.values(), ids=SAME_OR_NOT.keys()
)
def test_only_the_own_origin_is_allowed_without_patterns(origin, host, scheme, verdict):
    """§6.2"""
    assert OriginPolicy().judge(request(origin, host, scheme)) is verdict


# -- patterns --------------------------------------------------------------------------------

APP = "https://app.example.com"
ORG = "https://*.example.org"
PATTERNS = {
    # id: (patterns, origin, verdict); the site itself is https://own.example
    "listed": (APP, APP, LISTED),
    "listed in other case": ("HTTPS://APP.Example.com", APP, LISTED),
    "asked in other case": (APP, "HTTPS://APP.Example.com", LISTED),
    "first of two": (f"{APP},{ORG}", APP, LISTED),
    "second of two": (f"{APP}, {ORG}", "https://x.example.org", LISTED),
    "with empty parts": (f" ,{APP},,", APP, LISTED),
    "from a list": ([f" {APP} ", ORG], APP, LISTED),
    "from a tuple": ((ORG, APP), APP, LISTED),
    "not listed": (APP, "https://evil.example", FOREIGN),
    "the own one beside a list": (APP, "https://own.example", SAME),
    "default port in the pattern": (f"{APP}:443", APP, LISTED),
    "default port in the origin": (APP, f"{APP}:443", LISTED),
    "another port": (APP, f"{APP}:8443", FOREIGN),
    "a port of its own": (f"{APP}:8443", f"{APP}:8443", LISTED),
    "a port of its own, not asked": (f"{APP}:8443", APP, FOREIGN),
    "another scheme": (APP, "http://app.example.com", FOREIGN),
    "another scheme, same port": (f"{APP}:80", "http://app.example.com", FOREIGN),
    "any port, the default": ("http://localhost:*", "http://localhost", LISTED),
    "any port, another": ("http://localhost:*", "http://localhost:5173", LISTED),
    "any port, another scheme": ("http://localhost:*", "https://localhost:5173", FOREIGN),
    "any port, another host": ("http://localhost:*", "http://localhost.evil:80", FOREIGN),
    "one label": (ORG, "https://x.example.org", LISTED),
    "many labels": (ORG, "https://x.y.z.example.org", LISTED),
    "a label in other case": (ORG, "https://X.Example.Org", LISTED),
    "not the bare domain": (ORG, "https://example.org", FOREIGN),
    "not an empty label": (ORG, "https://.example.org", FOREIGN),
    "not without the dot": (ORG, "https://evilexample.org", FOREIGN),
    "not with something behind": (ORG, "https://x.example.org.evil", FOREIGN),
    "not as a user": (ORG, "https://evil.example@x.example.org", FOREIGN),
    "not behind a slash": (ORG, "https://evil.example/.example.org", FOREIGN),
    "not behind a backslash": (ORG, "https://evil.example\\.example.org", FOREIGN),
    "not behind a hash": (ORG, "https://evil.example#.example.org", FOREIGN),
    "not behind a question mark": (ORG, "https://evil.example?.example.org", FOREIGN),
    "not behind a comma": (ORG, "https://evil.example,x.example.org", FOREIGN),
    "not behind a line break": (ORG, "https://evil.example\n.example.org", FOREIGN),
    "not the pattern itself": (ORG, ORG, FOREIGN),
    "labels in another scheme": (ORG, "http://x.example.org", FOREIGN),
    "labels on another port": (ORG, "https://x.example.org:8443", FOREIGN),
    "labels on any port": (f"{ORG}:*", "https://x.example.org:8443", LISTED),
    "host only, https": ("app.example.com", APP, LISTED),
    "host only, http": ("app.example.com", "http://app.example.com", LISTED),
    "host only, any port": ("app.example.com", "http://app.example.com:8080", LISTED),
    "host only, another host": ("app.example.com", "https://example.com", FOREIGN),
    "host only, of an app": ("localhost", "capacitor://localhost", LISTED),
    "host and port": ("localhost:5173", "http://localhost:5173", LISTED),
    "host and port, another port": ("localhost:5173", "http://localhost:5174", FOREIGN),
    "host and any port": ("localhost:*", "http://localhost:5174", LISTED),
    "labels, host only": ("*.example.org", "http://x.example.org:81", LISTED),
    "labels, host only, bare": ("*.example.org", "http://example.org", FOREIGN),
    "a scheme without default port": ("chrome-extension://abc", "chrome-extension://abc", LISTED),
    "another extension": ("chrome-extension://abc", "chrome-extension://abd", FOREIGN),
    "a WebSocket URL means its page": ("wss://app.example.com", APP, LISTED),
    "the same without TLS": ("ws://localhost:8000", "http://localhost:8000", LISTED),
    "an IPv6 address": ("http://[::1]:*", "http://[::1]:5173", LISTED),
    "null is not listed": (APP, "null", FOREIGN),
    "null by null": ("null", "null", LISTED),
    "NULL by null": ("NULL", "Null", LISTED),
    "null allows nothing else": ("null", "https://evil.example", FOREIGN),
    "null by *": ("*", "null", ANY),
    "null by null, beside *": ("*,null", "null", LISTED),
    "anything by *": ("*", "https://evil.example", ANY),
    "nonsense by *": ("*", "nonsense", ANY),
    "listed beside *": (f"*,{APP}", APP, LISTED),
    "the own one beside *": ("*", "https://own.example", SAME),
    "no Origin beside *": ("*", None, NO_ORIGIN),
    "nothing listed": ("", "https://evil.example", FOREIGN),
    "only commas listed": (" , ,", "https://evil.example", FOREIGN),
    "prefix": (APP, "https://app.example.com.evil", FOREIGN),
    "suffix": (APP, "https://evil.app.example.com", FOREIGN),
    "dot is no wildcard": (APP, "https://appxexample.com", FOREIGN),
}


@pytest.mark.parametrize(("patterns", "origin", "verdict"), PATTERNS.values(), ids=PATTERNS.keys())
def test_patterns_allow_what_they_name(patterns, origin, verdict):
    """§6.2"""
    assert OriginPolicy(patterns).judge(request(origin, "own.example")) is verdict


BAD_PATTERNS = [
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://user@app.example.com",
    "https://app.example.com:",
    "https://app.example.com:port",
    "https://app.*.com",
    "https://app*.example.com",
    "https://*",
    "*:*",
    "*:8000",
    "*.",
    "https://*.",
    "https://*..example.org",
    "*.*.example.org",
    "https://",
    "://app.example.com",
    "https:app.example.com",
    "https//app.example.com",
    "https://app.example.com https://b.example",
    "https://app.example.com;https://b.example",
    "https://[::1",
    "https://a?b",
    "https://a\\b",
    "https://müller.example",
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_a_malformed_pattern_is_a_configuration_error(pattern):
    """§6.1: it names the entry; a pattern that matches nothing would be silence."""
    with pytest.raises(ConfigurationError) as caught:
        OriginPolicy(f"https://good.example,{pattern}")
    assert repr(pattern) in str(caught.value)
    assert "write '*', 'https://app.example.com'" in str(caught.value)


@pytest.mark.parametrize("patterns", [None, 7, [None], [7], [b"*"], True], ids=repr)
def test_patterns_that_are_no_texts_are_a_configuration_error(patterns):
    """§6.1: a YAML file may hold anything."""
    with pytest.raises(ConfigurationError, match="write texts, or one with commas"):
        OriginPolicy(patterns)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=40), st.sampled_from(["", ORG, "null"]))
def test_any_origin_is_judged_and_only_a_match_is_allowed(origin, patterns):
    """§6.2"""
    verdict = OriginPolicy(patterns).judge(request(origin, "own.example"))
    host = origin.strip().lower().removesuffix(":443")
    assert (verdict is SAME) == (host == "https://own.example")
    assert verdict is not LISTED or host == "null" or host.endswith(".example.org")


# -- behind a proxy --------------------------------------------------------------------------

PROXY = {"REMOTE_ADDR": "10.0.0.7"}
TLS = {"HTTP_X_FORWARDED_PROTO": "https"}
NAMED = {"HTTP_X_FORWARDED_HOST": "app.example.com"}


def behind(**more):
    """Return a request that a proxy passes on to our plain port."""
    return request(APP, **{"host": "10.0.0.1:8000", "scheme": "http", **PROXY, **more})


PROXIED = {
    # id: (trusted, environ, own origin)
    "scheme and host": ("10.0.0.7", {**TLS, **NAMED}, APP),
    "from a network": ("192.168.0.0/16, 10.0.0.0/8", {**TLS, **NAMED}, APP),
    "from a network with host bits": ("10.0.0.99/8", {**TLS, **NAMED}, APP),
    "from a list": (["127.0.0.1", "10.0.0.7"], {**TLS, **NAMED}, APP),
    "from an IPv6 address": ("fd00::/8", {**TLS, **NAMED, "REMOTE_ADDR": "fd00::7"}, APP),
    "IPv4 inside of IPv6": ("10.0.0.7", {**TLS, **NAMED, "REMOTE_ADDR": "::ffff:10.0.0.7"}, APP),
    "Host passed on": ("10.0.0.7", {**TLS, "host": "app.example.com"}, APP),
    "scheme in capitals": ("10.0.0.7", {"HTTP_X_FORWARDED_PROTO": "HTTPS", **NAMED}, APP),
    "wss, as some proxies say": ("10.0.0.7", {"HTTP_X_FORWARDED_PROTO": "wss", **NAMED}, APP),
    "WSS, in capitals": ("10.0.0.7", {"HTTP_X_FORWARDED_PROTO": "WSS", **NAMED}, APP),
    "the nearest proxy's word": (
        "10.0.0.7",
        {
            "HTTP_X_FORWARDED_PROTO": "http, https",
            "HTTP_X_FORWARDED_HOST": "evil.example, app.example.com",
        },
        APP,
    ),
    "a port beside the host": (
        "10.0.0.7",
        {**TLS, **NAMED, "HTTP_X_FORWARDED_PORT": "8443"},
        f"{APP}:8443",
    ),
    "a port in the host": (
        "10.0.0.7",
        {**TLS, "HTTP_X_FORWARDED_HOST": "app.example.com:8443", "HTTP_X_FORWARDED_PORT": "443"},
        f"{APP}:8443",
    ),
    "a port beside an IPv6 address": (
        "10.0.0.7",
        {**TLS, "HTTP_X_FORWARDED_HOST": "[::1]", "HTTP_X_FORWARDED_PORT": "8443"},
        "https://[::1]:8443",
    ),
    "an empty word": ("10.0.0.7", {**TLS, **NAMED, "HTTP_X_FORWARDED_PORT": ""}, APP),
    "only the scheme": ("10.0.0.7", TLS, "https://10.0.0.1:8000"),
    "nothing said": ("10.0.0.7", {}, "http://10.0.0.1:8000"),
    "nobody trusted": ("", {**TLS, **NAMED}, "http://10.0.0.1:8000"),
    "another one trusted": ("10.0.0.8", {**TLS, **NAMED}, "http://10.0.0.1:8000"),
    "another network trusted": ("fd00::/8", {**TLS, **NAMED}, "http://10.0.0.1:8000"),
    "no address": ("10.0.0.7", {**TLS, **NAMED, "REMOTE_ADDR": None}, "http://10.0.0.1:8000"),
    "no IP address": (
        "0.0.0.0/0",
        {**TLS, **NAMED, "REMOTE_ADDR": "unix:"},
        "http://10.0.0.1:8000",
    ),
}


@pytest.mark.parametrize(("trusted", "changes", "own"), PROXIED.values(), ids=PROXIED.keys())
def test_forwarded_headers_count_from_trusted_proxies_only(trusted, changes, own):
    """§6.2"""
    policy = OriginPolicy(trusted_proxies=trusted)
    claim = behind(**changes)
    assert policy.judge(claim._replace(origin=own)) is SAME
    assert policy.judge(claim._replace(origin="https://evil.example")) is FOREIGN


def test_nonsense_from_a_trusted_proxy_is_no_origin():
    """§6.2"""
    policy = OriginPolicy(trusted_proxies="10.0.0.7")
    claim = behind(HTTP_X_FORWARDED_HOST="a/b")
    assert policy.own_origin(claim) is None
    assert policy.judge(claim) is FOREIGN
    assert policy.judge(claim._replace(origin="nonsense")) is FOREIGN


def test_the_own_origin_has_an_explicit_port():
    """§3.2: it is shown in the log when an origin is refused."""
    policy = OriginPolicy()
    assert policy.own_origin(request(APP, "A.example")) == Origin("https", "a.example", "443")
    assert policy.own_origin(request(APP, "a.example:81")) == Origin("https", "a.example", "81")


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "10.0.0", "::1/129", "*", "a b"])
def test_a_malformed_proxy_is_a_configuration_error(text):
    """§10.1: `GREENRELAY_TRUSTED_PROXIES`"""
    with pytest.raises(ConfigurationError, match="write '127.0.0.1' or '10.0.0.0/8'"):
        parse_network(text)


@pytest.mark.parametrize("proxies", [None, 7, [7], [b"10.0.0.7"]], ids=repr)
def test_proxies_that_are_no_texts_are_a_configuration_error(proxies):
    """§10.1: neither is 7 the address 0.0.0.7."""
    with pytest.raises(ConfigurationError, match="write texts, or one with commas"):
        OriginPolicy(trusted_proxies=proxies)
