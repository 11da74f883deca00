"""Supervisors: processes that start others, and start them again when they end.

    rooms = process.Supervisor([ticker, "app.jobs:worker"], strategy="one_for_one")
    pid = rooms.start()
    room = rooms.start_child(process.Child(chat, ("tea",)))

A `Supervisor` is what is to be done; it is done by a process (`supervision`). Its other methods are
calls to the process that runs it: what they ask for is in `supervised`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from greenrelay.errors import NotAProcess
from greenrelay.pid import PID
from greenrelay.processes.children import Child, Parent, as_child, is_number
from greenrelay.processes.current import current_node, require_process
from greenrelay.processes.roster import STRATEGIES, Strategy
from greenrelay.processes.spawning import spawn
from greenrelay.processes.supervised import SupervisorRef
from greenrelay.processes.supervision import Plan, Supervision

KILL_SECONDS: Final = 5.0
"""How long a terminated child's `finally` blocks may take before it is left alone."""
MAX_SHOWN: Final = 5
"""So many of its children are named where a supervisor is: a line of the log has an end."""


class Supervisor(Parent):
    """Keep children running; call it in a process, or `start()` it as one.

    Args:
        children: callables, `"package.module:function"` texts, or `Child`ren, in the order
            in which they are started. A supervisor among them has no limit for its end. More
            can be added and taken away while it runs.
        strategy: when one child has ended, `one_for_one` starts that one again,
            `one_for_all` all of them, `rest_for_one` it and those after it.
        max_restarts: so many restarts …
        within: … in so many seconds are borne; one more and the supervisor gives up.

    Raises:
        ValueError, TypeError: a child or the strategy is malformed.
    """

    kill_seconds = KILL_SECONDS

    def __init__(
        self,
        children: Iterable[Callable[..., Any] | str | Child] = (),
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        within: float = 5.0,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, got {strategy!r}")
        if isinstance(children, (str, Child)) or callable(children):
            raise TypeError(f"Supervisor() takes a list of children: [{children}]")
        if not (
            isinstance(max_restarts, int) and max_restarts >= 0 and is_number(within, least=1e-9)
        ):
            raise ValueError(
                "a supervisor takes max_restarts, 0 or more, within seconds, more than 0, "
                f"got {max_restarts!r} and {within!r}"
            )
        self.specs = tuple(as_child(child) for child in children)
        names = [child.name for child in self.specs if child.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two children have the name {name!r}; one would never start")
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.within = within
        self._ref: SupervisorRef | None = None
        """The process that runs this, or did so last."""

    def __repr__(self) -> str:
        shown = [str(child) for child in self.specs[:MAX_SHOWN]]
        if len(self.specs) > MAX_SHOWN:
            shown.append("…")
        return f"<Supervisor {self.strategy}: {', '.join(shown) or 'no children'}>"

    def start(self, name: str | None = None, link: bool = False) -> PID:
        """Start a process that supervises, and return its PID.

        Args:
            name: registered for the supervisor.
            link: link it with the calling process: it ends when that one does, whatever
                the reason.
        """
        pid = spawn(self, name=name, link=link)
        self._ref = SupervisorRef(pid, current_node())
        return pid

    def __call__(self) -> NoReturn:
        """Supervise in the calling process, until it is cancelled or gives up."""
        self._ref = SupervisorRef(require_process("Supervisor()()").pid, current_node())
        plan = Plan(self.specs, self.strategy, self.max_restarts, self.within, self.kill_seconds)
        Supervision(plan).run()

    # -- calls to the process that runs it ------------------------------------------

    def start_child(self, child: Callable[..., Any] | str | Child) -> PID:
        """Start one more child and return its PID; see `SupervisorRef.start_child()`.

        Raises:
            NotAProcess: the supervisor has not been started.
            NameTaken, ProcessDown, CallTimeout, ValueError, TypeError: as said there.
        """
        return self._running("start_child").start_child(child)

    def stop_child(self, child: str) -> bool:
        """End a child for good, by its PID or name; see `SupervisorRef.stop_child()`.

        Raises:
            NotAProcess: the supervisor has not been started.
            ProcessDown: it has ended.
        """
        return self._running("stop_child").stop_child(child)

    def children(self) -> list[PID]:
        """Return the PIDs of the children that run just now, in the order of their start.

        Raises:
            NotAProcess: the supervisor has not been started.
            ProcessDown: it has ended.
        """
        return self._running("children").children()

    def _running(self, call: str) -> SupervisorRef:
        if self._ref is None:
            raise NotAProcess(
                f"{call}() asks a supervisor that runs; call start() on this one first"
            )
        return self._ref
