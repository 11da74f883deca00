"""Real-time for the Flask app you already have.

The names below are imported when they are first used, so that importing one of
them does not import the rest: `greenrelay serve` patches the standard library
before anything else is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from greenrelay import process
    from greenrelay.cluster.client import connect
    from greenrelay.errors import (
        CallTimeout,
        ClientGone,
        ClusterError,
        ConfigurationError,
        GreenRelayError,
        InvalidPID,
        NameNotRegistered,
        NameTaken,
        NotAProcess,
        NotPortable,
        ProcessDown,
        ResponseStarted,
    )
    from greenrelay.message import Cancel, Exit, LinkDown, Message
    from greenrelay.pid import PID
    from greenrelay.processes.node import Node
    from greenrelay.protocol.eventstream import Event
    from greenrelay.web.direct import event_stream, write_event
    from greenrelay.web.extension import GreenRelay
    from greenrelay.web.middleware import RelayMiddleware

__all__ = [
    "PID",
    "CallTimeout",
    "Cancel",
    "ClientGone",
    "ClusterError",
    "ConfigurationError",
    "Event",
    "Exit",
    "GreenRelay",
    "GreenRelayError",
    "InvalidPID",
    "LinkDown",
    "Message",
    "NameNotRegistered",
    "NameTaken",
    "Node",
    "NotAProcess",
    "NotPortable",
    "ProcessDown",
    "RelayMiddleware",
    "ResponseStarted",
    "connect",
    "event_stream",
    "process",
    "write_event",
]

_HOMES = {
    "cluster.client": ("connect",),
    "message": ("Cancel", "Exit", "LinkDown", "Message"),
    "pid": ("PID",),
    "processes.node": ("Node",),
    "protocol.eventstream": ("Event",),
    "web.direct": ("event_stream", "write_event"),
    "web.extension": ("GreenRelay",),
    "web.middleware": ("RelayMiddleware",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "process":
        return importlib.import_module("greenrelay.process")
    if name not in __all__:
        raise AttributeError(f"module 'greenrelay' has no attribute {name!r}")
    home = importlib.import_module(f"greenrelay.{_HOME.get(name, 'errors')}")
    return getattr(home, name)
