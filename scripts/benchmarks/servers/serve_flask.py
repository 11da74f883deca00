"""Event streams with a Flask generator on gevent's pywsgi: a queue per client, as usual."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from flask import Flask, Response
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue

app = Flask(__name__)


@app.get("/events")
def events():
    return Response(stream(Queue()), mimetype="text/event-stream")


def stream(messages):
    yield ": the head goes out with the first bytes\n\n"
    while True:
        yield messages.get()


if __name__ == "__main__":
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    print("port", server.server_port, flush=True)
    server.serve_forever()
