"""Chat rooms: a Flask app whose view hands each WebSocket to a process, the room in chat.py.
The list of rooms at the entrance is in lobby.py, what the page "Live" is made of in live.py.

Run it with `greenrelay serve app_example.app:app`. With `--workers 2` two interpreters serve it,
and all of it is one: who comes to either meets those who came to the other.
"""

from flask import Flask, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from app_example import chat, live, lobby, rules
from app_example.relay import relay
from greenrelay import process

CONTENT_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
"""All scripts and styles are files of ours: what people write could not run even as markup."""

app = Flask(__name__)
app.register_blueprint(live.pages)
relay.init_app(app)


@app.get("/")
def entrance():
    """Ask for a room and a nickname, and lead the way once both are good."""
    if "nick" not in request.args:
        return render_template("entrance.html")
    room = rules.room_name(request.args.get("room", ""))
    nick = rules.nickname(request.args["nick"])
    return redirect(url_for("show_room", room=room, nick=nick))


@app.errorhandler(rules.Refused)
def explain(refused):
    """Show the entrance again, with what has to be changed."""
    return render_template("entrance.html", refused=refused), 400


@app.get("/rooms/<room>")
def show_room(room):
    """Show a room; whoever followed an invitation has no nickname yet and is asked for one."""
    room = rules.room_name(room)
    if "nick" not in request.args:
        return redirect(url_for("entrance", room=room))
    return render_template("room.html", room=room, nick=request.args["nick"])


@app.get("/rooms/<room>/ws")
def room_socket(room):
    """Connect a browser to the process of its room. The first visitor's request spawns it.

    If the name is taken, `spawn` gives the PID that holds it, so two who come first at the same
    time meet in one room, also on two workers. This request ends here; the connection lives on
    without it.
    """
    room = rules.room_name(room)
    target = process.spawn(chat.room, room, name=f"room:{room}")
    return relay.websocket(
        target,
        metadata={"nick": request.args.get("nick", "")},  # the room decides whether it will do
        max_message_size=16_384,  # bytes; far above what a room takes, far below what hurts
        max_rate=20,  # frames per second: of ten messages, and a notice of typing before each
    )


@app.get("/lobby")
def watch_lobby():
    """Stream which rooms are open to a page at the entrance; the first one starts the lobby."""
    target = process.spawn(lobby.lobby, name="lobby")
    return relay.sse(target, message_topic="lobby.rooms", retry="1s")


@app.errorhandler(HTTPException)
def show_error(error):
    """Say what went wrong on a page that looks like the others; status and headers stay."""
    response = error.get_response()
    response.data = render_template("error.html", error=error)
    response.content_type = "text/html; charset=utf-8"
    return response


@app.after_request
def guard(response):
    """Tell browsers to trust nothing but the files in static/, and to keep nicknames here."""
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Node"] = relay.node.name  # which worker it was
    return response


@app.context_processor
def add_rules():
    """Let the forms know the limits which the server enforces."""
    return {"rules": rules}
