"""Processes of random programs, in whichever interpreter: each does what it is told, and notes.

What they have noted is asked for by node: `report`. A player ends for the program only; what it
has noted stays until `clear`.
"""

import contextlib
from collections import defaultdict

from greenrelay import process
from greenrelay.errors import ClusterError, NameTaken

NAMES = ("one", "two")
GROUPS = ("red", "blue")
DEEDS = (
    "say shout monitor unmonitor link unlink trap end kill cancel join leave register unregister "
    "spawn_named ask"
).split()

PLAYERS = defaultdict(dict)
"""Of this interpreter, by the node's name and the PID."""


class Player:
    """What a process does, has done, and has got."""

    def __init__(self):
        self.sent = defaultdict(int)
        self.got = defaultdict(list)
        self.refs = {}
        self.exits = defaultdict(list)
        self.is_busy = False

    def run(self):
        inbox, events = process.inbox(), process.events()
        while True:
            channel, item = process.select(inbox, events)
            if channel is events:
                if item.kind == "pid.exit":
                    self.exits[item.ref].append(item.reason)
                elif item.kind == "pid.cancel":
                    return
            elif item.topic == "do":
                deed, others, word = item.payload
                self.is_busy = True
                try:
                    getattr(self, deed)(others, word)
                finally:
                    self.is_busy = False
            else:
                self.got[item.sender].append(item.payload)

    def report(self):
        return {
            "sent": dict(self.sent),
            "got": dict(self.got),
            "watched": [(pid, self.exits[ref]) for ref, pid in self.refs.items()],
        }

    # -- what it does; the first of the others is meant ------------------------------------

    def say(self, others, word):
        for _ in range(3):
            self.sent[others[0]] += 1
            process.send(others[0], "word", self.sent[others[0]])

    def shout(self, others, word):
        for pid in others:  # each has its own count
            self.sent[pid] += 1
            process.broadcast([pid], "word", self.sent[pid])

    def monitor(self, others, word):
        self.refs[process.monitor(others[0])] = others[0]

    def unmonitor(self, others, word):
        for ref, watched in list(self.refs.items()):
            if watched == others[0]:
                process.unmonitor(ref)
                del self.refs[ref]

    def link(self, others, word):
        if others[0] != process.pid():
            process.link(others[0])

    def unlink(self, others, word):
        process.unlink(others[0])

    def trap(self, others, word):
        process.trap_links(word == 0)

    def end(self, others, word):
        process.exit(("shutdown", "bad")[word])

    def kill(self, others, word):
        process.terminate(others[0])

    def cancel(self, others, word):
        process.cancel(others[0])

    def join(self, others, word):
        process.group(GROUPS[word]).join(meta={"word": word})

    def leave(self, others, word):
        process.group(GROUPS[word]).leave()

    def register(self, others, word):
        with contextlib.suppress(NameTaken, ClusterError):
            process.registry.register(NAMES[word])

    def unregister(self, others, word):
        if process.registry.lookup(NAMES[word]) == process.pid():
            process.registry.unregister(NAMES[word])

    def spawn_named(self, others, word):
        process.spawn("tests.cluster.acts:idle", name=NAMES[word])

    def ask(self, others, word):
        process.info(others[0])


def spawn(place):
    """Start a player, and return its PID."""
    player = Player()
    pid = place.spawn(player.run)
    PLAYERS[place.name][pid] = player
    return pid


def report(place):
    """Return what is so on a node, and what its players have noted."""
    node = place.node
    players = PLAYERS[place.name]
    return {
        "players": {pid: player.report() for pid, player in players.items()},
        "busy": [pid for pid, player in players.items() if is_busy(node, pid, player)],
        "alive": [entity.pid for entity in node],
        "linked": {pid: list(node.topology.linked(pid)) for pid in players},
        "names": {name: node.registry.lookup(name) for name in NAMES},
        "groups": {group: dict(node.groups.details(group)) for group in GROUPS},
    }


def is_busy(node, pid, player):
    info = node.info(pid)
    return player.is_busy or (info is not None and info["mailbox"] > 0)


def clear(place):
    """Forget everybody."""
    PLAYERS[place.name].clear()
