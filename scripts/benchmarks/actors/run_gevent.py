"""Bare greenlets, each with a queue: what processes cost more than."""

import gevent
from gevent.queue import SimpleQueue
from measuring import main, resident_kb

BATCH = 1000


def nothing():
    pass


def spawn(variant, measure, count):
    def batch():
        gevent.joinall([gevent.spawn(nothing) for _ in range(BATCH)])
        return BATCH

    return measure(batch)


def pingpong(variant, measure, count):
    here, there = SimpleQueue(), SimpleQueue()

    def echo():
        while True:
            here.put(there.get())

    def batch():
        for number in range(BATCH):
            there.put(number)
            here.get()
        return 2 * BATCH

    gevent.spawn(echo)
    return measure(batch)


def oneway(variant, measure, count):
    here, there = SimpleQueue(), SimpleQueue()

    def sink():
        while True:
            if there.get() is None:
                here.put(None)

    def batch():
        for number in range(BATCH):
            there.put(number)
        there.put(None)
        here.get()
        return BATCH

    gevent.spawn(sink)
    return measure(batch)


def idle(variant, measure, count):
    before = resident_kb()
    greenlets = [gevent.spawn(SimpleQueue().get) for _ in range(count)]
    gevent.idle()
    return {"kb": (resident_kb() - before) / len(greenlets), "of": len(greenlets)}


main({"spawn": spawn, "pingpong": pingpong, "oneway": oneway, "idle": idle})
