"""The body of a response, made on the node and in the app of its request.

Servers iterate a body when the WSGI call has returned: a generator's code runs then. It
belongs to its request all the same, and so does what it spawns. Rule: whatever the server
may do with a body (send a file by itself, look at its length, close it) it still may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from greenrelay.processes.current import Scope

_END: Final = object()


class ScopedBody:
    """A body whose every step is made in its request's scope.

    Args:
        body: what the app has returned.
        scope: entered anew for each step: between two the server serves others.
    """

    __slots__ = ("_body", "_chunks", "_scope")

    def __init__(self, body: Iterable[bytes], scope: Scope) -> None:
        self._body = body
        self._scope = scope
        self._chunks: Iterator[bytes] | None = None

    def __iter__(self) -> ScopedBody:
        return self

    def __next__(self) -> bytes:
        with self._scope:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk: Any = next(self._chunks, _END)
        if chunk is _END:
            raise StopIteration
        return chunk  # type: ignore[no-any-return]  # whatever the app yields

    def close(self) -> None:
        """Close what the app has returned, if it can be closed."""
        with self._scope:
            close_body(self._body)


def scoped(body: Iterable[bytes], wrapper: Any, scope: Scope) -> Iterable[bytes]:
    """Return the body as its server should get it: as it is, if no code of the app is behind it.

    Args:
        wrapper: the server's `wsgi.file_wrapper`, or none.
    """
    if isinstance(body, (list, tuple)) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
        return body
    return ScopedBody(body, scope)


def close_body(body: Iterable[bytes]) -> None:
    """Tell a body that nobody will ask for more of it."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
