"""Echo and fan-out with flask-sock on gevent's pywsgi."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from common import add_teardown, encode, read_options, serve_wsgi
from flask import Flask
from flask_sock import Sock
from gevent.pywsgi import WSGIServer

app = Flask(__name__)
sock = Sock(app)
fan_clients, room_clients = set(), set()


@sock.route("/app")
def app_echo(websocket):
    while True:
        websocket.send(encode(websocket.receive()))


@sock.route("/join")
def join(websocket):
    websocket.send(encode("welcome"))
    while True:
        websocket.receive()


@sock.route("/appraw")
def app_raw_echo(websocket):
    while True:
        websocket.send(websocket.receive())


@sock.route("/ws")  # one function can't have two of these decorators
def best_echo(websocket):
    while True:
        websocket.send(websocket.receive())


@sock.route("/room")
def enter_room(websocket):
    fan_out(websocket, room_clients, encode)


@sock.route("/fan")
def best_fan_out(websocket):
    fan_out(websocket, fan_clients, str)


def fan_out(websocket, clients, make_text):
    clients.add(websocket)
    try:
        while True:
            text = make_text(websocket.receive())
            for client in list(clients):
                client.send(text)
    finally:
        clients.discard(websocket)


def as_apps_have_it():
    """Return the app for gunicorn."""
    return add_teardown(app)


if __name__ == "__main__":
    serve_wsgi(app, WSGIServer, read_options())
