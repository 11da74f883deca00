"""Who is let in, and what is left of a request that has nearly been (§3.2, §8)."""

import json

import pytest

from greenrelay.process import inbox, spawn
from greenrelay.testing import wait_until
from greenrelay.web.middleware import RelayMiddleware
from greenrelay.web.quota import Quota
from greenrelay.web.servers import SOCKET_KEY
from greenrelay.web.taking import RequestSocket


def test_request_that_breaks_off_leaves_neither_room_nor_target(node):
    """§8, §3.2: what is left of its body is malformed, say, when the socket is taken."""

    def wait():
        for _ in inbox():
            pass

    def app(environ, start_response):
        start_response("200 OK", [("X-SSE-Relay", json.dumps({"target_pid": spawn(wait)}))])
        return []

    class Broken(RequestSocket):
        can_take = True

        def take(self, status):
            raise ValueError("a broken body")

    middleware = RelayMiddleware(app, node=node, quota=Quota(per_node=1))
    for _ in range(2):  # the second would be refused
        with pytest.raises(ValueError, match="a broken body"):
            middleware({"REQUEST_METHOD": "POST", SOCKET_KEY: Broken()}, lambda *args: None)
    wait_until(lambda: not len(node))
