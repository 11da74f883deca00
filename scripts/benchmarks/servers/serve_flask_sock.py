"""Echo and fan-out with flask-sock on gevent's pywsgi."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from flask import Flask
from flask_sock import Sock
from gevent.pywsgi import WSGIServer

app = Flask(__name__)
sock = Sock(app)
fan_clients = set()


@sock.route("/ws")
def ws(websocket):
    while True:
        websocket.send(websocket.receive())


@sock.route("/fan")
def fan_out(websocket):
    fan_clients.add(websocket)
    try:
        while True:
            message = websocket.receive()
            for client in list(fan_clients):
                client.send(message)
    finally:
        fan_clients.discard(websocket)


if __name__ == "__main__":
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    print("port", server.server_port, flush=True)
    server.serve_forever()
