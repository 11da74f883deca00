"""`greenrelay send --cluster URL DEST TOPIC JSON`: one message to a process, from a shell."""

from __future__ import annotations

import sys
from typing import Any

import click

from greenrelay.cluster.client import connect
from greenrelay.errors import ClusterError, GreenRelayError
from greenrelay.protocol.jsontext import decode_json


@click.command("send")
@click.option(
    "--cluster",
    envvar="GREENRELAY_CLUSTER",
    required=True,
    metavar="URL",
    help="Whose process it is: local:NAME, redis://…",
)
@click.argument("dest")
@click.argument("topic")
@click.argument("json", default="null")
def send(cluster: str, dest: str, topic: str, json: str) -> None:
    """Send a message to DEST, a PID or a name, with what JSON says as its payload.

    A JSON of - is read from standard input. Exits with 1 if nobody could be told.
    """
    payload = _read(json)
    try:
        with connect(cluster) as client:
            is_sent = client.send(dest, topic, payload)
    except (ClusterError, LookupError) as error:
        _fail(str(error))
    except (GreenRelayError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if not is_sent:
        _fail(f"{dest} was not reached: its node is not in the cluster")


def _read(text: str) -> Any:
    text = sys.stdin.read() if text == "-" else text
    try:
        return decode_json(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the payload is no JSON: {error}; a text has quotes") from None


def _fail(text: str) -> None:
    click.echo(f"greenrelay: {' '.join(text.split())}", err=True)
    sys.exit(1)
