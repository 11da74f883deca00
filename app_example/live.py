"""The page "Live": four ways to keep a page up to date with server-sent events.

    job       a process per job; its progress reaches whoever watches, and it goes on without them
    ticker    one process for everybody, for as long as somebody looks
    doorbell  a process per person; any request can send to it by its name
    export    no process: a view that writes events while it works

An event stream is a process too: what is sent to its PID reaches the page as an event named after
the topic. To its target it says sse.join when a page has come, and sse.leave when it is gone.
"""

import random
import time
from collections import deque
from uuid import uuid4

from flask import Blueprint, abort, render_template, request, url_for

from app_example import rules
from app_example.relay import relay
from greenrelay import process, write_event
from greenrelay.errors import NameNotRegistered

pages = Blueprint("live", __name__, url_prefix="/live")

JOB_STEPS = 40
STEP_SECONDS = 0.1
TICK_SECONDS = 0.5
TICKS_REMEMBERED = 60
EXPORT_ROWS = 200


@pages.get("/")
def show():
    """Show the page, under the name given or as a guest."""
    guest = f"Guest {random.randrange(100, 1000)}"
    try:
        name = rules.nickname(request.args.get("name") or guest)
    except rules.Refused:
        name = guest
    return render_template("live.html", name=name)


@pages.errorhandler(rules.Refused)
def explain(refused):
    """Tell the page in a line of text what has to be changed."""
    return str(refused), 400, {"Content-Type": "text/plain; charset=utf-8"}


# ---- a job: the request that starts it ends at once, another one watches it


@pages.post("/jobs")
def start_job():
    """Start a job, and say where its progress can be watched."""
    number = uuid4().hex
    process.spawn(job, name=f"job:{number}")
    return {"events": url_for("live.watch_job", number=number)}, 201


@pages.get("/jobs/<number>/events")
def watch_job(number):
    """Stream a job's progress. A page that lost its connection comes back here, and is told."""
    target = process.registry.lookup(f"job:{number}")
    if target is None:
        abort(404)  # done, or the server has been restarted: an EventSource does not ask again
    return relay.sse(target, message_topic="job.progress")


def job(steps=JOB_STEPS, pause=STEP_SECONDS):
    """Work, one step after the other, and tell whoever watches."""
    watching = set()
    done = 0
    process.send(process.pid(), "work")
    for message in process.inbox():
        match message.topic:
            case "sse.join":
                watching.add(message.sender)
                process.send(message.sender, "job.progress", {"done": done, "of": steps})
            case "sse.leave":
                watching.discard(message.sender)
            case "work":
                done += 1
                process.broadcast(watching, "job.progress", {"done": done, "of": steps})
                if done == steps:
                    return  # which ends the streams as well
                process.send_after(pause, process.pid(), "work")


# ---- a ticker: one process, every page is told the same, encoded once


@pages.get("/ticker")
def watch_ticker():
    """Stream the ticker; the first page starts it."""
    return relay.sse(process.spawn(ticker, name="ticker"), message_topic="*", retry="1s")


def ticker(pause=TICK_SECONDS):
    """Have a value that wanders, until nobody looks any more."""
    watching = set()
    values = deque([50.0], TICKS_REMEMBERED)
    for _ in range(TICKS_REMEMBERED):  # the first page is to see a curve, too
        values.append(wander(values[-1]))
    process.send_after(pause, process.pid(), "tick")
    for message in process.inbox():
        match message.topic:
            case "sse.join":
                watching.add(message.sender)
                process.send(message.sender, "ticker.history", list(values))
                process.broadcast(watching, "ticker.watching", len(watching))
            case "sse.leave":
                watching.discard(message.sender)
                process.broadcast(watching, "ticker.watching", len(watching))
            case "tick" if watching:
                values.append(wander(values[-1]))
                process.broadcast(watching, "ticker.value", values[-1])
                process.send_after(pause, process.pid(), "tick")
            case "tick":
                return


def wander(value):
    """Return where a value goes next: anywhere near, but not too far from the middle."""
    pulled = value + (50 - value) / 10 + random.gauss(0, 8)
    return round(min(99, max(1, pulled)), 2)


# ---- notes: sent by one request, seen on the pages of somebody else


@pages.get("/notes")
def watch_notes():
    """Stream the notes for one person; each of their pages has a stream of its own."""
    name = rules.nickname(request.args.get("name", ""))
    target = process.spawn(doorbell, name=f"doorbell:{name}")
    return relay.sse(target, message_topic="note.sent", retry="1s")


@pages.post("/notes")
def send_note():
    """Send a note to whoever listens under a name."""
    to, text = rules.nickname(request.form["to"]), rules.message(request.form["text"])
    sender = rules.nickname(request.form["from"])
    try:
        process.send(f"doorbell:{to}", "note.sent", {"from": sender, "text": text})
    except NameNotRegistered:
        raise rules.Refused("to", f"Nobody is listening as {to}.") from None
    return "", 204


def doorbell():
    """Pass notes on to all pages of one person, until the last one is closed."""
    open_pages = set()
    for message in process.inbox():
        match message.topic:
            case "sse.join":
                open_pages.add(message.sender)
            case "note.sent":
                process.broadcast(open_pages, "note.sent", message.payload)
            case "sse.leave":
                open_pages.discard(message.sender)
                if not open_pages:
                    return


# ---- an export: the work of the request itself, told step by step


@pages.get("/export")
def export():
    """Make a file, and send its rows at the end. If the page is closed, ClientGone ends it."""
    lines = ["number,square"]
    for number in range(EXPORT_ROWS):
        lines.append(f"{number},{number**2}")
        time.sleep(0.005)  # as a slow query would
        if number % 10 == 9:
            write_event("export.progress", {"done": number + 1, "of": EXPORT_ROWS})
    write_event("export.ready", {"name": "squares.csv", "text": "\n".join(lines)})
    return ""
