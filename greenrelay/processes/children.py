"""What a supervisor starts, and when it starts it again.

`Child` is what is to run, `Running` the process that does, `Restarts` how often that has failed of
late. Rule: what can't work is refused when it is written down, not when it is started.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from greenrelay.message import Request
from greenrelay.pid import PID
from greenrelay.processes.functions import name_of, resolve_target, text_of
from greenrelay.processes.registry import check_name
from greenrelay.wire import CANCELLED, NORMAL, SHUTDOWN

FIRST_BACK_OFF_SECONDS: Final = 0.05
"""The first restart is at once; this is the wait before the second in a row."""
MAX_BACK_OFF_SECONDS: Final = 2.0
READY_SECONDS: Final = 30.0
"""Enough to fill a cache or to wait for a database, and a supervisor that hangs is noticed."""

Restart = Literal["permanent", "transient", "temporary"]
RESTARTS: Final[tuple[str, ...]] = get_args(Restart)
_ORDERLY_ENDS: Final = frozenset({NORMAL, SHUTDOWN, CANCELLED})
"""After these a transient child is done."""


@dataclass(frozen=True, slots=True)
class Child:
    """What a supervisor starts.

    Args:
        target: a callable, or `"package.module:function"`.
        args, kwargs: handed to it.
        name: registered for it. While another process holds the name, the supervisor
            waits for that one's end: a singleton.
        restart: `permanent`: always; `transient`: unless it ended normally or was asked to;
            `temporary`: never.
        shutdown: seconds to end in good order, before it is terminated. 0 terminates it at
            once; `None` is no limit, which a child that is itself a supervisor should have.
        waits_ready: it will call `process.ready()`; until then the next one is not started, and
            `start_child()` does not return. A supervisor is ready when all its children are.
        ready_within: seconds until then, or it is terminated and counts as failed; `None` is no
            limit.

    Raises:
        ValueError, TypeError: a value is malformed.
    """

    target: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    restart: Restart = "permanent"
    shutdown: float | None = 5.0
    waits_ready: bool = False
    ready_within: float | None = READY_SECONDS

    def __post_init__(self) -> None:
        resolve_target(self.target)
        if not isinstance(self.args, (tuple, list)):
            raise TypeError(f"args is a tuple, like ({self.args!r},); got {self.args!r}")
        if self.name is not None:
            check_name(self.name)
        if self.shutdown is not None and not is_number(self.shutdown):
            raise ValueError(
                f"shutdown is seconds, 0 or more, or None for no limit, got {self.shutdown!r}"
            )
        if self.ready_within is not None and not is_number(self.ready_within, least=1e-9):
            raise ValueError(
                "ready_within is seconds, more than 0, or None for no limit, "
                f"got {self.ready_within!r}"
            )
        if not isinstance(self.waits_ready, bool):
            raise TypeError(
                f"waits_ready is True or False, got {self.waits_ready!r}; "
                "for how long says ready_within=seconds"
            )
        if self.restart not in RESTARTS:
            raise ValueError(f"restart is one of {', '.join(RESTARTS)}, got {self.restart!r}")

    def __str__(self) -> str:
        if self.name:
            return self.name
        target = self.target
        return target if isinstance(target, str) else name_of(target)

    def is_restarted_after(self, reason: str) -> bool:
        """Tell whether an end for this reason is followed by a new start."""
        if self.restart == "transient":
            return reason not in _ORDERLY_ENDS
        return self.restart == "permanent"


def as_fields(child: Child) -> dict[str, Any]:
    """Return what `Child(**fields)` makes the child of on another node.

    Raises:
        ValueError: its target can't be named there.
    """
    return {
        **{each.name: getattr(child, each.name) for each in fields(child)},
        "target": text_of(child.target),
    }


class Parent:
    """Base of what has children itself, so that it takes as long as they do: a supervisor."""


def as_child(child: Callable[..., Any] | str | Child) -> Child:
    """Return what a supervisor was given as a `Child`, with the defaults if it was none."""
    if isinstance(child, Child):
        return child
    if isinstance(child, Parent):
        return Child(child, shutdown=None, waits_ready=True, ready_within=None)
    return Child(child)


class Running:
    """A child, and the process that runs it just now.

    Args:
        number: its place among the others.
        request: who waits for its PID, if it was started later than its supervisor.
    """

    __slots__ = (
        "child", "due", "is_added", "is_ours", "known_as", "number", "pid", "ready_by", "request",
    )  # fmt: skip

    def __init__(self, child: Child, number: int = 0, request: Request | None = None) -> None:
        self.child = child
        self.number = number
        self.request = request
        """The call of `start_child()` that is still to be answered."""
        self.is_added = request is not None
        """Whether it came by `start_child()`: when it is over, nothing is kept of it."""
        self.pid: PID | None = None
        self.known_as: PID | None = None
        """What `start_child()` has returned; it runs as another one when it was started anew."""
        self.is_ours = False
        self.due: float | None = 0.0
        """When it is to be started; `None`: it runs, or is not to be started again."""
        self.ready_by: float | None = None
        """Until when it has to say that it is ready; `None`: it has, need not, or does not run."""

    def plan(self, due: float) -> None:
        """Be started when the monotonic clock says `due`; 0 is at once."""
        self.due = due

    def begin(self, pid: PID, is_ours: bool) -> None:
        """Run as `pid`; not ours is a process that holds the child's name, and is waited for."""
        self.pid, self.is_ours, self.due = pid, is_ours, None
        if is_ours and self.child.waits_ready:
            within = self.child.ready_within
            self.ready_by = math.inf if within is None else time.monotonic() + within

    def end(self) -> PID | None:
        """Run no more, and be started no more; return the process that did run, if one did."""
        pid, self.pid, self.due, self.ready_by = self.pid, None, None, None
        return pid


class Restarts:
    """How often children had to be started anew, of late.

    Args:
        within: a restart counts for so many seconds.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._times)

    def note(self) -> None:
        """Count one more, and forget what is too long ago."""
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - self._within:
            self._times.popleft()

    def back_off(self) -> float:
        """Return the seconds until the next start: none at first, then more with each in a row."""
        in_a_row = len(self._times)
        if in_a_row <= 1:
            return 0.0
        doublings = min(in_a_row - 2, 16)  # far beyond the limit; thousands are no float any more
        return min(MAX_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0**doublings)


def is_number(value: object, least: float = 0.0) -> bool:
    """Tell whether a value is a finite number of seconds, `least` or more."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= least  # type: ignore[arg-type,operator]
