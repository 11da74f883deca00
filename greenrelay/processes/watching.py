"""Monitors and links; see `greenrelay.process`."""

from __future__ import annotations

from greenrelay.message import LinkDown, MonitorRef
from greenrelay.processes.current import current_node, require_process
from greenrelay.processes.lifecycle import Process


def monitor(pid: str) -> MonitorRef:
    """Get one `Exit` in `events()` when `pid` ends; at once if it is dead or unknown.

    Monitors stack: two of them give two `Exit`s.

    Returns:
        The ref that the `Exit` will carry.

    Raises:
        NotAProcess: the caller is none.
    """
    return require_process("monitor()").monitor(current_node().resolve(pid))


def unmonitor(ref_or_pid: MonitorRef | str) -> None:
    """Forget a monitor, or all of the caller's on a PID; a queued `Exit` is removed as well.

    A monitor of somebody else's is left alone.

    Raises:
        NotAProcess: the caller is none.
        NameNotRegistered, InvalidPID: it is neither a ref, nor a PID, nor a registered name.
    """
    process = require_process("unmonitor()")
    if isinstance(ref_or_pid, MonitorRef):
        process.unmonitor({ref_or_pid})
        return
    node = current_node()
    pid = node.resolve(ref_or_pid)
    held, refs = process.monitors or set(), node.topology.refs(pid)
    if len(held) < len(refs):
        process.unmonitor({ref for ref in held if ref.pid == pid}, pid)
    else:
        process.unmonitor(held.intersection(refs), pid)


def link(pid: str) -> None:
    """Link the caller with `pid`: an abnormal end of either reaches the other.

    Linking twice is linking once. A dead `pid` acts like its death, with reason `noproc`.

    Raises:
        NotAProcess: the caller is none.
    """
    process = require_process("link()")
    node = current_node()
    node.link(process, node.resolve(pid))
    process.raise_if_killed()


def unlink(pid: str) -> None:
    """Remove the link with `pid`, if there is one; a queued `LinkDown` is removed as well.

    Raises:
        NotAProcess: the caller is none.
    """
    process = require_process("unlink()")
    node = current_node()
    other = node.resolve(pid)
    node.unlink(process.pid, other)
    peer = node.find(other)
    if isinstance(peer, Process):
        peer.forget_starter(process.pid)
    process.mailbox.discard(lambda event: isinstance(event, LinkDown) and event.sender == other)


def trap_links(on: bool = True) -> None:
    """Get a `LinkDown` when a linked process dies, instead of dying with it.

    Raises:
        NotAProcess: the caller is none.
    """
    require_process("trap_links()").trap_links(on)
