"""A room with Flask-SocketIO, under gunicorn; workers talk through Redis, named by BENCH_REDIS."""

import os

from common import add_teardown, make_data
from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

app = add_teardown(Flask(__name__))
socketio = SocketIO(app, message_queue=os.environ["BENCH_REDIS"], async_mode="gevent")


@app.get("/worker")
def worker():
    return str(os.getpid())


@socketio.on("connect")
def enter():
    if request.args.get("room"):
        join_room("everybody")


@socketio.on("speak")
def speak(text):
    emit("said", make_data(text), to="everybody" if request.args.get("room") else request.sid)
