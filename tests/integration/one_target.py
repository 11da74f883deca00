"""An app whose connections all have one target, which keeps what they tell it."""

from functools import partial

from flask import Flask

from greenrelay import GreenRelay
from greenrelay.testing import wait_until
from tests.sample_processes import collect


class OneTargetApp:
    """An app whose connections, by WebSocket or event stream, all have one target."""

    def __init__(self, node, relay_server):
        self.node = node
        self.app = Flask("one_target")
        self.relay = GreenRelay(self.app, node=node)
        self.messages = []
        self.target = node.spawn(collect, (self.messages,))
        self.fields = {}
        for kind, relay in {"ws": self.relay.websocket, "sse": self.relay.sse}.items():
            self.app.add_url_rule(f"/{kind}", kind, partial(self.answer, relay))
        self.server = relay_server(self.app)

    def answer(self, relay):
        return relay(self.target, **self.fields)

    def enter(self, kind):
        """Connect; return the client, and the PID of its connection."""
        before = self.count("join")
        client = getattr(self.server, f"connect_{kind}")(f"/{kind}")
        wait_until(lambda: self.count("join") > before)
        joins = [each for each in self.messages if each.topic.endswith("join")]
        return client, joins[-1].payload["client_pid"]

    def count(self, topic):
        return len([each for each in self.messages if each.topic.endswith(topic)])
