"""What several tests of the app's side need."""

import gevent.socket
import pytest
from flask import Flask


class Pair:
    """A server's socket and its buffered file, and the client's socket."""

    def __init__(self):
        self.server, self.client = gevent.socket.socketpair()
        self.file = self.server.makefile("rb", -1)

    def close(self):
        for each in (self.file, self.server, self.client):
            each.close()


@pytest.fixture
def app():
    """An app that is not wrapped yet."""
    return Flask("shop")


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()
