"""The command line: `greenrelay serve module:app`."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from typing import Any, NamedTuple, NoReturn

import click
import gevent
from werkzeug._reloader import run_with_reloader

from greenrelay.current import default_node
from greenrelay.drain import drain
from greenrelay.server import RelayServer, find_node
from greenrelay.wire import DRAIN_SECONDS

USAGE_ERROR = 2
"""Exit code for what the caller can mend: a bad option, a busy port, a broken import."""


class Options(NamedTuple):
    """What `greenrelay serve` was told."""

    app: str
    host: str
    port: int
    certfile: str | None
    keyfile: str | None
    drain_seconds: float


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="greenrelay")
def main() -> None:
    """Real-time for the Flask app you already have."""


@main.command()
@click.argument("app")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks one."
)
@click.option("--node", "node_name", help="Name of this node, as it stands in PIDs.")
@click.option(
    "--certfile",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve TLS with this certificate.",
)
@click.option("--keyfile", type=click.Path(exists=True, dir_okay=False), help="Its private key.")
@click.option(
    "--drain-seconds",
    default=DRAIN_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Time for clients and processes to end after SIGTERM.",
)
@click.option("--reload", is_flag=True, help="Restart when a source file changes.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged to standard error.",
)
def serve(
    app: str,
    host: str,
    port: int,
    node_name: str | None,
    certfile: str | None,
    keyfile: str | None,
    drain_seconds: float,
    reload: bool,
    log_level: str,
) -> None:
    """Serve APP, a WSGI application as module:name (or module:factory())."""
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    if keyfile and not certfile:
        fail("--keyfile needs --certfile")
    if node_name is not None:
        try:
            default_node(node_name)
        except ValueError as error:
            fail(f"--node {node_name}: {error}")
    options = Options(app, host, port, certfile, keyfile, drain_seconds)
    if reload:
        run_with_reloader(lambda: run(options), reloader_type="stat")
    else:
        run(options)


def run(options: Options) -> None:
    """Serve until a signal says otherwise; return when everything has ended in good order."""
    application = load_app(options.app)
    tls: dict[str, Any] = {}
    if options.certfile:
        tls = {"certfile": options.certfile, "keyfile": options.keyfile}
    access_log = logging.getLogger("greenrelay.access")
    server = RelayServer(
        (options.host, options.port), application, log=access_log, error_log=sys.stderr, **tls
    )
    try:
        server.start()
    except OSError as error:
        fail(f"can't listen on {options.host} port {options.port}: {error.strerror or error}")
    scheme = "https" if tls else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    click.echo(f"greenrelay: listening on {scheme}://{host}:{server.server_port}", err=True)
    stopping = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, _on_signal, stopping)
    stopping.wait()
    server.close()
    requests = gevent.spawn(server.stop, options.drain_seconds)
    drain(find_node(application), options.drain_seconds)
    requests.join()


def _on_signal(stopping: Any) -> None:
    if stopping.is_set():
        os._exit(1)  # asked twice: at once, whatever is still running
    stopping.set()


def load_app(text: str) -> Any:
    """Return the WSGI app named `module:name`, or end with one clear line."""
    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        fail(f"{text!r} names no app; write module:app, like app_example.app:app")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        fail(f"can't import {module_name!r}: {error}")
    except Exception as error:  # whatever the module's own code raises
        logging.getLogger("greenrelay").debug("%s", traceback.format_exc())
        fail(f"can't import {module_name!r}: {type(error).__name__}: {error}{_place(error)}")
    is_factory = name.endswith("()")
    app: Any = getattr(module, name.removesuffix("()"), None)
    if app is None:
        fail(f"module {module_name!r} has no {name!r}")
    if is_factory:
        app = app()
    if not callable(app):
        fail(f"{text!r} is no WSGI app but {type(app).__name__}")
    return app


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def fail(text: str) -> NoReturn:
    """Say in one line what is wrong, and exit with code 2."""
    click.echo(f"greenrelay: {text}", err=True)
    sys.exit(USAGE_ERROR)
