"""greenrelay's processes: plain, monitored, linked, or taking with select()."""

import gevent
from measuring import main, resident_kb

from greenrelay import process

BATCH = 1000
WATCHED = {"greenrelay-monitor": {"monitor": True}, "greenrelay-link": {"link": True}}


def nothing():
    pass


def receiver(variant):
    """Return the function that takes the next message."""
    inbox = process.inbox()
    if variant != "greenrelay-select":
        return inbox.receive
    channels = (process.listen("rare"), inbox, process.listen("rarer"))
    return lambda: process.select(*channels)[1]


def echo(variant):
    receive = receiver(variant)
    while True:
        message = receive()
        process.send(message.sender, "pong", message.payload)


def sink(variant):
    receive = receiver(variant)
    while True:
        message = receive()
        if message.payload is None:
            process.send(message.sender, "all taken")


def wait():
    process.inbox().receive()


def spawn(variant, measure, count):
    options = WATCHED.get(variant, {})

    def batch():
        for _ in range(BATCH):
            process.spawn(nothing, **options)
        if "monitor" in options:
            for _ in range(BATCH):
                process.events().receive()
        else:
            gevent.sleep(0)
        return BATCH

    return measure(batch)


def pingpong(variant, measure, count):
    receive = receiver(variant)
    pid = process.spawn(echo, variant, **WATCHED.get(variant, {}))

    def batch():
        for number in range(BATCH):
            process.send(pid, "ping", number)
            receive()
        return 2 * BATCH

    return measure(batch)


def oneway(variant, measure, count):
    receive = receiver(variant)
    pid = process.spawn(sink, variant, **WATCHED.get(variant, {}))

    def batch():
        for number in range(BATCH):
            process.send(pid, "number", number)
        process.send(pid, "number", None)
        receive()
        return BATCH

    return measure(batch)


def idle(variant, measure, count):
    options = WATCHED.get(variant, {})
    before = resident_kb()
    pids = [process.spawn(wait, **options) for _ in range(count)]
    gevent.idle()
    return {"kb": (resident_kb() - before) / len(pids), "of": len(pids)}


TESTS = {"spawn": spawn, "pingpong": pingpong, "oneway": oneway, "idle": idle}
pid = process.spawn(main, TESTS)
while process.is_alive(pid):
    gevent.sleep(0.01)
