"""How a server is measured: it is started, the load client runs against it, both are ended.

What a benchmark asks of a server stands in the load client's options, `path`, `json`, `tls` and
`deflate` among them; from those follows how the server is started. A contender that `is_bare`
is asked for none of it.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.environment import Workbench
from benchmarks.machine import find_workers, hard_descriptor_limit, read_resident_kb
from benchmarks.suite import Contender, MeasurementFailed, Sample

SERVERS = Path(__file__).resolve().parent / "servers"
START_SECONDS = 20.0  # until a server says its port
GRACE_SECONDS = 30.0  # for opening the connections, beyond warm-up and window
PAUSE_SECONDS = 0.3  # for a server to see that its clients have left
IDLE_CONNECTIONS = 5_000
WARMING_CONNECTIONS = 50  # before the first reading, so that lazy imports are not counted
WARMING_SHARE = 0.05  # at most, of those that are measured: what they leave free is used again
REHEARSING_CONNECTIONS = 100
MOST = 5_000_000  # messages in one window, whatever its seconds are
OTHER_DESCRIPTORS = 200  # of one side, besides its connections
BARE = {"json": 0, "tls": 0, "deflate": 0}

Asked = dict[str, Any]
"""The load client's options, and `teardown` and `gunicorn`, which are for the server."""


@contextlib.contextmanager
def serving(bench: Workbench, contender: Contender, asked: Asked) -> Iterator[tuple[Child, int]]:
    """Run a contender's server; give it and its port."""
    log = bench.logs / f"{contender.name}.log"
    command = [bench.python, *server_command(bench, contender, asked)]
    with Child(command, bench.cores.server, log) as server:
        word, port = server.read_line(START_SECONDS).split()
        if word != "port":
            raise MeasurementFailed(f"{contender.program.name} did not say its port")
        yield server, int(port)


def server_command(bench: Workbench, contender: Contender, asked: Asked) -> list[str | Path]:
    """Return program and arguments that do what is asked."""
    if contender.is_bare:
        return [contender.program]
    if asked.get("gunicorn"):
        return [SERVERS / "serve_gunicorn.py", *contender.gunicorn]
    command: list[str | Path] = [contender.program]
    if asked.get("teardown"):
        command += ["--teardown"]
    if asked.get("tls"):
        certificate, key = bench.make_certificate()
        command += ["--cert", certificate, "--key", key]
    if asked.get("deflate"):
        command += ["--deflate"]
    return command


def load_options(bench: Workbench, contender: Contender, asked: Asked) -> dict[str, Any]:
    """Return the load client's options for this contender."""
    binary = bench.settings.opcode == "binary" and not asked.get("json")
    options = {
        "server_core": bench.cores.server,
        "client_core": bench.cores.client,
        "binary": int(binary),
        "warmup": bench.settings.warmup_seconds,
        "seconds": bench.settings.seconds,
        "most": MOST,
        "deadline": load_seconds(bench),
        **asked,
        **(BARE if contender.is_bare else {}),
    }
    return {name: options[name] for name in options if name not in ("teardown", "gunicorn")}


def start_load(
    bench: Workbench, contender: Contender, server: Child, port: int, asked: Asked
) -> Child:
    """Start the load client against a server."""
    options = load_options(bench, contender, asked)
    pids = find_workers(server.pid) if asked.get("gunicorn") else [server.pid]
    options.update(port=port, server_pids=",".join(map(str, pids)))
    arguments = [f"{name}={value}" for name, value in options.items()]
    return Child([bench.load_client, *arguments], bench.cores.client, bench.logs / "load.log")


def run_load(
    bench: Workbench, contender: Contender, server: Child, port: int, asked: Asked
) -> dict[str, Any]:
    """Run the load client until it has measured; return what it says."""
    seconds = float(asked.get("deadline", load_seconds(bench))) + GRACE_SECONDS
    with start_load(bench, contender, server, port, asked) as load:
        return dict(json.loads(load.read_line(seconds)))


def load_seconds(bench: Workbench) -> float:
    """Return after how many seconds a load client gives up."""
    return bench.settings.warmup_seconds + bench.settings.seconds + GRACE_SECONDS


def rehearse_and_run(bench: Workbench, contender: Contender, asked: Asked) -> dict[str, Any]:
    """Return what the load client says of a server that has been used before.

    A first, shorter load is not counted: asyncio's servers are twice as fast after their first
    clients have left, when malloc has learnt what size their receive buffers are.
    """
    few = min(REHEARSING_CONNECTIONS, asked["connections"])
    shorter = {"connections": few, "warmup": 0, "seconds": bench.settings.warmup_seconds}
    with serving(bench, contender, asked) as (server, port):
        run_load(bench, contender, server, port, {**asked, **shorter})
        time.sleep(PAUSE_SECONDS)
        return run_load(bench, contender, server, port, asked)


def measure_rate(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return how many messages, deliveries or connections a server makes in a second."""
    said = rehearse_and_run(bench, contender, asked)
    return make_sample(said, said["count"] / counted_seconds(bench, said))


def counted_seconds(bench: Workbench, said: dict[str, Any]) -> float:
    """Return the seconds that count: those that passed, or those of the server's CPU."""
    return float(said["server_cpu"] if bench.settings.per_cpu else said["seconds"])


def make_sample(
    said: dict[str, Any], value: float, others: dict[str, float] | None = None
) -> Sample:
    """Return a sample with what the load client has seen of the cores."""
    seconds = said["seconds"]
    foreign = max(said[f"{side}_busy"] - said[f"{side}_cpu"] for side in ("client", "server"))
    return Sample(
        value=value,
        detail=said,
        client_share=said["client_busy"] / seconds,
        server_share=said["server_busy"] / seconds,
        foreign_share=max(0.0, foreign / seconds),
        others=others or {},
    )


@contextlib.contextmanager
def holding(
    bench: Workbench, contender: Contender, asked: Asked
) -> Iterator[tuple[Child, Child, float]]:
    """Hold so many connections, which do nothing yet; give server, load client and growth.

    The growth is what each connection adds to the server's resident memory, in KB.
    """
    connections = asked["connections"]
    check_descriptors(connections)
    with serving(bench, contender, asked) as (server, port):
        few = {**asked, "connections": warming_connections(connections), "mode": idle_mode(asked)}
        with start_load(bench, contender, server, port, few) as load:
            load.read_line(load_seconds(bench))
            load.close_input(GRACE_SECONDS)
        time.sleep(bench.settings.settle_seconds)
        before = read_resident_kb(server.pid)
        seconds = float(asked.get("deadline", load_seconds(bench) + bench.settings.settle_seconds))
        with start_load(bench, contender, server, port, {**asked, "deadline": seconds}) as load:
            load.read_line(seconds)
            time.sleep(bench.settings.settle_seconds)
            yield server, load, (read_resident_kb(server.pid) - before) / connections


def warming_connections(connections: int) -> int:
    return min(WARMING_CONNECTIONS, max(1, round(connections * WARMING_SHARE)))


def idle_mode(asked: Asked) -> str:
    return "streams" if asked["mode"] == "streams" else "idle"


def check_descriptors(connections: int) -> None:
    """Raise MeasurementFailed if one side may not have so many connections."""
    needed, limit = connections + OTHER_DESCRIPTORS, hard_descriptor_limit()
    if limit < needed:
        raise MeasurementFailed(
            f"{connections:,} connections need {needed} descriptors on each side, the hard limit "
            f"is {limit}: ulimit -Hn"
        )


def measure_memory(bench: Workbench, contender: Contender, **asked: Any) -> Sample:
    """Return the KB by which a server grows with each idle connection."""
    with holding(bench, contender, {"connections": IDLE_CONNECTIONS, **asked}) as (_, _, growth):
        return Sample(value=growth, detail={"connections": IDLE_CONNECTIONS})
