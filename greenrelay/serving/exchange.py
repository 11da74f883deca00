"""One request on our server: what it brings, and whose bytes may answer it.

    plain request     a body; the answer is what the app returns
    upgrade request   no body. The view may use `wsgi.websocket`, or a duplicate of the socket
                      past the server; then that is the answer, and what the app returns is not sent

One rule: pywsgi's handler serves all requests of a client, an exchange exactly one. So nothing
has to be set back, and nothing of one request can be taken for the next one's.
"""

from __future__ import annotations

from greenrelay.errors import RefusedError
from greenrelay.serving.body import RequestBody
from greenrelay.serving.bypass import Bypass
from greenrelay.serving.legacy import LegacyWebSocket


class Exchange:
    """A request and its answer.

    Args:
        body: the request's; `None`: it is an upgrade request, or its head is not read yet.
        websocket: what an upgrade request's view may use as `wsgi.websocket`.
        bypass: the same request's socket, on which the view may answer by itself.
    """

    __slots__ = ("_bypass", "body", "drops_answer", "websocket")

    def __init__(
        self,
        body: RequestBody | None = None,
        websocket: LegacyWebSocket | None = None,
        bypass: Bypass | None = None,
    ) -> None:
        self.body = body
        self.websocket = websocket
        self.drops_answer = False
        """Whether what the app still writes is not sent: the client has got another answer."""
        self._bypass = bypass

    @property
    def fault(self) -> RefusedError | None:
        """What is wrong with the body: it is the answer, whatever the app makes of it."""
        return None if self.body is None else self.body.fault

    def is_bypassed(self) -> bool:
        """Tell whether the view has sent on the socket; ask only while the server has not."""
        return self._bypass is not None and self._bypass.is_used()

    def drop_answer(self) -> None:
        """Send nothing more of what the app writes."""
        self.drops_answer = True

    def ends_connection(self) -> bool:
        """Tell whether no request can follow, as what the app leaves of the body can't be read."""
        return self.body is not None and not self.body.is_worth_reading()

    def let_go(self) -> None:
        """End: what the view has not used it never will."""
        if self.websocket is not None:
            self.websocket.expire()

    def give_up_body(self) -> None:
        """Read no more of the body, and ask the client for none: only the answer may go out."""
        if self.body is not None:
            self.body.answer_instead()
