"""The page "Live": four ways to keep a page up to date with server-sent events.

    job       a process per job; its progress reaches whoever watches, and it goes on without them
    ticker    one process for everybody, for as long as somebody looks
    notes     a group per person, of all their pages; any request can send to it by its name
    export    no process: a view that writes events while it works

An event stream is a process too: what is sent to its PID reaches the page as an event named after
the topic. To its target it says sse.join when a page has come, and sse.leave when it is gone. Who
has to know for sure that it is gone has it in a group, which it leaves also when the worker that
had it is lost.
"""

import random
import time
from collections import deque
from contextlib import suppress

from flask import Blueprint, abort, render_template, request, url_for

from app_example import rules
from app_example.relay import relay
from greenrelay import ProcessDown, process, write_event

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
    """Start a job, and say where its progress can be watched.

    Its PID is in that address: nobody can guess one, and it is good on all workers at once.
    """
    return {"events": url_for("live.watch_job", pid=process.spawn(job))}, 201


@pages.get("/jobs/<path:pid>/events")
def watch_job(pid):
    """Stream a job's progress. A page that lost its connection comes back here, and is told."""
    if not process.is_alive(pid):
        abort(404)  # done, or the server has been restarted: an EventSource does not ask again
    return relay.sse(pid, message_topic="job.progress")


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
    watching = process.group("ticker")
    watching.watch()
    values = deque([50.0], TICKS_REMEMBERED)
    for _ in range(TICKS_REMEMBERED):  # the first page is to see a curve, too
        values.append(wander(values[-1]))
    process.send_after(pause, process.pid(), "tick")
    for message in process.inbox():
        match message.topic:
            case "sse.join":
                process.send(message.sender, "ticker.history", list(values))
                let_in(watching, message.sender)
            case "group.join" | "group.leave":
                watching.broadcast("ticker.watching", len(watching.members()))
            case "tick" if watching.members():
                values.append(wander(values[-1]))
                watching.broadcast("ticker.value", values[-1])
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
    target = process.spawn(door, name="door", scope="node")  # each worker has one of its own
    return relay.sse(target, message_topic="note.sent", retry="1s", metadata={"name": name})


@pages.post("/notes")
def send_note():
    """Send a note to whoever listens under a name, on whichever workers their pages are."""
    to, text = rules.nickname(request.form["to"]), rules.message(request.form["text"])
    sender = rules.nickname(request.form["from"])
    note = {"from": sender, "text": text}
    if not process.group(f"notes:{to}").broadcast("note.sent", note):
        raise rules.Refused("to", f"Nobody is listening as {to}.")
    return "", 204


def door():
    """Put each page into the group of its person. It leaves by itself when it is closed."""
    for message in process.inbox():
        if message.topic == "sse.join":
            let_in(process.group(f"notes:{message.payload['metadata']['name']}"), message.sender)


def let_in(group, page):
    """Put a page into a group."""
    with suppress(ProcessDown):  # it is gone again already
        group.join(page)


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
