"""A connection that somebody else has upgraded (§10.4)."""

from gevent.pywsgi import WSGIHandler

from greenrelay.web.servers import find_socket

STATUS = "101 Switching Protocols"


class WebSocket:
    """What gevent-websocket's handler leaves in the environ.

    Args:
        handler: has the `socket`.
    """

    def __init__(self, handler):
        self.handler = handler
        self.closed = False


def upgraded(pair):
    """Return what gevent-websocket leaves, over pywsgi, and how its socket is had."""
    handler = WSGIHandler(pair.server, ("192.0.2.1", 50000), None, rfile=pair.file)
    websocket = WebSocket(handler)
    environ = {"wsgi.input": pair.file, "wsgi.websocket": websocket}
    return websocket, find_socket(environ, handler.start_response)


def test_upgraded_connection_is_adopted(pair):
    """§10.4: its own object believes that it is closed."""
    websocket, sock = upgraded(pair)
    assert sock.is_upgraded
    taken = sock.take(STATUS)
    assert websocket.closed
    taken.sock.sendall(b"ours")
    assert pair.client.recv(4) == b"ours"
    taken.sock.close()


def test_upgraded_connection_is_refused_by_its_last_frame(pair):
    """§10.4"""
    websocket, sock = upgraded(pair)
    sock.close_upgraded(b"the last frame")
    assert pair.client.recv(100) == b"the last frame"
    assert websocket.closed


def test_websocket_that_the_view_has_not_used_is_no_upgrade(pair):
    """§10.4: ours upgrades when it is first touched."""
    websocket, sock = upgraded(pair)
    websocket.is_upgraded = False
    assert not sock.is_upgraded
    sock.take(STATUS).sock.close()
    assert not websocket.closed
