"""What the programs beside this one share: the clock, the memory, the answer.

Each is run as `program.py VARIANT TEST WARMUP SECONDS COUNT` and prints one line of JSON.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path


def main(tests):
    """Run the test that the command line names, and print what comes out.

    Args:
        tests: name → a function of (variant, measure, count); `measure` is for it to call.
    """
    variant, test, warmup, seconds, count = sys.argv[1:]

    def measure(batch):
        return measure_rate(batch, float(warmup), float(seconds))

    print(json.dumps(tests[test](variant, measure, int(count))), flush=True)


def measure_rate(batch, warmup, seconds):
    """Call `batch()`, which returns how much it has done, again and again for so long."""
    until = time.perf_counter() + warmup
    while time.perf_counter() < until:
        batch()
    gc.collect()
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    until = began + seconds
    while time.perf_counter() < until:
        count += batch()
    return {
        "count": count,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


def resident_kb():
    """Return the memory of this program in KB of 1,024 bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024
