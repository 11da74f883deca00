"""What a relay is refused with, beyond a malformed handshake: the failure table of the reference.

A client reads one line without details. The rest is the operator's: what exactly was wrong, and
where it comes from most often, if somebody's mistake may be behind it.
"""

from __future__ import annotations

from typing import Final

from greenrelay.errors import RefusedError
from greenrelay.pid import PID
from greenrelay.protocol.handshake import Headers
from greenrelay.protocol.origins import Origin
from greenrelay.wire import RETRY_AFTER_SECONDS

OK: Final = "200 OK"
UNAVAILABLE: Final = "503 Service Unavailable"

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


def foreign_origin(origin: str, own: Origin | None) -> RefusedError:
    """Return the refusal of a page that may not open a relay.

    Args:
        origin: the page's.
        own: the site's; `None`: its Host is malformed.
    """
    shown = f"{own.scheme}://{own.host}:{own.port}" if own else "unknown, its Host is malformed"
    return RefusedError(
        "403 Forbidden",
        "origin not allowed",
        detail=f"{origin!r} is not allowed; this site is {shown!r}",
        advice=_ADVICE_403,
    )


def target_gone(target: PID, node: str) -> RefusedError:
    """Return the refusal of a relay whose target is not alive.

    Args:
        node: the name of the node that has looked for it.
    """
    if target.node == node:
        detail = f"the target {target} is not alive"
    else:
        detail = f"the target {target} lives on node {target.node!r}, and this is {node!r}"
    return RefusedError(UNAVAILABLE, "relay target is gone", detail=detail, advice=_ADVICE_503)


def too_many(text: str) -> RefusedError:
    """Return the refusal of one connection more than there may be."""
    return RefusedError(UNAVAILABLE, text, _RETRY, advice=_ADVICE_QUOTA)


def stopping() -> RefusedError:
    """Return the refusal of a server that takes no more connections."""
    return RefusedError(UNAVAILABLE, "server is stopping", _RETRY)


def no_socket() -> RefusedError:
    """Return the refusal of a server that gives no way to take its sockets."""
    return RefusedError(
        "501 Not Implemented",
        "this server's sockets can't be taken; run the app with greenrelay serve, "
        "gunicorn -k gevent, or gevent.pywsgi",
        advice=_ADVICE_501,
    )


def bad_configuration() -> RefusedError:
    """Return the answer to a relay header that is malformed; only the log says how."""
    return RefusedError("500 Internal Server Error", "invalid relay configuration")


def nothing_to_stream(headers: Headers) -> RefusedError:
    """Return the answer to a HEAD: the event stream's headers, and nothing else."""
    return RefusedError(OK, "", tuple(headers), detail="HEAD has no body to stream")


def ended_stream(event: bytes, headers: Headers) -> RefusedError:
    """Return the answer of a server that is stopping: a stream that has ended already.

    A browser's EventSource comes back after the end of a stream, and stays away for good after
    any other status. Source: WHATWG HTML §9.2.3.

    Args:
        event: the stream's last.
    """
    return RefusedError(OK, event.decode(), tuple(headers), detail="the server is stopping")
