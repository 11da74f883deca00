"""A request at the door: what a relay has to know of it, read once from WSGI's environ.

    read_opening(environ, start_response) ─► Opening ─► route ─► app ─► admission ─► take

Behind the door nobody asks the environ again, but the app and what belongs to WSGI itself.
A request that asks for no relay pays a few look-ups: the handshake is parsed only where there
is one, the origin only where a page has sent it. What stands against the request is a value
here; whoever needs the thing itself gets it, or raises what there is instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from greenrelay.errors import RefusedError
from greenrelay.protocol.handshake import Handshake, check_handshake, is_upgrade
from greenrelay.protocol.origins import Claim, OriginPolicy, Verdict, read_claim
from greenrelay.protocol.refusals import NOT_AN_UPGRADE, foreign_origin
from greenrelay.web.servers import find_socket
from greenrelay.web.taking import RequestSocket


class Opening(NamedTuple):
    """A request that may become a connection."""

    method: str
    path: str
    """As WSGI has it: UTF-8 bytes, each a character."""
    address: str
    """Of the client, or of the proxy before us."""
    handshake: Handshake | RefusedError | None
    """What it offers, or the refusal of a malformed one; `None`: no WebSocket is asked for."""
    claim: Claim | None
    """Which page it comes from; `None`: from none."""
    last_event_id: str | None
    """Of the last event that a browser saw before it had to reconnect."""
    is_multiprocess: bool
    """Whether the server has several workers."""
    socket: RequestSocket
    """How the connection can be had."""

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for a WebSocket at all."""
        return self.handshake is not None

    @property
    def is_head(self) -> bool:
        """Whether the answer has no body."""
        return self.method == "HEAD"

    def require_handshake(self) -> Handshake:
        """Return what the handshake offers.

        Raises:
            RefusedError: it is none.
        """
        handshake = self.handshake
        if handshake is None:
            raise NOT_AN_UPGRADE.error()
        if isinstance(handshake, RefusedError):
            raise handshake
        return handshake

    def check_origin(self, origins: OriginPolicy) -> Verdict:
        """Return why its page may open a relay.

        Raises:
            RefusedError: it may not.
        """
        claim = self.claim
        verdict = origins.judge(claim)
        if verdict is Verdict.FOREIGN:
            assert claim is not None  # else there is no page to be foreign
            raise foreign_origin(claim.origin, origins.own_origin(claim))
        return verdict

    def restated(self, environ: dict[str, Any]) -> Opening:
        """Return it with what the app's own middleware has put right of who asks, and whom.

        That is what Werkzeug's `ProxyFix` does, between us and the app: it writes the client's
        address, and the site's scheme and host, over those of the proxy.
        """
        address = environ.get("REMOTE_ADDR", "")
        claim = None if self.claim is None else read_claim(environ)
        if address == self.address and claim == self.claim:
            return self  # as nearly always
        return self._replace(address=address, claim=claim)


def read_opening(
    environ: dict[str, Any], start_response: Callable[..., Any] | None = None
) -> Opening:
    """Read a request.

    Args:
        environ: the request's.
        start_response: the server's own; without it the socket should not be taken.
    """
    get = environ.get
    last_event_id = get("HTTP_LAST_EVENT_ID")
    return Opening(
        get("REQUEST_METHOD", ""),
        get("PATH_INFO", ""),
        get("REMOTE_ADDR", ""),
        _read_handshake(environ) if "HTTP_UPGRADE" in environ else None,
        read_claim(environ) if "HTTP_ORIGIN" in environ else None,
        None if last_event_id is None else _as_utf8(last_event_id),
        bool(get("wsgi.multiprocess")),
        find_socket(environ, start_response),
    )


def _read_handshake(environ: dict[str, Any]) -> Handshake | RefusedError | None:
    try:
        return check_handshake(environ)
    except RefusedError as refusal:
        # Without its traceback, which would keep the environ.
        return refusal.with_traceback(None) if is_upgrade(environ) else None


def _as_utf8(value: str) -> str:
    # Browsers send it in UTF-8, WSGI has every byte as a character.
    return value.encode("latin-1").decode("utf-8", "replace")
