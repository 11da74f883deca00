"""What processes do at "the other place": named by text, so that another interpreter can run it.

Whatever they have to tell goes to a process of the test, as messages that travel.
"""

from collections import defaultdict

import gevent

from greenrelay import process
from greenrelay.testing import fake_websocket
from tests.integration import raw

NOTED = defaultdict(list)
"""By the PID of a process: its events, as those who watch it in this interpreter got them."""

OPENED = {}
"""Transports, by the PIDs of their connections, which may be closed."""


def idle():
    """Wait, until cancelled."""
    for _ in process.inbox():
        pass


def report(to):
    """Pass on whatever comes: `got` with [topic, payload, sender]."""
    for message in process.inbox():
        process.send(to, "got", [message.topic, message.payload, message.sender])


def echo():
    """Reply to calls, and end as told."""
    for message in process.inbox():
        if message.topic == "call":
            message.reply(message.payload)
        elif message.topic == "end":
            process.exit(message.payload)
        elif message.topic == "fail":
            raise ValueError(message.payload)
        elif message.topic == "return":
            return message.payload
        elif message.topic == "return object":
            return object()
    return None


def sleepy(reply_after):
    """Reply, but late."""
    for message in process.inbox():
        gevent.sleep(reply_after)
        message.reply("late")


def tell_all(pids, count):
    """Send a numbered message to each, so many times."""
    for number in range(count):
        for pid in pids:
            process.send(pid, "number", number)


def talk_and_end(to, count, reason):
    """When told to, send numbers, and end."""
    process.inbox().receive()
    for number in range(count):
        process.send(to, "number", number)
    process.exit(reason)


def watch(pid, to, traps=True, links=False):
    """Monitor, or link with, a process, and pass on the events: `event`."""
    events = process.events()
    process.trap_links(traps)
    process.link(pid) if links else process.monitor(pid)
    process.send(to, "ready", process.pid())
    for event in events:
        process.send(to, "event", [event.kind, event.sender, event.reason])


def link(pid, to):
    """Link with a process, and wait, until it takes us along."""
    process.link(pid)
    process.send(to, "ready", process.pid())
    idle()


def unlink_on_message(pid, to):
    """Link, unlink at the first message, and go on."""
    link_first = process.link
    link_first(pid)
    process.send(to, "ready", process.pid())
    for message in process.inbox():
        if message.topic == "unlink":
            process.unlink(pid)
        process.send(to, "done", message.topic)


def cancelled_by(to):
    """Take a `Cancel` as an event, and tell of it."""
    events = process.events()
    process.send(to, "ready", process.pid())
    news = events.receive()
    process.send(to, "event", [news.kind, news.sender, news.reason])


def full_until_told(topic):
    """Take nothing of the inbox until the topic comes."""
    told = process.listen(topic)
    told.receive()
    idle()


def note_events(pid):
    """Monitor a process, and keep what comes, for `noted`."""
    process.monitor(pid)
    for event in process.events():
        NOTED[event.sender].append((event.kind, event.reason))


def hold_then_count(to, count):
    """Take nothing until told, then so many messages; tell each sender's numbers."""
    process.listen("now").receive()
    numbers = {}
    for message in process.inbox():
        if message.topic == "ws.message":
            number = int(message.payload.split()[0])
            numbers.setdefault(message.sender, []).append(number)
            count -= 1
        if not count:
            process.send(to, "counted", list(numbers.values()))


# -- what is run to its end, for its value --------------------------------------------------


def spawn_named(text, name, scope="cluster"):
    return process.spawn(text, name=name, scope=scope)


def lookup(name):
    return process.registry.lookup(name)


def register(name, pid=None, scope="cluster"):
    """Register, and return who holds it if it is taken."""
    try:
        process.registry.register(name, pid, scope=scope)
    except process.NameTaken as taken:
        return taken.holder
    return None


def unregister(name):
    return process.registry.unregister(name)


def join(group, pid, meta=None):
    process.group(group).join(pid, meta or {})


def leave(group, pid):
    return process.group(group).leave(pid)


def members(group):
    return process.group(group).members()


def details(group):
    return list(process.group(group).details().items())


def group_broadcast(group, topic, payload):
    return process.group(group).broadcast(topic, payload)


def broadcast(pids, topic, payload):
    return process.broadcast(pids, topic, payload)


def send(dest, topic, payload=None):
    return process.send(dest, topic, payload)


def is_alive(pid):
    return process.is_alive(pid)


def cancel(pid, reason=None):
    return process.cancel(pid, reason)


def terminate(pid):
    return process.terminate(pid)


def info(pid):
    return process.info(pid)


# -- what is done at a place, by no process ---------------------------------------------------


def list_alive(place):
    return [entity.pid for entity in place.node]


def count_linked(place, pid):
    return len(place.node.topology.linked(pid))


def open_websocket(place, target_pid):
    """Open a connection, on a transport that keeps what is written; return its PID."""
    session = fake_websocket(place.node, target_pid, ping_interval="0s", dialect="raw")
    OPENED[session.pid] = session.transport
    return session.pid


def frames(place, client_pid):
    """Return what a connection's client has got."""
    return OPENED[client_pid].frames


def noted(place, pid):
    """Return what `note_events` has noted."""
    return NOTED[pid]


def say(place, client_pid, text):
    """Have a connection get a text from its client."""
    place.node.find(client_pid).on_bytes(raw.text(text))


# -- more of what is run to its end -----------------------------------------------------------


def supervise(name):
    """Start a supervisor of one process of that name."""
    child = process.Child("tests.cluster.acts:idle", name=name)
    return process.Supervisor([child]).start()


def ask_after(pid):
    """Have another node answer: that it knows nobody of this PID."""
    assert process.info(pid) is None


def exit_of(pid):
    """Return the reason with which a process is found to have ended."""
    process.monitor(pid)
    return process.events().receive(timeout=5).reason


def answer_clients():
    """Answer what clients send."""
    for message in process.inbox():
        if message.topic == "ws.message":
            answer = {"type": "text", "data": f"{message.payload} back"}
            process.send(message.sender, "ws.send", answer)


def fail_at_length():
    """Fail with a text that no envelope carries."""
    process.inbox().receive()
    raise ValueError("\ud800" + "x" * 2_000_000)


def return_at_length():
    process.inbox().receive()
    return "x" * 2_000_000
