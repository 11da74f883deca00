"""Routers: what an entry may hold, and which one a path gets (§6.1)."""

import re

import pytest

from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.protocol.origins import OriginPolicy, Verdict, read_claim
from greenrelay.relay.config import Limits
from greenrelay.web.opening import read_opening
from greenrelay.web.routers import default_router, find_router, load_routers

WS, SSE = "X-WS-Relay", "X-SSE-Relay"

YAML = """
- name: ws_router
  kind: http.router
  meta: {server: gateway}
  prefix: /ws
  post_middleware: [websocket_relay]
  post_options:
    wsrelay.allowed.origins: "https://app.example.com,https://*.example.org"
    wsrelay.max.message.size: 65536
    sserelay.allowed.origins: "https://app.example.com"
- name: rest
  prefix: /
  post_middleware:
    - sse_relay
"""


def entry(prefix="/ws", **changes):
    """Return one entry; a value of `None` leaves its key out."""
    values = {"name": "one", "prefix": prefix, "post_middleware": ["websocket_relay"], **changes}
    return {key: value for key, value in values.items() if value is not None}


def load(**changes):
    """Return the one router of one entry."""
    [router] = load_routers([entry(**changes)])
    return router


def judge(rule, origin):
    """Return a rule's verdict on a web page."""
    environ = {"HTTP_ORIGIN": origin, "HTTP_HOST": "site.test", "wsgi.url_scheme": "https"}
    return rule.origins.judge(read_claim(environ))


# -- what an entry says --------------------------------------------------------


def test_file_and_its_entries_say_the_same(tmp_path):
    """§6.1"""
    path = tmp_path / "routers.yaml"
    path.write_text(YAML)
    for source in (path, str(path)):
        ws, rest = load_routers(source)
        assert (ws.name, ws.prefix, set(ws.rules)) == ("ws_router", "/ws", {WS})
        assert (rest.name, rest.prefix, set(rest.rules)) == ("rest", "", {SSE})
        assert ws.rules[WS].limits == Limits(max_message_size=65536)


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        ("https://app.example.com", Verdict.LISTED),
        ("https://a.b.example.org", Verdict.LISTED),
        ("https://example.org", Verdict.FOREIGN),
        ("https://site.test", Verdict.SAME),
    ],
)
def test_origins_are_those_of_the_relay(tmp_path, origin, verdict):
    """§6.1, §6.2"""
    path = tmp_path / "routers.yaml"
    path.write_text(YAML)
    ws, rest = load_routers(path)
    assert judge(ws.rules[WS], origin) is verdict
    assert judge(rest.rules[SSE], origin) is (
        Verdict.SAME if verdict is Verdict.SAME else Verdict.FOREIGN
    )


def test_origins_may_be_a_list():
    router = load(post_options={"wsrelay.allowed.origins": ["https://a.test", "https://b.test"]})
    assert judge(router.rules[WS], "https://b.test") is Verdict.LISTED


OPTIONS = [
    ("wsrelay.dialect", "envelope", "dialect", "envelope"),
    ("wsrelay.max.message.size", 5, "max_message_size", 5),
    ("wsrelay.max.backlog", 6, "max_backlog", 6),
    ("wsrelay.slow.consumer", "drop_new", "slow_consumer", "drop_new"),
    ("wsrelay.ping.interval", "1m30s", "ping_interval", 90.0),
    ("wsrelay.idle.timeout", "500ms", "idle_timeout", 0.5),
    ("wsrelay.max.rate", 0.5, "max_rate", 0.5),
    ("wsrelay.compression", True, "compression", True),
    ("sserelay.max.backlog", 7, "max_backlog", 7),
    ("sserelay.slow.consumer", "drop_old", "slow_consumer", "drop_old"),
    ("sserelay.idle.timeout", "0s", "idle_timeout", 0.0),
]


@pytest.mark.parametrize(("option", "value", "limit", "expected"), OPTIONS)
def test_option_sets_its_relays_limit_and_no_other(option, value, limit, expected):
    """§8"""
    router = load(post_middleware=["websocket_relay", "sse_relay"], post_options={option: value})
    ours, others = (WS, SSE) if option.startswith("ws") else (SSE, WS)
    assert router.rules[ours].limits == Limits(**{limit: expected})
    assert router.rules[others].limits == Limits()


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_router_without_middleware_switches_both_off(nothing):
    """§6.1"""
    assert load(post_middleware=nothing).rules == {}


# -- which one a path gets -----------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ws", "/ws"),
        ("/ws/", "/ws"),
        ("/ws/room/7", "/ws"),
        ("/wsx", "/"),
        ("/ws/admin", "/ws/admin"),
        ("/ws/admin/x", "/ws/admin"),
        ("/ws/administrator", "/ws"),
        ("/", "/"),
        ("", "/"),
        ("/WS", "/"),
        ("/größe/x", "/größe"),
    ],
)
def test_longest_prefix_wins_on_path_segments(path, name):
    """§6.1"""
    prefixes = ["/", "/ws", "/ws/admin", "/größe"]
    routers = load_routers([entry(prefix, name=prefix) for prefix in prefixes])
    environ_path = path.encode().decode("latin-1")  # as WSGI has it
    assert find_router(routers, environ_path).name == name


def test_path_that_no_prefix_matches_has_no_router():
    """§6.1"""
    assert find_router(load_routers([entry("/ws")]), "/") is None


# -- mistakes ------------------------------------------------------------------

MISTAKES = [
    pytest.param({"prefx": "/x"}, ["'one'", "'prefx'", "did you mean 'prefix'?"], id="key"),
    pytest.param({7: "x"}, ["'one'", "7", "known are"], id="key that is no text"),
    pytest.param({"kind": "http.server"}, ["'one'", "kind", "'http.router'"], id="kind"),
    pytest.param({"prefix": "ws"}, ["'one'", "prefix", "'/'", "'ws'"], id="prefix without slash"),
    pytest.param({"prefix": None}, ["'one'", "prefix", "'/'"], id="no prefix"),
    pytest.param({"prefix": 7}, ["'one'", "prefix", "'/'"], id="prefix is no text"),
    pytest.param(
        {"post_middleware": ["websocket"]},
        ["'one'", "post_middleware", "'websocket'", "did you mean 'websocket_relay'?"],
        id="middleware",
    ),
    pytest.param(
        {"post_middleware": "websocket_relay"}, ["'one'", "list like [websocket_relay]"], id="text"
    ),
    pytest.param({"post_middleware": {"a": 1}}, ["'one'", "post_middleware"], id="a mapping"),
    pytest.param(
        {"post_middleware": [["sse_relay"]]}, ["'one'", "unknown ['sse_relay']"], id="lists"
    ),
    pytest.param({"post_middleware": [{}]}, ["'one'", "post_middleware"], id="mapping in a list"),
    pytest.param({"post_options": ["x"]}, ["'one'", "post_options", "mapping"], id="options list"),
    pytest.param(
        {"post_options": {"wsrelay.max.rat": 1}},
        ["'one'", "post_options", "did you mean 'wsrelay.max.rate'?"],
        id="option",
    ),
    pytest.param(
        {"post_options": {"max_rate": 1}}, ["'one'", "'max_rate'"], id="option without its relay"
    ),
    pytest.param({"post_options": {1: 1}}, ["'one'", "unknown 1"], id="option that is no text"),
    pytest.param(
        {"post_options": {"wsrelay.allowed.origins": "https://a b"}},
        ["'one'", "wsrelay.allowed.origins", "'https://a b'"],
        id="origin",
    ),
    pytest.param(
        {"post_options": {"wsrelay.allowed.origins": 7}},
        ["'one'", "wsrelay.allowed.origins"],
        id="origin is a number",
    ),
    pytest.param(
        {"post_options": {"wsrelay.allowed.origins": None}},
        ["'one'", "wsrelay.allowed.origins"],
        id="origin is nothing",
    ),
]


@pytest.mark.parametrize(("changes", "words"), MISTAKES)
def test_mistake_names_entry_and_key(changes, words):
    """§6.1"""
    values = {"name": "one", "prefix": "/ws", "post_middleware": ["websocket_relay"], **changes}
    with pytest.raises(ConfigurationError) as raised:
        load_routers([values])
    for word in words:
        assert word in str(raised.value)


BAD_VALUES = [
    ("wsrelay.max.message.size", -1),
    ("wsrelay.max.message.size", "1 MiB"),
    ("wsrelay.max.message.size", True),
    ("wsrelay.max.backlog", 1.5),
    ("wsrelay.slow.consumer", "drop"),
    ("wsrelay.slow.consumer", ["close"]),
    ("wsrelay.ping.interval", 30),
    ("wsrelay.ping.interval", "-30s"),
    ("wsrelay.idle.timeout", "soon"),
    ("wsrelay.idle.timeout", None),
    ("wsrelay.max.rate", float("nan")),
    ("wsrelay.max.rate", float("inf")),
    ("wsrelay.max.rate", "fast"),
    ("wsrelay.compression", "on"),
    ("wsrelay.dialect", "json"),
    ("sserelay.max.backlog", None),
    ("sserelay.idle.timeout", 7),
]


@pytest.mark.parametrize(("option", "value"), BAD_VALUES)
def test_bad_value_names_entry_and_option(option, value):
    """§6.1"""
    middleware = ["websocket_relay", "sse_relay"]
    with pytest.raises(ConfigurationError, match=f"router 'one': {re.escape(option)}: "):
        load(post_middleware=middleware, post_options={option: value})


def test_bad_value_of_a_relay_that_is_off_is_a_mistake_too():
    """§6.1: found at the start, not on the day it is switched on."""
    with pytest.raises(ConfigurationError, match=re.escape("sserelay.max.backlog")):
        load(post_options={"sserelay.max.backlog": "much"})


@pytest.mark.parametrize(("first", "second"), [("/ws", "/ws"), ("/ws", "/ws/"), ("/", "//")])
def test_duplicate_prefix_names_both_entries(first, second):
    """§6.1"""
    with pytest.raises(ConfigurationError, match="router 'two': prefix .* router 'one'"):
        load_routers([entry(first), entry(second, name="two")])


def test_entry_without_a_name_is_known_by_its_number():
    with pytest.raises(ConfigurationError, match="router 'number 2': prefix"):
        load_routers([entry("/a", name=None), entry("b", name=None)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "is no YAML", id="no YAML"),
        pytest.param("\xff", "is no YAML", id="no UTF-8"),
        pytest.param("", "list of entries, got NoneType", id="empty"),
        pytest.param("prefix: /ws", "list of entries, got dict", id="one entry"),
        pytest.param("- /ws", "router 1 is no mapping but str", id="a list of texts"),
        pytest.param("!!python/object:os.system {}", "is no YAML", id="code"),
    ],
)
def test_file_that_holds_no_routers_is_one_clear_line(tmp_path, text, words):
    path = tmp_path / "routers.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=words):
        load_routers(path)


def test_file_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="nowhere.yaml: No such file"):
        load_routers("nowhere.yaml")


# -- before the handler runs -----------------------------------------------------

PLAIN = {"REQUEST_METHOD": "GET", "HTTP_HOST": "site.test", "wsgi.url_scheme": "https"}
UPGRADE = {
    **PLAIN,
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}
BAD = {**UPGRADE, "HTTP_SEC_WEBSOCKET_KEY": "short"}
FOREIGN = {"HTTP_ORIGIN": "https://evil.test"}
BOTH = ["websocket_relay", "sse_relay"]
FIRST = {
    # id: (relays, prefix, environ, status of the refusal)
    "a WebSocket": (["websocket_relay"], "/ws", UPGRADE, None),
    "no WebSocket": (["websocket_relay"], "/ws", PLAIN, "426"),
    "a bad handshake": (["websocket_relay"], "/ws", BAD, "400"),
    "a bad handshake of a foreign page": (["websocket_relay"], "/ws", {**BAD, **FOREIGN}, "400"),
    "a foreign page": (["websocket_relay"], "/ws", {**UPGRADE, **FOREIGN}, "403"),
    "a stream": (["sse_relay"], "/ws", PLAIN, None),
    "a stream of a foreign page": (["sse_relay"], "/ws", {**PLAIN, **FOREIGN}, "403"),
    "a page beside a WebSocket": (["websocket_relay"], "", PLAIN, None),
    "a WebSocket beside pages": (["websocket_relay"], "", BAD, "400"),
    "either relay, a WebSocket": (BOTH, "/ws", BAD, "400"),
    "either relay, a page": (BOTH, "/ws", {**PLAIN, **FOREIGN}, None),
    "no relay": ([], "/ws", {**BAD, **FOREIGN}, None),
}


@pytest.mark.parametrize(
    ("relays", "prefix", "environ", "status"), FIRST.values(), ids=FIRST.keys()
)
def test_what_is_meant_for_one_relay_is_checked_first(relays, prefix, environ, status):
    """§3.2, §6.1: the handshake, then the page; what may be an ordinary page is let through."""
    router = load(post_middleware=relays, prefix=prefix or "/")
    assert refusal_of(router, environ) == status


def test_without_a_configured_router_the_handler_runs_first():
    """§3.2"""
    router = default_router(Limits(), OriginPolicy())
    assert refusal_of(router, {**BAD, **FOREIGN}) is None


def refusal_of(router, environ):
    """Return the status with which a request is refused before the handler, if it is."""
    try:
        router.check_first(read_opening(environ))
    except RefusedError as refusal:
        return refusal.status[:3]
    return None
