"""A program: a node of a cluster, which does what comes on its standard input (see far.py)."""

import ast
import os
import pickle
import sys

import gevent
from gevent.fileobject import FileObject

from greenrelay.process import on_node
from greenrelay.testing import leaks
from tests.cluster.far import read_order, write_order
from tests.cluster.places import Place, make_backend, resolve, start_place


def end(place):
    place.end()


def is_busy(place):
    """Tell whether anything waits to be sent, or done."""
    return place.is_busy()


def find_leaks(place):
    return leaks(place.node)


def incarnation(place):
    return place.cluster.me.incarnation


class Program:
    """Does what it is told; each order in a greenlet of its own.

    Args:
        place: the node.
        output: where answers go.
    """

    def __init__(self, place, output):
        self.place = place
        self._output = output

    def wait(self, what):
        """Say that there is a node."""

    def spawn(self, act, *args, **options):
        return self.place.spawn(act, *args, **options)

    def run(self, act, *args):
        return self.place.run(act, *args)

    def ask(self, act, *args):
        with on_node(self.place.node):
            return resolve(act)(self.place, *args)

    def obey(self, number, verb, what, args, options):
        try:
            answer = number, getattr(self, verb)(what, *args, **options), None
        except Exception as error:
            answer = number, None, error
        try:
            pickle.dumps(answer)
        except Exception as error:  # it can't go there, and its sender has to know
            answer = number, None, TypeError(f"{verb} {what} gave {answer!r}: {error}")
        write_order(self._output, answer)


def main(name, way):
    place: Place = start_place(name, make_backend(way))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing printed gets among the answers
    program = Program(place, output)
    orders = FileObject(0, "rb")
    while (order := read_order(orders)) is not None:
        gevent.spawn(program.obey, *order)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], ast.literal_eval(sys.argv[2]))
