"""What the processes of the tests do, and somebody who notes how they end."""

import gevent

from greenrelay import process
from greenrelay.message import Event
from greenrelay.testing import wait_until


class Observer:
    """Monitors, and keeps the news. No process: its monitors are in nobody's way."""

    def __init__(self, node):
        self.node = node
        self.exits = []

    def on_exit(self, exit):
        self.exits.append(exit)

    def watch(self, *pids):
        """Monitor each of `pids`; return the ref of the last."""
        return [self.node.monitor(self, pid) for pid in pids][-1]

    def wait_for(self, pid):
        """Return the `Exit` of a process that is watched, once it is there."""
        return wait_until(lambda: [exit for exit in self.exits if exit.sender == pid])[0]

    def reason_of(self, pid):
        """Monitor a process until it ends, and return why it did."""
        self.watch(pid)
        return self.wait_for(pid).reason


def idle():
    """Wait until cancelled."""
    for _ in process.inbox():
        pass


def receive_forever():
    """Wait again and again, a little each time."""
    while True:
        process.inbox().receive(timeout=0.01)


def sleep():
    """Wait where no mailbox is."""
    gevent.sleep(60)


def waiting_events(process):
    """Return the events that wait in a process's mailbox."""
    mailbox = process.mailbox
    aside = (mailbox._aside or {}).get(mailbox.events, ())
    return [item for item in (*aside, *mailbox.queue.queue) if isinstance(item, Event)]


def crash():
    """Fail."""
    raise RuntimeError("boom")


def collect(messages):
    """Keep every message."""
    for message in process.inbox():
        messages.append(message)


def echo():
    """Reply with what was sent."""
    for message in process.inbox():
        message.reply(message.payload)


class Stage:
    """Runs functions that a test sends it, one at a time, as one process.

    Args:
        spawn: how it is spawned; by default without an app.
    """

    def __init__(self, node, spawn=None):
        self.node = node
        self.outcomes = []
        self.pid = (spawn or node.spawn)(self._run)

    def _run(self):
        for message in process.inbox():
            self.outcomes.append(message.payload())

    def do(self, call, *args):
        """Have the process call `call(*args)`, and return what it returns."""
        count = len(self.outcomes)
        self.node.send(self.pid, "do", lambda: call(*args))
        return wait_until(lambda: len(self.outcomes) > count) and self.outcomes[-1]


def settle(node):
    """Wait until nothing happens any more."""
    quiet = 0
    while quiet < 3:  # on a busy machine the loop is idle between two halves of its callbacks
        gevent.idle()
        quiet = 0 if node.rotation else quiet + 1


class Cast:
    """Processes with short names, told what to do in words, as a table of rules is written.

        a link b | a trap | b exit bad | kill a | cancel a | a monitor b | a unmonitor b | a crash

    Each line takes effect before the next begins.
    """

    def __init__(self, node, names):
        self.node = node
        self.observer = Observer(node)
        self.pids = {name: node.spawn(self._obey) for name in names}
        self.observer.watch(*self.pids.values())
        settle(node)

    def _obey(self):
        for message in process.inbox():
            message.payload()

    def play(self, script):
        """Have a script played, line by line."""
        for line in script.split("|"):
            words = line.split()
            if words[0] in ("kill", "cancel"):
                getattr(self.node, words[0].replace("kill", "terminate"))(self.pids[words[1]])
            else:
                self.tell(words[0], self._deed(*words[1:]))
            settle(self.node)

    def tell(self, name, call):
        """Have a process call something."""
        self.node.send(self.pids[name], "do", call)

    def _deed(self, verb, *words):
        deeds = {
            "link": process.link,
            "unlink": process.unlink,
            "monitor": process.monitor,
            "unmonitor": process.unmonitor,
        }
        if verb in deeds:
            return lambda: deeds[verb](self.pids[words[0]])
        if verb == "trap":
            return lambda: process.trap_links(words != ("off",))
        return crash if verb == "crash" else lambda: process.exit(*words)

    @property
    def reasons(self):
        """Why those ended that did: `{"a": "killed"}`."""
        names = {pid: name for name, pid in self.pids.items()}
        return {names[exit.sender]: exit.reason for exit in self.observer.exits}

    def news(self):
        """Return what those who live find in their events: `{"a": [("exit", "b", "killed")]}`."""
        names = {pid: name for name, pid in self.pids.items()}
        found = {}
        for name, pid in self.pids.items():
            if self.node.is_alive(pid):
                events = waiting_events(self.node.find(pid))
                found[name] = [(e.kind[4:], names[e.sender], e.reason) for e in events]
        return {name: news for name, news in found.items() if news}
