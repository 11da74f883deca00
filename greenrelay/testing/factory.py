"""Servers for a test: started by a function, stopped together at the end.

They share one OS thread for their event loop, which is made when the first of them needs it. A
server whose app is bound to the test's own loop runs in the test's thread: see `served`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from greenrelay.processes.current import current_node
from greenrelay.processes.interpreter import default_node, fresh_interpreter, this_interpreter
from greenrelay.serving.drain import drain
from greenrelay.testing.loopthread import LoopThread
from greenrelay.testing.served import ServedApp, await_end, find_wrapped, is_patched, node_of


class ServerFactory(Protocol):
    """What the fixture `relay_server` and `serving()` give."""

    def __call__(self, app: Any, *, own_thread: bool = True, **options: Any) -> ServedApp:
        """Serve an app; see `serving()`, and `RelayServer` for the options."""


@contextlib.contextmanager
def serving() -> Iterator[ServerFactory]:
    """Give a function that serves an app, and stop all servers at the end of the block.

    In the block, plain code means the node of the server that was started last: so
    `process.send()` and the like in a test speak to its app. `own_thread=False` keeps a server
    in the thread of the test, for views that need the main thread's loop, as child processes do.
    """
    servers: list[ServedApp] = []
    threads: list[LoopThread] = []

    def start(app: Any, *, own_thread: bool = True, **options: Any) -> ServedApp:
        if own_thread and _may_leave(app, servers):
            if not threads:
                threads.append(LoopThread("greenrelay server"))
            options["thread"] = threads[0]
        servers.append(ServedApp(app, **options))
        redirect_to(servers[-1].node)
        return servers[-1]

    with contextlib.ExitStack() as stack:
        redirect_to = stack.enter_context(fresh_interpreter())
        try:
            yield start
        finally:
            stack.callback(_end_own_processes)
            for thread in threads:
                stack.callback(thread.end)  # after the servers: the last is called first
            for server in servers:
                stack.callback(server.stop)


def _end_own_processes() -> None:
    """End what the test has spawned without a server, or the next test would find it alive."""
    drain(default_node(), 0.0)
    await_end(default_node())


def _may_leave(app: Any, servers: list[ServedApp]) -> bool:
    """Tell whether a server may have a thread of its own: no process of its app lives here."""
    node = node_of(find_wrapped(app))
    if is_patched():
        return False
    if any(server.node is node for server in servers):  # the same app, once more
        return any(server.node is node and server.thread is not None for server in servers)
    is_meant = current_node() is node and not this_interpreter().has_made(node)
    return not is_meant and not len(node)
