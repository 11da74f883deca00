"""Echo and fan-out with gevent-websocket: its handler on pywsgi, views in Flask."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from flask import Flask, request
from gevent.pywsgi import WSGIServer
from geventwebsocket import WebSocketError
from geventwebsocket.handler import WebSocketHandler

app = Flask(__name__)
fan_clients = set()


@app.route("/ws", websocket=True)
def ws():
    websocket = request.environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return ""


@app.route("/fan", websocket=True)
def fan_out():
    websocket = request.environ["wsgi.websocket"]
    fan_clients.add(websocket)
    try:
        while (message := websocket.receive()) is not None:
            for client in list(fan_clients):
                client.send(message)
    except WebSocketError:
        pass
    finally:
        fan_clients.discard(websocket)
    return ""


if __name__ == "__main__":
    server = WSGIServer(("127.0.0.1", 0), app, log=None, handler_class=WebSocketHandler)
    server.start()
    print("port", server.server_port, flush=True)
    server.serve_forever()
