"""What two programs that talk to each other share: what is said, the windows, the answer.

Nothing may be imported here that gevent patches: the programs do that first.
"""

import time

DATA = {"text": "it is your move", "name": "Ann", "number": 7}
"""What each message carries."""
BATCH = 500
UNDER_WAY = 4
"""Batches that have been sent and whose end has not been answered, so that both sides work."""


def measure_batches(send_batch, take, warmup, seconds):
    """Send batches; the rate is that of the answers to their ends.

    Args:
        send_batch: sends so many messages, and then the end.
        take: waits for the next answer to an end, and returns the other program's CPU seconds.
    """
    for _ in range(UNDER_WAY):
        send_batch(BATCH)
    began = time.perf_counter()
    until = began + warmup
    while time.perf_counter() < until:
        take()
        send_batch(BATCH)
    before, began, cpu = take(), time.perf_counter(), time.process_time()
    count, until = 0, began + seconds
    while time.perf_counter() < until:
        send_batch(BATCH)
        after = take()
        count += BATCH
    return {
        "count": count,
        "seconds": time.perf_counter() - began,
        "ask_cpu": time.process_time() - cpu,
        "answer_cpu": after - before,
    }


def measure_trips(trip, read_cpu, warmup, seconds):
    """Go there and back, one message at a time; return how long each took.

    Args:
        read_cpu: returns the other program's CPU seconds.
    """
    until = time.perf_counter() + warmup
    while time.perf_counter() < until:
        trip()
    before, cpu, began = read_cpu(), time.process_time(), time.perf_counter()
    times, now = [], began
    while now < began + seconds:
        last = now
        trip()
        now = time.perf_counter()
        times.append(now - last)
    times.sort()
    return {
        "count": len(times),
        "seconds": now - began,
        "ask_cpu": time.process_time() - cpu,
        "answer_cpu": read_cpu() - before,
        "p50_us": times[len(times) // 2] * 1e6,
        "p99_us": times[len(times) * 99 // 100] * 1e6,
        "max_us": times[-1] * 1e6,
    }
