"""What is done to a process wherever it lives, and has an answer.

    here: the node's own table ─► the answer at once
    elsewhere: asked there ─► the answer when it has come

Each of these switches for a PID of another node, and only then (`register()` also to ask whether a
name is held). `answer()` is the other side: what another node asks of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from greenrelay.errors import InvalidPID, ProcessDown
from greenrelay.pid import PID
from greenrelay.processes.groups import Meta
from greenrelay.processes.node import Node
from greenrelay.processes.registry import Scope, check_name, check_scope


def register(node: Node, name: str, pid: PID, scope: Scope = "cluster") -> None:
    """Give `name` to a living process or connection.

    Raises:
        NameTaken: somebody else holds it.
        ProcessDown: `pid` is dead.
        ClusterError: whether it is held can't be found out just now.
    """
    check_name(name)
    check_scope(scope)
    if _is_elsewhere(node, pid):
        _ask(node, pid, "register", name, scope)
        return
    node.register(name, pid, scope)


def unregister(node: Node, name: str) -> bool:
    """Free `name`; `False`: nobody held it."""
    holder = node.registry.lookup(name)
    if holder is not None and _is_elsewhere(node, holder):
        return bool(_ask(node, holder, "unregister", name))
    return node.registry.unregister(name)


def join(node: Node, group: str, pid: PID, meta: Meta | None = None) -> None:
    """Make a living process or connection a member of a group.

    Raises:
        ProcessDown: `pid` is dead.
        NotPortable: `meta` can't go to other nodes, and there are such.
    """
    if _is_elsewhere(node, pid):
        _ask(node, pid, "join", group, meta)
        node.groups.join(group, pid, meta)  # its node tells everybody, perhaps after its answer
    else:
        node.join(group, pid, meta)


def leave(node: Node, group: str, pid: PID) -> bool:
    """Take a process or connection out of a group; `False`: it was no member."""
    if _is_elsewhere(node, pid):
        was_member = bool(_ask(node, pid, "leave", group))
        node.groups.leave(group, pid)
        return was_member
    return node.groups.leave(group, pid)


def info(node: Node, pid: PID) -> dict[str, Any] | None:
    """Return what is known about a process or connection; `None`: it is dead."""
    if not _is_elsewhere(node, pid):
        return node.info(pid)
    try:
        found: dict[str, Any] | None = _ask(node, pid, "info")
    except ProcessDown:
        return None
    return found


def is_alive(node: Node, pid: str) -> bool:
    """Tell whether a process or connection lives under `pid`, a PID or a name."""
    if node.table.elsewhere is None:
        return node.is_alive(pid)
    try:
        address = node.registry.lookup(pid) or PID.parse(pid)
        if not _is_elsewhere(node, address):
            return node.is_alive(address)
        return bool(_ask(node, address, "is_alive"))
    except (InvalidPID, ProcessDown):
        return False


def _is_elsewhere(node: Node, pid: PID) -> bool:
    return node.table.elsewhere is not None and node.table.elsewhere.is_elsewhere(pid)


def _ask(node: Node, pid: PID, verb: str, *args: Any) -> Any:
    assert node.table.elsewhere is not None  # it has been asked whether the PID is there
    return node.table.elsewhere.ask(pid, verb, *args)


def _unregister_here(node: Node, pid: PID, name: str) -> bool:
    return node.registry.lookup(name) == pid and node.registry.unregister(name)


_VERBS: Final[dict[str, Callable[..., Any]]] = {
    "register": lambda node, pid, name, scope: register(node, name, pid, scope),
    "unregister": _unregister_here,
    "join": lambda node, pid, group, meta: node.join(group, pid, meta),
    "leave": lambda node, pid, group: node.groups.leave(group, pid),
    "info": lambda node, pid: node.info(pid),
    "is_alive": lambda node, pid: node.is_alive(pid),
}


def answer(node: Node, verb: str, pid: PID, *args: Any) -> Any:
    """Do what another node asks, to a process of this one. Switches: yes, for `register`.

    Raises:
        LookupError: there is no such verb.
        GreenRelayError: as the functions above.
    """
    return _VERBS[verb](node, pid, *args)
