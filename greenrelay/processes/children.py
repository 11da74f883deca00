"""What a supervisor starts, and when it starts it again.

`Child` is what is to run, `Running` the process that does, `Restarts` how often that has failed of
late. Rule: what can't work is refused when it is written down, not when it is started.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from greenrelay.pid import PID
from greenrelay.processes.functions import name_of, resolve_target
from greenrelay.processes.registry import check_name
from greenrelay.wire import CANCELLED, NORMAL, SHUTDOWN

FIRST_BACK_OFF_SECONDS: Final = 0.05
"""The first restart is at once; this is the wait before the second in a row."""
MAX_BACK_OFF_SECONDS: Final = 2.0

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

    Raises:
        ValueError, TypeError: a value is malformed.
    """

    target: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    restart: Restart = "permanent"
    shutdown: float | None = 5.0

    def __post_init__(self) -> None:
        resolve_target(self.target)
        if self.name is not None:
            check_name(self.name)
        if self.shutdown is not None and not is_number(self.shutdown):
            raise ValueError(
                f"shutdown is seconds, 0 or more, or None for no limit, got {self.shutdown!r}"
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


class Running:
    """A child, and the process that runs it just now."""

    __slots__ = ("child", "due", "is_ours", "pid")

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid: PID | None = None
        self.is_ours = False
        self.due: float | None = 0.0
        """When it is to be started; `None`: it runs, or is not to be started again."""

    def plan(self, due: float) -> None:
        """Be started when the monotonic clock says `due`; 0 is at once."""
        self.due = due

    def begin(self, pid: PID, is_ours: bool) -> None:
        """Run as `pid`; not ours is a process that holds the child's name, and is waited for."""
        self.pid, self.is_ours, self.due = pid, is_ours, None

    def end(self) -> PID | None:
        """Run no more, and be started no more; return the process that did run, if one did."""
        pid, self.pid, self.due = self.pid, None, None
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
        return min(MAX_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0 ** (in_a_row - 2))


def is_number(value: object, least: float = 0.0) -> bool:
    """Tell whether a value is a finite number of seconds, `least` or more."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= least  # type: ignore[arg-type,operator]
