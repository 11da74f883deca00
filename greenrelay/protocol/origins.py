"""Which web pages may open a relay: the Origin rule of both relays, without I/O.

A browser names the page's origin in `Origin`; other clients send none. The
relay carries the user's cookies, so a foreign page must not get one by asking
(cross-site WebSocket hijacking).

    pattern        = "*" | "null" | [scheme "://"] host [":" port]
    host           = name | "*." name | "[" IPv6 "]"      ("*." stands for one label or more)
    port           = digits | "*"         (absent: the scheme's default; without a scheme: any)

    read_claim(environ) ─► Claim ─► OriginPolicy.judge ─► Verdict

By hand, because Flask-CORS adds headers to an answer and refuses nobody, and Werkzeug's `ProxyFix`
believes `X-Forwarded-*` whoever sends them.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from greenrelay.errors import ConfigurationError

_DEFAULT_PORTS = {"http": "80", "https": "443"}
# In patterns that were copied from a URL, and from proxies, these stand for the page's scheme.
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}

_SCHEME = r"(?P<scheme>[a-z][a-z0-9+.-]*)"
_ADDRESS = r"\[[0-9a-f:.]+\]"
_NAME = r"(?!\.)[a-z0-9._~!$&'()+;=%-]+"
_ORIGIN = re.compile(
    rf"{_SCHEME}://(?P<host>{_ADDRESS}|{_NAME})(?::(?P<port>\d+))?",
    re.ASCII,
)
_PATTERN = re.compile(
    rf"(?:{_SCHEME}://)?(?P<host>{_ADDRESS}|(?:\*\.)?{_NAME})(?::(?P<port>\d+|\*))?",
    re.ASCII,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Origin(NamedTuple):
    """Scheme, host and port in lower case; the port is always explicit in a real origin."""

    scheme: str
    host: str
    port: str


class Claim(NamedTuple):
    """What a request says of the page it comes from and the site it is for; nothing is checked."""

    origin: str
    """The page's, as the browser has sent it."""
    scheme: str
    host: str
    """With its port; both are what the server was asked for."""
    address: str
    """Of who has sent the request here: the browser, or a proxy."""
    forwarded_scheme: str = ""
    forwarded_host: str = ""
    forwarded_port: str = ""
    """What proxies say, each behind a comma."""


class Verdict(enum.Enum):
    """Why a request may, or may not, open a relay."""

    NO_ORIGIN = "no Origin header"
    SAME = "same origin"
    LISTED = "a pattern names it"
    ANY = "only * matched"
    FOREIGN = "foreign origin"


class OriginPolicy:
    """Decide on origins.

    Args:
        patterns: comma-separated patterns, or an iterable of them; none: same origin only.
        trusted_proxies: addresses or networks whose `X-Forwarded-*` are believed.

    Raises:
        ConfigurationError: a pattern or an address is malformed, or no text at all.
    """

    def __init__(
        self, patterns: str | Iterable[str] = (), trusted_proxies: str | Iterable[str] = ()
    ) -> None:
        texts = [text.lower() for text in _split(patterns)]
        self._any = "*" in texts
        self._null = "null" in texts
        self._patterns = [_parse_pattern(text) for text in texts if text not in ("*", "null")]
        self._proxies = [parse_network(text) for text in _split(trusted_proxies)]

    def judge(self, claim: Claim | None) -> Verdict:
        """Return the verdict on a request.

        Args:
            claim: its; `None`: it comes from no page.
        """
        if claim is None:
            return Verdict.NO_ORIGIN
        text = claim.origin.strip().lower()
        is_listed = text == "null" and self._null
        origin = _parse_origin(text)
        if origin is not None:
            own = self._own_text(claim)
            if text == own or origin == _parse_origin(own):  # the former, nearly always
                return Verdict.SAME
            is_listed = any(_matches(pattern, origin) for pattern in self._patterns)
        if is_listed:
            return Verdict.LISTED
        return Verdict.ANY if self._any else Verdict.FOREIGN

    def own_origin(self, claim: Claim) -> Origin | None:
        """Return the origin of the site as the client sees it; `None`: the Host is malformed."""
        return _parse_origin(self._own_text(claim))

    def _own_text(self, claim: Claim) -> str:
        scheme, host = claim.scheme, claim.host
        if self._proxies and self._is_proxy(claim.address):
            scheme = _last(claim.forwarded_scheme) or scheme
            host = _last(claim.forwarded_host) or host
            port = _last(claim.forwarded_port)
            if port and not re.search(r":\d+$", host):
                host = f"{host}:{port}"
        return f"{scheme}://{host}".lower()

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        # On a socket for both families IPv4 clients look like this: ::ffff:10.0.0.7
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._proxies)


def read_claim(environ: Mapping[str, Any]) -> Claim | None:
    """Return what a WSGI environ says; `None`: no page has sent it, for browsers name theirs."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return None
    return Claim(
        origin,
        environ.get("wsgi.url_scheme", "http"),
        environ.get("HTTP_HOST", ""),
        environ.get("REMOTE_ADDR", ""),
        environ.get("HTTP_X_FORWARDED_PROTO", ""),
        environ.get("HTTP_X_FORWARDED_HOST", ""),
        environ.get("HTTP_X_FORWARDED_PORT", ""),
    )


def parse_network(text: str) -> Network:
    """Return the network a text like `127.0.0.1` or `10.0.0.0/8` names.

    Raises:
        ConfigurationError: it names none.
    """
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"trusted proxy {text!r} is no address or network; write '127.0.0.1' or '10.0.0.0/8'"
        ) from None


def _split(value: str | Iterable[str]) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    parts = list(parts) if isinstance(parts, Iterable) else [parts]
    if not all(isinstance(part, str) for part in parts):
        raise ConfigurationError(f"write texts, or one with commas between, not {value!r:.80}")
    return [part.strip() for part in parts if part.strip()]


def _last(value: str) -> str:
    # The nearest proxy appends; what stands before came from farther away.
    return value.rsplit(",", 1)[-1].strip()


def _parse_origin(text: str) -> Origin | None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme = _PAGE_SCHEMES.get(match["scheme"], match["scheme"])
    return Origin(scheme, match["host"], match["port"] or _DEFAULT_PORTS.get(scheme, ""))


def _parse_pattern(text: str) -> Origin:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"origin pattern {text!r} is malformed; write '*', 'https://app.example.com', "
            "'https://*.example.org', 'app.example.com' or 'http://localhost:*' "
            "(beyond ASCII in its xn-- form)"
        )
    scheme = _PAGE_SCHEMES.get(match["scheme"], match["scheme"] or "*")
    return Origin(scheme, match["host"], match["port"] or _DEFAULT_PORTS.get(scheme, "*"))


def _matches(pattern: Origin, origin: Origin) -> bool:
    if pattern.scheme not in ("*", origin.scheme) or pattern.port not in ("*", origin.port):
        return False
    if pattern.host.startswith("*."):
        return origin.host.endswith(pattern.host[1:])  # and no host begins with the dot
    return pattern.host == origin.host
