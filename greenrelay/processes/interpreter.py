"""Which node the plain code of this interpreter means: its own, made when it is first asked for.

What is known of that is one object, `Interpreter`; a test begins with another one.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from greenrelay.errors import ConfigurationError
from greenrelay.processes.node import Node

Shared = TypeVar("Shared")


class Interpreter:
    """Which node plain code of an interpreter means, and which apps live on which.

    Args:
        made: the nodes of the one that a test puts aside: they are known here as such.
        older: the one of them that was its node before the test began.
    """

    def __init__(self, made: WeakSet[Node] | None = None, older: Node | None = None) -> None:
        self.node: Node | None = None
        self._is_pinned = False
        self._apps: WeakKeyDictionary[Any, tuple[Node, bool]] = WeakKeyDictionary()
        """Each app's node, and whether somebody chose it."""
        self._has_told = made is not None  # each of a test's servers has a node of its own
        self._made: WeakSet[Node] = WeakSet() if made is None else made
        """Its node, and those that have been it."""
        self._older = older
        self._shared: dict[type[Any], Any] = {}
        self._served: Node | None = None
        """The node that plain code of a test means instead: its server's."""

    def shared(self, kind: type[Shared]) -> Shared:
        """Return the one object of a kind that all of this interpreter share, made at first."""
        found: Shared | None = self._shared.get(kind)
        if found is None:
            found = self._shared[kind] = kind()
        return found

    def successor(self) -> Interpreter:
        """Return one that begins anew, for a test."""
        return Interpreter(self._made, self.node)

    def default_node(self, name: str | None = None) -> Node:
        """Return its own node, made when it is first asked for.

        Args:
            name: gives a node of that name; it becomes the interpreter's if there is none
                yet, or none that anybody has named.

        Raises:
            ConfigurationError: processes live on the interpreter's unnamed node already.
            InvalidPID: `name` can't stand in a PID.
        """
        node = self.node
        if node is not None and (self._is_pinned or name in (None, node.name)):
            return node
        if node is not None and node.has_default_name and len(node):
            raise ConfigurationError(
                f"the node can't be named {name!r} any more: {len(node)} processes live on it "
                "already; name it first, with GREENRELAY_NODE or --node, and spawn after "
                "GreenRelay(app)"
            )
        fresh = Node(name)
        self._made.add(fresh)
        if node is None or node.has_default_name:
            self.node = fresh
        return fresh

    def pin_node(self, name: str) -> Node:
        """Name its own node for good: no app's configuration changes it.

        Raises:
            InvalidPID: `name` can't stand in a PID.
        """
        node = self.default_node(name)
        self._is_pinned = True
        return node

    def has_made(self, node: Node) -> bool:
        """Tell whether `node` is, or was, its own, and not one that an app was given."""
        return node in self._made

    def meant_node(self) -> Node:
        """Return the node that plain code means: its own; in a test, its server's."""
        return self.default_node() if self._served is None else self._served

    def redirect_to(self, node: Node) -> None:
        """Have plain code mean `node` from now on."""
        self._served = node

    def likely_node(self) -> Node:
        """Return the node of an app that does not say which: its own when the app was made."""
        if self.node is None and self._older is not None:
            return self._older
        return self.default_node()

    def share_node(self, app: Any, node: Node, is_chosen: bool) -> list[Any]:
        """Enter an app that lives on a node.

        Args:
            is_chosen: whether somebody said so; else it is the interpreter's for want of another.

        Returns:
            The apps that live there already, unless it was chosen for all of them; once.
        """
        others = self._others_on(node, is_chosen)
        self._apps[app] = (node, is_chosen)
        if not others or self._has_told:
            return []
        del others
        gc.collect()  # an app of an earlier test, say, has not been one for long
        others = [other for other in self._others_on(node, is_chosen) if other is not app]
        self._has_told = bool(others)
        return others

    def _others_on(self, node: Node, is_chosen: bool) -> list[Any]:
        apps = self._apps.items()
        return [
            app for app, (where, chosen) in apps if where is node and not (chosen and is_chosen)
        ]


class _Holder:
    """Holds the interpreter that counts just now."""

    def __init__(self) -> None:
        self.current = Interpreter()

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Interpreter]:
        """Let another one count in this block."""
        kept, self.current = self.current, self.current.successor()
        try:
            yield self.current
        finally:
            self.current = kept


# Not a context variable: the servers of a test have threads of their own.
_holder = _Holder()


def this_interpreter() -> Interpreter:
    """Return what is known of the interpreter's node, or what a test has instead."""
    return _holder.current


def default_node(name: str | None = None) -> Node:
    """Return the interpreter's own node; see `Interpreter.default_node()`."""
    return _holder.current.default_node(name)


@contextlib.contextmanager
def fresh_interpreter() -> Iterator[Callable[[Node], None]]:
    """Let this block begin as a new interpreter does, for a test: without a node.

    Returns:
        A context manager; its value is called with the node that plain code means from then on.
        (Not the node of apps that are made then: each of them may have its own server.)
    """
    with _holder.fresh() as interpreter:
        yield interpreter.redirect_to
