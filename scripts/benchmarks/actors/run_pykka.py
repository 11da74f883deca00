"""Pykka's actors: a thread each."""

import pykka
from measuring import main, resident_kb

BATCH = 200


class Echo(pykka.ThreadingActor):
    def on_receive(self, message):
        return message


def spawn(variant, measure, count):
    def batch():
        for _ in range(BATCH):
            Echo.start().stop()
        return BATCH

    return measure(batch)


def pingpong(variant, measure, count):
    ref = Echo.start()

    def batch():
        for number in range(BATCH):
            ref.ask(number)
        return 2 * BATCH

    return measure(batch)


def oneway(variant, measure, count):
    ref = Echo.start()

    def batch():
        for number in range(BATCH):
            ref.tell(number)
        ref.ask(None)
        return BATCH

    return measure(batch)


def idle(variant, measure, count):
    before = resident_kb()
    refs = [Echo.start() for _ in range(count)]
    for ref in refs:
        ref.ask(None)
    return {"kb": (resident_kb() - before) / len(refs), "of": len(refs)}


try:
    main({"spawn": spawn, "pingpong": pingpong, "oneway": oneway, "idle": idle})
finally:
    pykka.ActorRegistry.stop_all()
