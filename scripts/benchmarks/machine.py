"""What this machine gives: cores, descriptors, memory of a process."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Where the two sides of a measurement run."""

    server: int
    client: int


def pick_cores() -> Cores:
    """Return two cores for the two sides, the same one twice if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[0]
    others = [core for core in allowed[1:] if core not in read_siblings(server)]
    return Cores(server, (others or allowed[1:] or allowed)[0])


def read_siblings(core: int) -> set[int]:
    """Return the logical cores that share this one's physical core, as far as Linux says."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    siblings: set[int] = set()
    try:
        parts = path.read_text().strip().split(",")
    except OSError:
        return siblings
    for part in parts:
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return siblings


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one, for what is started too."""
    hard = hard_descriptor_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def hard_descriptor_limit() -> int:
    """Return how many descriptors one program may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        return hard
    return int(Path("/proc/sys/fs/nr_open").read_text())


def read_listen_limit() -> int:
    """Return how many connections may wait to be accepted, whatever a program asks for."""
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


def find_workers(pid: int) -> list[int]:
    """Return the PIDs of a program's children; its own if there is none yet."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] or [pid]


def read_resident_kb(pid: int) -> float:
    """Return the resident memory of a process in KB of 1,024 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def describe_machine() -> str:
    """Return the processor and the system in one line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"
