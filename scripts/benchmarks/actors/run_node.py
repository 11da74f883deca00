"""Two nodes of greenrelay, each an interpreter: `run_node.py ask|answer URL TEST WARMUP SECONDS`.

`answer` says `ready` when it is a member, and serves until its standard input ends. `ask` measures,
and prints one line of JSON; the CPU seconds of both are in it.
"""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

import json
import sys
import time

import gevent
from talking import DATA, measure_batches, measure_trips

from greenrelay import process
from greenrelay.cluster import joining

FIND_SECONDS = 10.0


def answer():
    """Take numbers, and say when the last of a batch is there; answer to calls with what they ask.

    A batch's end is answered with the CPU seconds that this interpreter has used.
    """
    for message in process.inbox():
        if message.topic == "ping":
            process.send(message.sender, "pong", message.payload)
        elif message.topic == "end":
            process.send(message.sender, "taken", time.process_time())


def ask_oneway(pid, warmup, seconds):
    inbox, send = process.inbox(), process.send

    def send_batch(count):
        for _ in range(count):
            send(pid, "said", DATA)
        send(pid, "end")

    return measure_batches(send_batch, lambda: inbox.receive().payload, warmup, seconds)


def ask_trips(pid, warmup, seconds):
    inbox, send = process.inbox(), process.send

    def trip():
        send(pid, "ping", DATA)
        inbox.receive()

    def read_cpu():
        send(pid, "end")
        return inbox.receive().payload

    return measure_trips(trip, read_cpu, warmup, seconds)


def ask(test, warmup, seconds):
    end = time.monotonic() + FIND_SECONDS
    while (pid := process.registry.lookup("answer")) is None:
        if time.monotonic() > end:
            sys.exit("the other node is not there")
        gevent.sleep(0.01)
    print(json.dumps(TESTS[test](pid, warmup, seconds)), flush=True)


TESTS = {"oneway": ask_oneway, "trips": ask_trips}

if __name__ == "__main__":
    role, url, test, warmup, seconds = sys.argv[1:]
    node = process.default_node(f"{role}er")
    cluster = joining.join(node, url)
    try:
        if role == "answer":
            process.spawn(answer, name="answer")
            print("ready", flush=True)
            gevent.get_hub().threadpool.apply(sys.stdin.read)
        else:
            pid = process.spawn(ask, test, float(warmup), float(seconds))
            while process.is_alive(pid):
                gevent.sleep(0.01)
    finally:
        joining.leave(node)
