"""Never run: what type checkers say about code that uses processes (§10.7).

A line that ends in `# error` is a mistake that both must find; they may find no other.
"""

from __future__ import annotations

import functools
from typing import Any

from flask import Flask
from typing_extensions import assert_type

from greenrelay import PID, Cancel, Exit, GreenRelay, LinkDown, Message, process

relay = GreenRelay(Flask(__name__))


# -- what a loop does with a message -----------------------------------------------------------


def echo() -> None:
    seen: dict[PID, int] = {}
    for message in process.inbox():
        assert_type(message, Message)
        process.send(message.sender, "echo", message.payload)
        process.monitor(message.sender)
        seen[message.sender] = seen.get(message.sender, 0) + 1
        process.broadcast(seen, message.topic, message.sender.node)
        print(message.sender.nonsense)  # error
        abs(message.sender)  # error
        message.nonsense()  # error
        if message.sender is None:  # a view's
            return


def wait() -> Message | None:
    assert_type(process.inbox().receive(), Message)
    assert_type(process.inbox().receive(1.5), Message | None)
    assert_type(process.listen("news").receive(timeout=1), Message | None)
    print(process.inbox().receive(timeout=1).topic)  # error
    process.inbox().receive(timeout="1s")  # error
    process.send(PID("x"), 3)  # error
    process.send(None, "topic")  # error
    process.send_after(1, "name", "tick").cancel()
    assert_type(process.every(1.5, "tick").cancel(), bool)
    process.every(1, "tick", {"a": 1}, dest="name")
    process.every("tick", 1)  # error
    return process.inbox().receive(1)


# -- select ------------------------------------------------------------------------------------


def choose() -> None:
    inbox, events, news = process.inbox(), process.events(), process.listen("news")
    channel, item = process.select(inbox, events)
    assert_type(item, Message | Exit | LinkDown | Cancel)
    if isinstance(item, Message):
        item.reply(3)
    elif isinstance(item, Exit):
        print(item.value, item.error)
    else:
        print(item.reason)
    print(item.topic)  # error
    pair = process.select(inbox, news)
    assert_type(pair[1], Message)
    assert_type(process.select(inbox)[1].topic, str)
    assert_type(process.select(events, inbox, news)[1], Exit | LinkDown | Cancel | Message)
    _, item = process.select(inbox, events, timeout=1)  # error
    taken = process.select(inbox, events, timeout=1)
    if taken is not None:
        assert_type(taken[1], Message | Exit | LinkDown | Cancel)
    process.select(inbox, "events")  # error


# -- groups ------------------------------------------------------------------------------------


def gather_in_groups(pid: PID) -> None:
    group = process.group("room")
    group.join()
    group.join(pid, {"name": "Ada"})
    group.join(meta={"name": "Ada", "tabs": [1]})
    group.watch()
    assert_type(group.details(), dict[PID, dict[str, Any]])
    assert_type(group.unwatch(), bool)
    group.join(pid, "Ada")  # error
    group.join({"name": "Ada"})  # error
    group.watch(pid)  # error


# -- spawn -------------------------------------------------------------------------------------


def room(title: str, seats: int = 5) -> None: ...


def plain() -> int:
    return 3


def keyword(title: str, *, seats: int) -> None: ...


def many(*numbers: int) -> None: ...


class Job:
    def run(self, number: int) -> str:
        return str(number)

    def __call__(self, text: str) -> None: ...


def start() -> None:
    assert_type(process.spawn(plain), PID)
    assert_type(process.spawn(room, "tea", name="room:tea"), PID)
    process.spawn(room, "tea", 3)
    process.spawn(room, "tea", seats=3)
    process.spawn(room, title="tea")
    process.spawn(room, "tea", 3, name="room:tea", link=True, monitor=True, host="rooms")
    process.spawn(plain, name=None)
    process.spawn(keyword, "tea", seats=3)
    process.spawn(functools.partial(keyword, seats=3), "tea", name="tea")
    process.spawn(many, 1, 2, 3)
    process.spawn(many, 1, name="many")
    process.spawn(Job().run, 3)
    process.spawn(Job().run, 3, name="job")
    process.spawn(Job(), "text", link=True)
    process.spawn(lambda: None)
    process.spawn("rooms:room", "tea", seats=3, name="room:tea", link=True)


def start_wrongly() -> None:
    process.spawn(room)  # error
    process.spawn(room, 3)  # error
    process.spawn(room, "tea", "many")  # error
    process.spawn(room, "tea", seets=3)  # error
    process.spawn(room, name="room:tea")  # error
    process.spawn(room, 3, name="room:tea")  # error
    process.spawn(plain, 1)  # error
    process.spawn(plain, 1, name="plain")  # error
    process.spawn(plain, nmae="plain")  # error
    process.spawn(plain, name=3)  # error
    process.spawn(plain())  # error
    process.spawn(Job().run, "3", name="job")  # error
    process.spawn("rooms:room", name=3)  # error


# -- run and gather ----------------------------------------------------------------------------


def answer(text: str, *, loud: bool = False) -> bytes:
    return text.encode()


def wait_for_values() -> None:
    assert_type(process.run(plain), int)
    assert_type(process.run(answer, "tea"), bytes)
    assert_type(process.run(answer, "tea", loud=True), bytes)
    assert_type(process.run(answer, "tea", timeout=1.5), bytes)
    assert_type(process.run(functools.partial(answer, loud=True), "tea", timeout=None), bytes)
    process.run("rooms:count", 1, timeout=2)
    number, text = process.gather(plain, lambda: "text", timeout=3)
    assert_type(number, int)
    assert_type(text, str)
    assert_type(process.gather(*[plain, plain]), list[int])
    process.gather("rooms:count", plain)


def wait_for_values_wrongly() -> None:
    process.run(plain, 1)  # error
    process.run(answer, 3)  # error
    process.run(answer, "tea", timeout="1s")  # error
    process.run(plain())  # error
    process.gather(answer)  # error
    process.gather([plain, plain])  # error
    process.gather(plain, timeout="1s")  # error


def supervise() -> None:
    one, other = process.Child(plain, restart="transient"), process.Child(plain)
    assert_type(process.Supervisor([one, other, plain], strategy="rest_for_one").start(), PID)
    process.Supervisor([process.Supervisor([plain]), "rooms:room"], max_restarts=0, within=1)
    process.Supervisor([plain], strategy="one_for_won")  # error
    process.Supervisor([plain], "all")  # error
    rooms = process.Supervisor()
    assert_type(rooms.start_child(process.Child(room, ("tea",), waits_ready=True)), PID)
    assert_type(rooms.stop_child(rooms.start_child("rooms:room")), bool)
    assert_type(rooms.children(), list[PID])
    assert_type(process.supervisor("rooms").start_child(plain), PID)
    process.ready()
    rooms.start_child(3)  # error
    rooms.stop_child(plain)  # error
    rooms.start_child(plain, "tea")  # error
    process.Child(plain, waits_ready=30)  # error
    process.Child(plain, restart="always")  # error


def start_in_an_app(app: Flask) -> None:
    assert_type(relay.spawn(room, "tea", name="room:tea", app=app), PID)
    relay.spawn(room, "tea", seats=3)
    relay.spawn("rooms:room", "tea", app=app)
    relay.spawn(room, 3, app=app)  # error
    relay.spawn(room, "tea", app="app")  # error
