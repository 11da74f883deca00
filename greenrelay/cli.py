"""The command line: `greenrelay serve`, `connect`, `send` and `doctor`.

Two rules. What the caller can mend (an option, a port, an app's name) is one line on standard
error and exit code 2, never a traceback. And a server that is stopped, by a signal or a changed
file, takes no new clients, tells those it has, and waits for them and its processes to end.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, NamedTuple, NoReturn

import click
import gevent
from gevent.event import AsyncResult

from greenrelay.doctor import examine
from greenrelay.errors import ConfigurationError
from greenrelay.processes.interpreter import this_interpreter
from greenrelay.sending import send
from greenrelay.serving import reloading
from greenrelay.serving.drain import drain
from greenrelay.serving.loading import LoadError, load_app
from greenrelay.serving.server import RelayServer
from greenrelay.serving.stopping import StopSignals
from greenrelay.terminal import ConnectError, connect
from greenrelay.web.middleware import RelayMiddleware, find_middleware, find_node
from greenrelay.wire import DRAIN_SECONDS

USAGE_ERROR = 2
"""Exit code for what the caller can mend: a bad option, a busy port, a broken import."""


class Options(NamedTuple):
    """What `greenrelay serve` was told; the fields are the options' names."""

    app: str
    host: str
    port: int
    workers: int
    cluster: str | None
    node: str | None
    routers: str | None
    certfile: str | None
    keyfile: str | None
    drain_seconds: float | None
    reload: bool
    log_level: str


class OneLineGroup(click.Group):
    """A command whose usage errors are one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and exit: with 2 and one line on standard error for wrong usage."""
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except click.ClickException as error:
            fail(f"{error.format_message()} (see greenrelay --help)")
        except click.Abort:
            sys.exit(1)


# Without a command click 8.1 prints its help and calls that success; 8.2 does not.
@click.group(
    cls=OneLineGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="greenrelay")
@click.pass_context
def main(context: click.Context) -> None:
    """Real-time for the Flask app you already have."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE_ERROR)


@main.command()
@click.argument("app")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks one."
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1), help="Not more than one yet."
)
@click.option("--cluster", help="Not in this version yet.", metavar="URL")
@click.option("--node", help="Name of this node, as it stands in PIDs.")
@click.option(
    "--certfile",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve TLS with this certificate.",
)
@click.option("--keyfile", type=click.Path(exists=True, dir_okay=False), help="Its private key.")
@click.option(
    "--routers",
    type=click.Path(exists=True, dir_okay=False),
    help="YAML file that says which relays a URL prefix has.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    help="Time for clients and processes to end after SIGTERM.",
)
@click.option("--reload", is_flag=True, help="Restart when a source file changes.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    help="What is logged to standard error.",
)
def serve(**given: Any) -> int:
    """Serve APP, a WSGI application as module:name (or module:factory())."""
    options = Options(**given)
    logging.basicConfig(
        level=options.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    _check(options)
    if not options.reload:
        return run(options)
    if not reloading.is_child():
        # One port for all children: a client comes back to where it has been.
        port = options.port or reloading.pick_port(options.host)
        return reloading.supervise("--port", str(port))
    reloading.end_with_parent()
    watcher = reloading.Watcher()
    try:
        return run(options, watcher)
    except SystemExit:
        if reloading.is_first():
            raise
        watcher.wait()  # until somebody mends the mistake that has just been told
        return reloading.RELOAD


def _check(options: Options) -> None:
    """End with one clear line if options don't go together."""
    if options.cluster is not None:
        fail("--cluster: clusters are not in this version yet; leave it out, one node needs none")
    if options.workers > 1:
        fail(
            "more than one worker needs --cluster, which is not in this version yet: their "
            "processes could not reach each other; serve with one, or one for each port"
        )
    if options.keyfile and not options.certfile:
        fail("--keyfile needs --certfile")
    if options.node is not None:
        try:
            this_interpreter().pin_node(options.node)
        except ValueError as error:
            fail(f"--node {options.node}: {error}")


@main.command("connect")
@click.argument("url")
@click.option("--header", "-H", "headers", multiple=True, help="Further header, 'Name: value'.")
@click.option("--origin", help="What a browser would send as Origin.")
def connect_command(url: str, headers: tuple[str, ...], origin: str | None) -> None:
    """Talk to URL, a relay's WebSocket (ws://) or event stream (http://), in the terminal.

    Each line of standard input is sent as one text message.
    """
    pairs = [tuple(part.strip() for part in header.partition(":")[::2]) for header in headers]
    if any(":" not in header or header.startswith(":") for header in headers):
        fail("--header takes 'Name: value'")
    try:
        connect(url, [(name, value) for name, value in pairs], origin)
    except ConnectError as error:
        click.echo(f"greenrelay: {error}", err=True)
        sys.exit(1)


main.add_command(send)


@main.command()
@click.argument("app")
def doctor(app: str) -> None:
    """List what would bite APP, a WSGI application as module:name, in production.

    Exits with 1 if something serious is among it.
    """
    findings = examine(load_or_fail(app), app.partition(":")[0])
    for finding in findings:
        click.echo(f"{'SERIOUS' if finding.is_serious else 'note   '}  {finding.what}")
        click.echo(f"         → {finding.do}")
    if not findings:
        click.echo("nothing found")
    sys.exit(1 if any(finding.is_serious for finding in findings) else 0)


def run(options: Options, watcher: reloading.Watcher | None = None) -> int:
    """Serve until a signal or a changed file ends it; return the exit code.

    By then every connection and process has ended.
    """
    application = load_or_fail(options.app)
    middleware = find_middleware(application)
    if options.routers is not None:
        _use_routers(middleware, options.routers)
    seconds = options.drain_seconds
    if seconds is None:
        seconds = DRAIN_SECONDS if middleware is None else middleware.drain_seconds
    node = find_node(application)
    stopping: AsyncResult[int] = AsyncResult()
    signals = StopSignals(node, seconds, lambda: stopping.set(0))
    server = start_server(options, application)
    scheme = "https" if options.certfile else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    click.echo(f"greenrelay: listening on {scheme}://{host}:{server.server_port}", err=True)
    if watcher is not None:
        watcher.watch(lambda: stopping.set(reloading.RELOAD))
    code: int = stopping.get()  # type: ignore[assignment]  # it waits for ever
    if code == reloading.RELOAD:
        seconds = min(seconds, reloading.DRAIN_SECONDS)
    server.close()
    requests = gevent.spawn(server.stop, seconds)
    drain(node, seconds)
    requests.join()
    signals.close()
    return code


def start_server(options: Options, application: Any) -> RelayServer:
    """Return a server that accepts connections, or end with one clear line."""
    try:
        server = RelayServer(
            (options.host, options.port),
            application,
            log=logging.getLogger("greenrelay.access"),
            error_log=sys.stderr,
            certfile=options.certfile,
            keyfile=options.keyfile,
        )
    except OSError as error:
        fail(f"can't use --certfile {options.certfile} with --keyfile {options.keyfile}: {error}")
    try:
        server.start()
    except OSError as error:
        # gevent adds the address to the system's text.
        fault = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        fail(f"can't listen on {options.host} port {options.port}: {fault}")
    return server


def _use_routers(middleware: RelayMiddleware | None, path: str) -> None:
    if middleware is None:
        fail("--routers needs an app with GreenRelay(app) or RelayMiddleware")
    try:
        middleware.use_routers(path)
    except ConfigurationError as error:
        fail(str(error))


def load_or_fail(text: str) -> Any:
    """Return the WSGI app named `module:name`, or end with one clear line."""
    try:
        return load_app(text)
    except LoadError as error:
        fail(str(error))


def fail(text: str) -> NoReturn:
    """Say in one line what is wrong, and exit with code 2."""
    click.echo(f"greenrelay: {' '.join(text.split())}", err=True)
    sys.exit(USAGE_ERROR)
