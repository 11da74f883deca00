"""A chat room is a process: one inbox, one loop, ordinary variables, no locks.

app.py makes the room the target of every WebSocket in it, so this is what arrives in its inbox:

    ws.join      a browser connected     payload: {"client_pid": PID, "metadata": {"nick": str}}
    ws.message   a browser sent a frame  payload: its text; .sender: the PID of its connection
    ws.leave     a browser is gone       payload: {"client_pid": PID, ...}; .sender: its connection
    group.leave  the same, by the group  .sender: its connection. It comes as well when a whole
                 of those who are here   worker is lost, which can't say goodbye to anybody

A connection is a process too: what the room sends to its PID reaches that browser as one frame of
JSON, {"topic": "chat.said", "data": {...}}. static/chat.js has one function for each topic. Pages
write theirs in the same way: {"topic": "say", "data": "hello"}, or "typing" without data.
"""

from collections import deque
from contextlib import suppress
from datetime import datetime, timezone
from uuid import uuid4

from app_example import rules
from greenrelay import ProcessDown, process

HISTORY_LENGTH = 50
EMPTY_ROOM_SECONDS = 600

NICKNAME_REFUSED = 4001
"""A close code; those from 4000 to 4999 are the application's own (RFC 6455 §7.4.2)."""


def room(name, patience=EMPTY_ROOM_SECONDS):
    """Be the room `name`, until nobody has been in it for `patience` seconds."""
    chat = Room(name)
    chat.here.watch()
    inbox = process.inbox()
    while True:
        # Somebody may enter at the very moment an empty room gives up waiting. Nothing needs to
        # guard against it: the newcomer is refused (503) or the connection is closed (1000), the
        # page connects again as it does after any loss, and that visit spawns a fresh room.
        message = inbox.receive(timeout=None if chat.people else patience)
        if message is None:  # nobody came
            return
        match message.topic:
            case "ws.join":
                chat.enter(message.payload["client_pid"], message.payload["metadata"]["nick"])
            case "ws.message":
                chat.hear(message.sender, message.payload)
            case "ws.leave" | "group.leave":
                chat.leave(message.sender)


class Room:
    """Who is in a room, and what was said last."""

    def __init__(self, name):
        self.name = name
        self.here = process.group(f"in:{name}")
        """The connections that are in the room, whichever worker of the server has them."""
        self.people = {}
        """Connection's PID → nickname. The same nickname twice is one person at two screens."""
        self.history = deque(maxlen=HISTORY_LENGTH)

    def enter(self, client, nick):
        """Let a connection in, or close it if its nickname is no good."""
        try:
            nick = rules.nickname(nick)
        except rules.Refused as refused:
            process.send(client, "ws.close", {"code": NICKNAME_REFUSED, "reason": str(refused)})
            return
        with suppress(ProcessDown):  # gone again already: that it has left is in the inbox
            self.here.join(client, {"nick": nick})
        is_new = nick not in self.people.values()
        self.people[client] = nick
        welcome = {"room": self.name, "nick": nick, "history": list(self.history)}
        process.send(client, "chat.welcome", welcome)
        if is_new:
            self.tell("chat.joined", line(nick))
        self.tell_people()

    def hear(self, client, frame):
        """Do what a page asks for. Who sends nonsense is told so, and nobody else notices."""
        if client not in self.people:  # refused a moment ago, and already talking
            return
        nick = self.people[client]
        try:
            match rules.frame(frame):
                case {"topic": "say", "data": text}:
                    self.say(nick, rules.message(text))
                case {"topic": "typing"}:
                    others = [pid for pid, other in self.people.items() if other != nick]
                    process.broadcast(others, "chat.typing", {"nick": nick})
                case _:
                    raise rules.Refused("message", "This room understands say and typing.")
        except rules.Refused as refused:
            process.send(client, "chat.error", {"text": str(refused)})

    def say(self, nick, text):
        """Pass on what somebody said, and remember it for whoever comes later."""
        said = line(nick, text=text)
        self.history.append(said)
        self.tell("chat.said", said)

    def leave(self, client):
        """Forget a connection; the person has left when it was the last one."""
        nick = self.people.pop(client, None)
        if nick is not None and nick not in self.people.values():
            self.tell("chat.left", line(nick))
            self.tell_people()

    def tell(self, topic, data):
        """Send to everybody here. It is encoded once, however many there are."""
        process.broadcast(self.people, topic, data)

    def tell_people(self):
        """Tell everybody who is here, and whoever watches the open rooms how many."""
        people = sorted(set(self.people.values()), key=str.casefold)
        self.tell("chat.people", {"people": people})
        rooms = process.group("rooms")
        if people:
            rooms.join(meta={"name": self.name, "people": len(people)})
        else:
            rooms.leave()


def line(nick, **more):
    """Return one line of the log. A page that reconnects knows by the id which ones it has."""
    return {"id": uuid4().hex, "nick": nick, "at": datetime.now(timezone.utc).isoformat(), **more}
