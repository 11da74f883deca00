"""Echo and fan-out with gevent-websocket: its handler on pywsgi, views in Flask."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from common import add_teardown, encode, read_options, serve_wsgi
from flask import Flask, request
from gevent.pywsgi import WSGIServer
from geventwebsocket import WebSocketError
from geventwebsocket.handler import WebSocketHandler

app = Flask(__name__)
fan_clients, room_clients = set(), set()


@app.route("/app", websocket=True)
def app_echo():
    websocket = request.environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        websocket.send(encode(message))
    return ""


@app.route("/join", websocket=True)
def join():
    websocket = request.environ["wsgi.websocket"]
    websocket.send(encode("welcome"))
    while websocket.receive() is not None:
        pass
    return ""


@app.route("/ws", websocket=True)
@app.route("/appraw", websocket=True)
def echo():
    websocket = request.environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return ""


@app.route("/room", websocket=True)
def enter_room():
    return fan_out(room_clients, encode)


@app.route("/fan", websocket=True)
def best_fan_out():
    return fan_out(fan_clients, str)


def fan_out(clients, make_text):
    websocket = request.environ["wsgi.websocket"]
    clients.add(websocket)
    try:
        while (message := websocket.receive()) is not None:
            text = make_text(message)
            for client in list(clients):
                client.send(text)
    except WebSocketError:
        pass
    finally:
        clients.discard(websocket)
    return ""


def as_apps_have_it():
    """Return the app for gunicorn."""
    return add_teardown(app)


if __name__ == "__main__":
    serve_wsgi(app, WSGIServer, read_options(), handler_class=WebSocketHandler)
