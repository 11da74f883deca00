"""The process API: what app code calls, from inside a process or from anywhere.

    from greenrelay import process

    def room():
        for message in process.inbox():
            process.send(message.sender, "room.said", message.payload)

    pid = process.spawn(room)

Inside a process the caller is that process. In a view, or a plain greenlet, the
caller is anonymous: it may spawn, send, call and look up; what needs a mailbox
raises `NotAProcess`.
"""

from __future__ import annotations

from greenrelay.errors import (
    CallTimeout,
    InvalidPID,
    NameNotRegistered,
    NameTaken,
    NotACall,
    NotAProcess,
    ProcessDown,
)
from greenrelay.message import Cancel, Exit, LinkDown, Message, MonitorRef
from greenrelay.processes.channel import Channel
from greenrelay.processes.children import Child
from greenrelay.processes.current import current_node, on_node
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.messaging import (
    broadcast,
    call,
    events,
    inbox,
    listen,
    select,
    send,
    unlisten,
)
from greenrelay.processes.naming import Group, group, registry
from greenrelay.processes.spawning import cancel, exit, info, is_alive, pid, spawn, terminate
from greenrelay.processes.supervised import SupervisorRef, ready, supervisor
from greenrelay.processes.supervisor import Supervisor
from greenrelay.processes.tasks import gather, run
from greenrelay.processes.timers import Timer
from greenrelay.processes.timing import every, send_after
from greenrelay.processes.watching import link, monitor, trap_links, unlink, unmonitor

__all__ = [
    "CallTimeout",
    "Cancel",
    "Channel",
    "Child",
    "Exit",
    "Group",
    "InvalidPID",
    "LinkDown",
    "Message",
    "MonitorRef",
    "NameNotRegistered",
    "NameTaken",
    "NotACall",
    "NotAProcess",
    "ProcessDown",
    "Supervisor",
    "SupervisorRef",
    "Timer",
    "broadcast",
    "call",
    "cancel",
    "current_node",
    "default_node",
    "events",
    "every",
    "exit",
    "gather",
    "group",
    "inbox",
    "info",
    "is_alive",
    "link",
    "listen",
    "monitor",
    "on_node",
    "pid",
    "ready",
    "registry",
    "run",
    "select",
    "send",
    "send_after",
    "spawn",
    "supervisor",
    "terminate",
    "trap_links",
    "unlink",
    "unlisten",
    "unmonitor",
]
