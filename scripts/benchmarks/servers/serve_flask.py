"""Event streams with a Flask generator on gevent's pywsgi: a queue per client, as usual."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from common import make_event, read_options, serve_wsgi
from flask import Flask, Response, request
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue

app = Flask(__name__)
queues = set()


@app.get("/events")
@app.get("/idle", endpoint="idle")
def events():
    return Response(stream(Queue()), mimetype="text/event-stream")


def stream(messages):
    yield ": the head goes out with the first bytes\n\n"
    queues.add(messages)
    try:
        while True:
            yield messages.get()
    finally:
        queues.discard(messages)


@app.post("/publish")
def publish():
    event = make_event(request.get_data(as_text=True))
    for messages in queues:
        messages.put(event)
    return "", 204


if __name__ == "__main__":
    serve_wsgi(app, WSGIServer, read_options())
