"""What of a cluster would fail in production: for `greenrelay doctor`.

It joins for a moment, under a name of its own, and looks whether it is understood. Rule: a finding
has no secret or password in it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenrelay.cluster.joining import check_url, join
from greenrelay.errors import ClusterError, ConfigurationError
from greenrelay.processes.node import Node
from greenrelay.serving.joining import chosen_url
from greenrelay.web.middleware import find_middleware

SECRET_VARIABLE: Final = "GREENRELAY_CLUSTER_SECRET"
MIN_SECRET_CHARS: Final = 16
"""A shorter one can be found by trying."""
_MOUNTS: Final = "/proc/self/mountinfo"
_NEEDED = re.compile(r"(?P<name>[a-z]+)>=(?P<version>[0-9.]+).*extra == .cluster.")


class Finding(NamedTuple):
    """One thing that would fail, or limit the app, in production."""

    is_serious: bool
    """Whether connections fail or the node stalls; else it is a matter of scale or care."""
    what: str
    do: str


def check_cluster(app: Any) -> Iterator[Finding]:
    """Look at the cluster that was chosen, and join it for a moment. Switches: yes."""
    url = chosen_url(find_middleware(app))
    if url == "" and _has_several_workers():
        yield Finding(
            True, "GREENRELAY_CLUSTER is empty, so workers do not know each other: what is sent to "
            "a client of another one is lost",
            "leave it out (the workers join by themselves), or name a cluster",
        )  # fmt: skip
    if not url:
        return
    yield from check_versions(url)
    try:
        check_url(url)
        missed = _try(url)
    except ConfigurationError as error:
        yield Finding(True, f"GREENRELAY_CLUSTER is not to be used: {error}", "mend it")
        return
    except ClusterError as error:
        yield Finding(
            True, f"a server would not start, as it can't join the cluster: {error}",
            "see that it runs, that this machine and user may reach it, and that the password is "
            "right",
        )  # fmt: skip
        return
    if missed:
        yield Finding(
            True, f"what {missed} says in the cluster is not understood",
            f"give all nodes the same {SECRET_VARIABLE} (or ?secret=), and the same release",
        )  # fmt: skip
    yield from _check_care(url)


def _has_several_workers() -> bool:
    """Tell whether gunicorn would start several, as far as can be seen from here."""
    return os.environ.get("WEB_CONCURRENCY", "1") not in ("", "0", "1")


def _try(url: str) -> str:
    """Join and leave; return which member could not be understood, if any.

    Raises:
        ClusterError, ConfigurationError: as `join()` does.
    """
    node = Node(f"doctor-{secrets.token_hex(4)}")
    log = logging.getLogger("greenrelay.cluster")
    level, log.level = log.level, logging.CRITICAL  # the finding says it
    try:
        cluster = join(node, url)
        silent = [peer.member.node for peer in cluster.peers if not peer.has_synced]
        is_refused = node.counts["cluster_refused"] > 0
        cluster.stop()
    finally:
        log.level = level
    return f"node {silent[0]}" if silent and is_refused else ""


def check_versions(url: str) -> Iterator[Finding]:
    """Look whether the libraries of a cluster are as new as they have to be."""
    for requirement in importlib.metadata.requires("greenrelay") or ():
        needed = _NEEDED.match(requirement)
        if needed is None or (needed["name"] != "msgpack" and not url.startswith("redis")):
            continue
        try:
            found = importlib.metadata.version(needed["name"])
        except importlib.metadata.PackageNotFoundError:
            found = ""
        if not found and needed["name"] == "hiredis":
            continue  # redis-py does without it
        if _numbers(found) < _numbers(needed["version"]):
            have = f"{needed['name']} {found}" if found else f"no {needed['name']}"
            yield Finding(
                True, f"there is {have}, and the cluster needs {needed['version']} or newer",
                "pip install -U 'greenrelay[cluster]'",
            )  # fmt: skip


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _check_care(url: str) -> Iterator[Finding]:
    """Look at a cluster that can be joined, for what would be safer."""
    from greenrelay.cluster.urls import read_url  # needs msgpack, which is an extra's

    where = read_url(url)
    if where.scheme == "local" and is_private(tempfile.gettempdir()):
        yield Finding(
            False, f"{tempfile.gettempdir()} is this service's own (PrivateTmp= of systemd): other "
            "services of this machine can't be in its cluster",
            "if they should be, set TMPDIR of all of them to one directory of that user",
        )  # fmt: skip
    if where.scheme.startswith("redis") and not where.secret:
        yield Finding(
            False, "nodes do not sign what they tell each other: whoever can write to that Redis "
            "can send anything to any process",
            f"set {SECRET_VARIABLE} to one long random text on all nodes",
        )  # fmt: skip
    elif where.secret and len(where.secret) < MIN_SECRET_CHARS:
        yield Finding(
            False, f"the cluster's secret has {len(where.secret)} characters: it can be guessed",
            "make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )  # fmt: skip


def is_private(folder: str, mounts: str = _MOUNTS) -> bool:
    """Tell whether a folder is one that systemd has made for this service alone.

    Source: proc_pid_mountinfo(5): the 4th field is the mount's root, the 5th where it is.
    """
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return False
    places = {tuple(line.split()[3:5]) for line in lines}
    return any(
        "/systemd-private-" in root and Path(folder).is_relative_to(place) for root, place in places
    )
