"""A target for connections that keeps what it gets, and never runs."""

from greenrelay.pid import PID


class RecordingTarget:
    """An entity of a node.

    Args:
        node: where it lives.
    """

    def __init__(self, node):
        self.node = node
        self.pid: PID = node.make_pid("proc")
        self.messages = []
        self.exits = []
        self.links_down = []
        self.is_full = self.is_killed = False
        self.on_drained_calls = {}
        node.add(self)

    def deliver(self, message):
        self.messages.append(message)
        return True

    def on_exit(self, exit):
        self.exits.append(exit)

    def on_link_down(self, news):
        self.links_down.append(news)

    def cancel(self, sender, reason):
        self.kill(reason or "cancelled")

    def kill(self, reason="killed"):
        """End with `reason`."""
        self.node.end(self, reason)

    def on_drained(self, key, call):
        self.on_drained_calls[key] = call

    def forget_drained(self, key):
        self.on_drained_calls.pop(key, None)

    def drain(self):
        """Have room again."""
        self.is_full = False
        calls, self.on_drained_calls = self.on_drained_calls, {}
        for call in calls.values():
            call()

    # -- what a test asks ------------------------------------------------------------

    @property
    def topics(self):
        return [message.topic for message in self.messages]

    def payloads(self, topic):
        return [message.payload for message in self.messages if message.topic == topic]
