"""What a request is refused with, in one table: on our server, by a relay, or by either.

    what stands against it ─► Refusal, a row ─► error() ─► RefusedError, raised ─► the answer

A client reads one line without details. The rest is the operator's: what exactly was wrong, and
where it comes from most often, if somebody's mistake may be behind it. Two rules: no request is
refused with a status that is not in a row here; a row is a value, and each error is made anew, as
one that is raised twice would keep the first request.

What breaks a grammar is 400 with a text of its own, which stands where the grammar is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from greenrelay.errors import RefusedError
from greenrelay.pid import PID
from greenrelay.protocol.origins import Origin
from greenrelay.wire import MAX_HEAD_BYTES, RETRY_AFTER_SECONDS

Headers = list[tuple[str, str]]

OK: Final = "200 OK"
MAX_REQUEST_LINE_BYTES: Final = 8 * 1024
"""As pywsgi, whose answer has no body that says why."""
MAX_HEAD_LINES: Final = 100
"""The request line included; as the standard library's parser, which pywsgi would use."""
WEBSOCKET_VERSION: Final = "13"
"""The only one there is. Source: RFC 6455 §4.1."""


class Refusal(NamedTuple):
    """One way to refuse a request; the fields are `RefusedError`'s."""

    status: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    detail: str = ""
    advice: str = ""

    def error(self, detail: str = "", headers: tuple[tuple[str, str], ...] = ()) -> RefusedError:
        """Return what to raise.

        Args:
            detail: what exactly was wrong, instead of the row's.
            headers: instead of the row's.
        """
        return RefusedError(
            self.status,
            self.body,
            headers or self.headers,
            detail=detail or self.detail,
            advice=self.advice,
        )


_BAD_REQUEST: Final = "400 Bad Request"
_TIMEOUT: Final = "408 Request Timeout"
_UPGRADE: Final = "426 Upgrade Required"
_UNAVAILABLE: Final = "503 Service Unavailable"

_TO_WEBSOCKET: Final = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
_RETRY: Final = (("Retry-After", str(RETRY_AFTER_SECONDS)),)

_ADVICE_501: Final = (
    "Most often it is (1) flask run or app.run(): use greenrelay serve; (2) gunicorn without "
    "-k gevent; (3) Flask's test client: use the fixture relay_server"
)
_ADVICE_403: Final = (
    "Most often it is (1) a proxy in front, which ends TLS or changes the Host: put its address "
    "into GREENRELAY_TRUSTED_PROXIES; (2) a page of another site or port: put its origin into "
    "GREENRELAY_ALLOWED_ORIGINS; (3) a page that was opened under another name, such as localhost "
    "for 127.0.0.1: let it connect to location.host"
)
_ADVICE_503: Final = (
    "Most often (1) its function has returned or crashed: let it wait in "
    "`for message in process.inbox()`; (2) its PID is from another worker, or from before a "
    "restart: run one worker; (3) the view has kept a PID: get it anew from spawn(…, name=…)"
)
_ADVICE_QUOTA: Final = (
    "Most often (1) there are more people than GREENRELAY_MAX_CONNECTIONS allows for; (2) all are "
    "counted under a proxy's address: put ProxyFix around the app before GreenRelay(app); (3) a "
    "page connects again and again, and never closes"
)

# -- the request's head ----------------------------------------------------------------------------
HEAD_TOO_SLOW: Final = Refusal(_TIMEOUT, "the request head took too long")
LINE_TOO_LONG: Final = Refusal(
    "414 URI Too Long", f"a request line has {MAX_REQUEST_LINE_BYTES >> 10} KiB at most"
)
HEAD_TOO_LARGE: Final = Refusal(
    "431 Request Header Fields Too Large",
    f"a request head has {MAX_HEAD_BYTES >> 10} KiB and {MAX_HEAD_LINES} lines at most",
)
MIXED_LINE_ENDS: Final = Refusal(_BAD_REQUEST, "the head's lines end in different ways")
HOST_NOT_ONCE: Final = Refusal(_BAD_REQUEST, "Host must be there once")
BODY_ON_UPGRADE: Final = Refusal(_BAD_REQUEST, "an upgrade request has no body")

# -- the request's body ----------------------------------------------------------------------------
BODY_TOO_SLOW: Final = Refusal(_TIMEOUT, "the request body took too long")
BODY_MALFORMED: Final = Refusal(_BAD_REQUEST, "the request body is malformed")
BODY_NOT_SENT: Final = Refusal(_BAD_REQUEST, "the client left before the body")
BODY_BROKEN_OFF: Final = Refusal(_BAD_REQUEST, "the client left in the middle of the body")

# -- the handshake ---------------------------------------------------------------------------------
NOT_AN_UPGRADE: Final = Refusal(
    _UPGRADE, "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket", _TO_WEBSOCKET
)
NOT_GET: Final = Refusal(
    "405 Method Not Allowed", "a WebSocket is opened with GET", (("Allow", "GET"),)
)
OTHER_VERSION: Final = Refusal(
    _UPGRADE,
    f"Sec-WebSocket-Version must be {WEBSOCKET_VERSION}",
    (("Sec-WebSocket-Version", WEBSOCKET_VERSION), *_TO_WEBSOCKET),
)

# -- the relay -------------------------------------------------------------------------------------
FOREIGN_ORIGIN: Final = Refusal("403 Forbidden", "origin not allowed", advice=_ADVICE_403)
TARGET_GONE: Final = Refusal(_UNAVAILABLE, "relay target is gone", advice=_ADVICE_503)
SERVER_FULL: Final = Refusal(
    _UNAVAILABLE, "this server has too many connections", _RETRY, advice=_ADVICE_QUOTA
)
ADDRESS_FULL: Final = Refusal(
    _UNAVAILABLE, "this address has too many connections", _RETRY, advice=_ADVICE_QUOTA
)
STOPPING: Final = Refusal(_UNAVAILABLE, "server is stopping", _RETRY)
NO_CLUSTER: Final = Refusal(_UNAVAILABLE, "the cluster is away", _RETRY)
NO_SOCKET: Final = Refusal(
    "501 Not Implemented",
    "this server's sockets can't be taken; run the app with greenrelay serve, "
    "gunicorn -k gevent, or gevent.pywsgi",
    advice=_ADVICE_501,
)
BAD_CONFIGURATION: Final = Refusal("500 Internal Server Error", "invalid relay configuration")
"""Only the log says what is wrong with it."""

# -- the event stream that there is nothing of: its own headers, and no line of text ---------------
NOTHING_TO_STREAM: Final = Refusal(OK, "", detail="HEAD has no body to stream")
STREAM_ENDED: Final = Refusal(OK, "", detail="the server is stopping")


def bad_request(text: str) -> RefusedError:
    """Return the refusal of a request that breaks a grammar.

    Args:
        text: how, in one line for the client.
    """
    return RefusedError(_BAD_REQUEST, text)


def foreign_origin(origin: str, own: Origin | None) -> RefusedError:
    """Return the refusal of a page that may not open a relay.

    Args:
        origin: the page's.
        own: the site's; `None`: its Host is malformed.
    """
    shown = f"{own.scheme}://{own.host}:{own.port}" if own else "unknown, its Host is malformed"
    return FOREIGN_ORIGIN.error(f"{origin!r} is not allowed; this site is {shown!r}")


def target_gone(target: PID, node: str) -> RefusedError:
    """Return the refusal of a relay whose target is not alive.

    Args:
        node: the name of the node that has looked for it.
    """
    if target.node == node:
        return TARGET_GONE.error(f"the target {target} is not alive")
    return TARGET_GONE.error(
        f"the target {target} lives on node {target.node!r}, and this is {node!r}"
    )


def nothing_to_stream(headers: Headers) -> RefusedError:
    """Return the answer to a HEAD: the event stream's headers, and nothing else."""
    return NOTHING_TO_STREAM.error(headers=tuple(headers))


def ended_stream(event: bytes, headers: Headers) -> RefusedError:
    """Return the answer of a server that is stopping: a stream that has ended already.

    A browser's EventSource comes back after the end of a stream, and stays away for good after
    any other status. Source: WHATWG HTML §9.2.3.

    Args:
        event: the stream's last.
    """
    return STREAM_ENDED._replace(body=event.decode()).error(headers=tuple(headers))
