"""Every exception greenrelay raises, sorted by whose fault it is.

    GreenRelayError
    ├── ConfigurationError        the app's: a header, an option or a router is wrong
    ├── RefusedError              the peer's: no relay for this request, with the HTTP answer
    ├── ProtocolError             the peer's: bytes that break RFC 6455, with the close code
    ├── InvalidPID                the caller's: a text that is not a PID
    ├── NotAProcess               the caller's: the call needs a process around it
    ├── ResponseStarted           the caller's: too late to switch to an event stream
    ├── NoEventStream             the caller's: there is no request to answer with events
    ├── ClientGone                the peer's: nobody reads this event stream any more
    ├── NotACall                  the caller's: nobody waits for this reply
    ├── NameNotRegistered         the caller's: nobody holds the name
    ├── NameTaken                 the caller's: somebody else holds the name
    ├── LoopStopped               nobody's: the event loop that was asked has ended
    ├── CallTimeout               nobody's: the callee took too long
    ├── ProcessDown               the callee's: it died before it replied
    ├── NotPortable               the caller's: a value that can't leave its node
    ├── EnvelopeError             the sender's: bytes of another node that are not taken, by kind
    └── ClusterError              nobody's: other nodes can't be reached

The classes import nothing and carry numbers and strings only, so that every
layer can raise them.
"""

from __future__ import annotations


class GreenRelayError(Exception):
    """Catch this to catch everything that greenrelay raises on purpose."""


class ConfigurationError(GreenRelayError, ValueError):
    """Correct the app's configuration: the text names the key and what to write instead."""


class RefusedError(GreenRelayError):
    """Answer the request with an HTTP status instead of upgrading it.

    Args:
        status: HTTP status line without the version, `"426 Upgrade Required"`.
        body: one line of text for the client, without details.
        headers: further response headers.
        detail: what exactly was wrong, for the log.
        advice: where that comes from most often and what to write then, if somebody's mistake
            may be behind it: it is a warning.
    """

    def __init__(
        self,
        status: str,
        body: str,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        detail: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(detail or body)
        self.status = status
        self.body = body
        self.headers = headers
        self.detail = detail or body
        self.advice = advice

    @property
    def close_code(self) -> int:
        """The close code that says the same on a connection that is upgraded already."""
        return {"403": 1008, "500": 1011, "503": 1013}.get(self.status[:3], 1002)


class ProtocolError(GreenRelayError):
    """Fail the WebSocket connection with this close code.

    Args:
        close_code: status code for the close frame. Source: RFC 6455 §7.4.1.
        reason: text for the close frame, at most 123 bytes of UTF-8.
    """

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class InvalidPID(GreenRelayError, ValueError):
    """Pass a PID as `spawn()` returned it; the text names what is wrong with this one."""


class NotAProcess(GreenRelayError, RuntimeError):
    """Call this inside a process; the text says how to start one."""


class ResponseStarted(GreenRelayError, RuntimeError):
    """Call `write_event()` before the view's ordinary output begins."""


class NoEventStream(GreenRelayError, RuntimeError):
    """Call `write_event()` in a view of an app that has `GreenRelay(app)`."""


class ClientGone(GreenRelayError, ConnectionError):
    """End the view: its client has left."""


class NotACall(GreenRelayError, RuntimeError):
    """Reply to messages of `call()` only; answer others with `send()`."""


class NameNotRegistered(GreenRelayError, LookupError):
    """Register the name first, or send to a PID."""


class NameTaken(GreenRelayError, ValueError):
    """Choose another name, or talk to the process that holds this one.

    Args:
        name: the name that is taken.
        holder: text of the PID that holds it.
    """

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"the name {name!r} is taken by {holder}")
        self.name = name
        self.holder = holder


class LoopStopped(GreenRelayError, RuntimeError):
    """Ask no more: the event loop that this thread's call was handed to has ended."""


class CallTimeout(GreenRelayError, TimeoutError):
    """Try again, or give the callee longer than `timeout` seconds."""


class ProcessDown(GreenRelayError):
    """Expect no reply: the callee ended.

    Args:
        pid: text of the callee's PID.
        reason: its exit reason, `"noproc"` when it was dead before the call.
    """

    def __init__(self, pid: str, reason: str) -> None:
        super().__init__(f"{pid} is down: {reason}")
        self.pid = pid
        self.reason = reason


class NotPortable(GreenRelayError, TypeError):
    """Send what other nodes can read; the text names the value and its path."""


class EnvelopeError(GreenRelayError, ValueError):
    """Drop the bytes, and count them under `kind`.

    Args:
        kind: `malformed`, `newer_version`, `foreign`, `unsigned`, `forged`, `replayed` or
            `too_big`.
        detail: what exactly was wrong, for the log.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class ClusterError(GreenRelayError, ConnectionError):
    """Look at the cluster's URL and at what it names; the text says in one line what is wrong."""
