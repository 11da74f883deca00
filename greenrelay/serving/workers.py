"""gunicorn, as `greenrelay serve --workers N` runs it: `python -m greenrelay.serving.workers JSON`.

The command looks for every mistake first, binds the socket, and becomes this program, in which
nothing is monkey-patched: gunicorn's arbiter must not be, and its workers patch themselves. Each
of them runs our server, so that what it promises holds with several, too (`relayworker`).
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
from typing import Any, Final, NamedTuple, NoReturn

import gunicorn.app.base
import gunicorn.glogging

from greenrelay.processes.interpreter import this_interpreter
from greenrelay.serving import gunicorn as hooks
from greenrelay.serving.loading import load_app
from greenrelay.serving.relayworker import RelayWorker
from greenrelay.web.middleware import find_middleware
from greenrelay.wire import KEEP_ALIVE_SECONDS

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"
USAGE_ERROR: Final = 2
_BOOT_ERRORS: Final = (hooks.BOOT_ERROR, 4)
"""gunicorn's exit codes when a worker can't begin, or its app can't be loaded."""
_TIMEOUT_SECONDS: Final = 30
"""gunicorn's own default, in which a worker has to show that it lives."""
_NO_LIMIT: Final = 2**31 - 1
"""Of clients of a worker: with one worker only the system has one. More fits in no semaphore."""
_MODULE: Final = "greenrelay.serving.workers"


class Task(NamedTuple):
    """What is served, and how."""

    app: str
    url: str
    """What is told once it accepts."""
    fd: int
    """The socket it listens on."""
    workers: int
    cluster: str | None
    node: str | None
    routers: str | None
    certfile: str | None
    keyfile: str | None
    drain_seconds: float
    log_level: str


def become(task: Task) -> NoReturn:
    """Run gunicorn in the place of this program."""
    os.set_inheritable(task.fd, True)
    # Private, but what the standard library's own multiprocessing starts its children with.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    os.execv(sys.executable, [sys.executable, *flags, "-m", _MODULE, json.dumps(task)])


class Logger(gunicorn.glogging.Logger):
    """Logs as `greenrelay serve` does with one worker."""

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root's handler."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers = []
            logger.propagate = True
        self.access_log.setLevel(logging.NOTSET)


class Workers(gunicorn.app.base.BaseApplication):
    """The application that gunicorn serves."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._has_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn what the command was told."""
        task = self._task
        grace = math.ceil(task.drain_seconds + hooks.GRACE_SECONDS) + 1
        settings = {
            "bind": [f"fd://{task.fd}"],
            "workers": task.workers,
            "worker_class": RelayWorker,
            "worker_connections": _NO_LIMIT,
            "keepalive": int(KEEP_ALIVE_SECONDS),
            "certfile": task.certfile,
            "keyfile": task.keyfile,
            "graceful_timeout": grace,
            "timeout": max(_TIMEOUT_SECONDS, grace),
            "loglevel": task.log_level,
            "accesslog": "-",
            "logger_class": Logger,
            "when_ready": self._when_ready,
            "post_fork": hooks.post_fork,
            "post_worker_init": self._post_worker_init,
            "post_request": hooks.post_request,
            "worker_exit": hooks.worker_exit,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the app, in a worker."""
        task = self._task
        if task.node is not None:
            this_interpreter().pin_node(task.node)
        app = load_app(task.app)
        middleware = find_middleware(app)
        if middleware is not None:
            middleware.drain_seconds = task.drain_seconds
            if task.cluster is not None:
                middleware.use_cluster(task.cluster)
            if task.routers is not None:
                middleware.use_routers(task.routers)
        return app

    def _when_ready(self, server: Any) -> None:
        hooks.when_ready(server)
        if self._has_nohup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # gunicorn has taken it

    def _post_worker_init(self, worker: Any) -> None:
        hooks.post_worker_init(worker)
        if worker.age == 1:
            sys.stderr.write(f"greenrelay: listening on {self._task.url}\n")
            sys.stderr.flush()


def main(text: str) -> None:
    """Serve until a signal ends it."""
    task = Task(*json.loads(text))
    logging.basicConfig(level=task.log_level.upper(), stream=sys.stderr, format=LOG_FORMAT)
    sys.argv = ["-m", _MODULE, text]  # with which gunicorn starts its successor, on SIGUSR2
    pid = os.getpid()
    try:
        Workers(task).run()
    except SystemExit as end:
        if os.getpid() != pid or end.code not in _BOOT_ERRORS:
            raise  # a worker's, which tells gunicorn, or no fault
        raise SystemExit(USAGE_ERROR) from None


if __name__ == "__main__":
    main(sys.argv[1])
