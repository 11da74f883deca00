"""`greenrelay doctor module:app`: what would fail in production, told before it does.

Each check is a function that looks at one thing and yields findings; `_CHECKS` is the
list. A finding says what it is, why it matters, and what to do.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent.subprocess

from greenrelay.clustercheck import Finding, check_cluster
from greenrelay.serving.joining import chosen_url
from greenrelay.web.middleware import RelayMiddleware, find_middleware, find_node

PATCH_CHECK_SECONDS = 60.0
UNPATCHED = 3
"""Exit code; an app that can't be imported twice exits with another."""
MIN_DESCRIPTORS = 10_000
"""One for each connection; fewer than this, and a busy node runs out before its memory does."""

# Drivers that wait in C, where gevent can't see it, and what to use instead.
_BLOCKING_DRIVERS = {
    "psycopg2": "psycogreen (psycogreen.gevent.patch_psycopg()), or psycopg 3",
    "MySQLdb": "PyMySQL",
    "mysql.connector": "PyMySQL, or use_pure=True",
    "pyodbc": "a driver in Python, or a thread pool (gevent.get_hub().threadpool)",
    "oracledb": "its thin mode",
    "cx_Oracle": "oracledb in thin mode",
    "ibm_db": "a thread pool (gevent.get_hub().threadpool)",
}


def examine(app: Any, module: str) -> list[Finding]:
    """Return what would fail in production, the serious things first.

    Args:
        module: the app's, imported once more, in an interpreter that is not monkey-patched.
    """
    findings = [finding for check in _CHECKS for finding in check(app)]
    findings += check_patch(module)
    return sorted(findings, key=lambda finding: not finding.is_serious)


def check_patch(module: str) -> Iterator[Finding]:
    """Look whether the app would be patched under a server that does not patch."""
    program = (
        f"import importlib, gevent.monkey; importlib.import_module({module!r}); "
        f"raise SystemExit(0 if gevent.monkey.is_module_patched('socket') else {UNPATCHED})"
    )
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    try:
        done = gevent.subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path},
            stdin=gevent.subprocess.DEVNULL,
            stdout=gevent.subprocess.DEVNULL,
            stderr=gevent.subprocess.DEVNULL,
            timeout=PATCH_CHECK_SECONDS,
        )
    except gevent.subprocess.TimeoutExpired:
        return  # an app that does its work at import: nothing can be said of it
    if done.returncode == UNPATCHED:
        yield Finding(
            False,
            "the app does not monkey-patch: under a server that does not either, one view that "
            "waits stops every connection",
            "start it with greenrelay serve or gunicorn -k gevent, which patch first; elsewhere "
            "call gevent.monkey.patch_all() before anything else is imported",
        )


def _check_middleware(app: Any) -> Iterator[Finding]:
    if find_middleware(app) is None:
        yield Finding(
            True, "the app has no relay: the headers would go out to its clients",
            "call GreenRelay(app)",
        )  # fmt: skip
    elif hasattr(app, "wsgi_app") and not isinstance(app.wsgi_app, RelayMiddleware):
        yield Finding(
            True, f"{type(app.wsgi_app).__name__} is wrapped around the relay: it would see "
            "requests without an answer",
            "wrap it first, and call GreenRelay(app) last",
        )  # fmt: skip


def _check_drivers(app: Any) -> Iterator[Finding]:
    for driver, instead in _BLOCKING_DRIVERS.items():
        if driver in sys.modules and not (driver == "psycopg2" and "psycogreen" in sys.modules):
            yield Finding(
                True, f"{driver} waits in C: each query stops every connection of the node",
                f"use {instead}",
            )  # fmt: skip


def _check_descriptors(app: Any) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MIN_DESCRIPTORS:
        yield Finding(
            False, f"the limit on open files is {soft}: so many connections, and no more",
            f"raise it (ulimit -n {65536 if hard < 0 else max(soft + 1, min(hard, 65536))}, "
            "LimitNOFILE= in a systemd unit)",
        )  # fmt: skip


def _check_proxies(app: Any) -> Iterator[Finding]:
    middleware = find_middleware(app)
    if middleware is not None and not middleware.trusted_proxies:
        yield Finding(
            False, "no proxy is trusted: behind one that ends TLS, browsers get 403",
            "set GREENRELAY_TRUSTED_PROXIES to its address, if there is one; and let it neither "
            "buffer responses nor close connections that are idle for less than a minute",
        )  # fmt: skip


def _check_scale(app: Any) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    if cores > 1 and chosen_url(find_middleware(app)) is None:
        yield Finding(
            False, f"this machine has {cores} cores, and one node uses one of them",
            "serve with several workers, which local: joins by itself (greenrelay serve --workers "
            f"{cores}), or keep to one worker",
        )  # fmt: skip


def _check_import(app: Any) -> Iterator[Finding]:
    count = len(find_node(app))
    if count:
        yield Finding(
            False, f"{count} process(es) of the app are spawned at its import: with gunicorn's "
            "--preload they are in no worker, and without it in each",
            "spawn them in a view, by name, or in gunicorn's hook post_worker_init",
        )  # fmt: skip


def _check_debug(app: Any) -> Iterator[Finding]:
    config = getattr(app, "config", {})
    if config.get("DEBUG") or config.get("TESTING"):
        yield Finding(False, "DEBUG or TESTING is on", "switch it off in production")


_CHECKS: tuple[Callable[[Any], Iterator[Finding]], ...] = (
    _check_middleware,
    _check_drivers,
    _check_descriptors,
    _check_proxies,
    _check_scale,
    check_cluster,
    _check_import,
    _check_debug,
)
