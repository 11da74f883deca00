"""What all servers here do alike: the document they answer with, their options, their words.

A server that runs as apps have it answers text with `{"topic": "said", "data": {…}}`, encoded
for every message by whatever JSON it usually has, and looks into nothing that it was sent.
In Flask there is a function to call when an app context ends, too.

Nothing may be imported here that gevent patches: its servers do that first.
"""

import argparse
import json

BACKLOG = 4096
"""Connections that may wait to be accepted, the same for all; Linux cuts it to somaxconn."""


def make_data(text):
    """Return the small dict that goes with the topic."""
    return {"text": text, "name": "Ann", "number": 7}


def encode(text):
    """Return the whole document, for those that have no topics."""
    return json.dumps({"topic": "said", "data": make_data(text)})


def make_event(text):
    """Return an event of the same content."""
    return f"event: said\ndata: {json.dumps(make_data(text))}\n\n"


def add_teardown(app):
    """Have Flask call a function whenever an app context ends, as Flask-SQLAlchemy does."""

    @app.teardown_appcontext
    def end_session(error):
        """Flask-SQLAlchemy would give a session back; that there is one costs most of it."""

    return app


def read_options():
    """Return what the bench asks for: `cert`, `key`, `deflate`, `teardown`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert", help="serve TLS with this certificate")
    parser.add_argument("--key", help="and this private key")
    parser.add_argument("--deflate", action="store_true", help="compress if the client offers it")
    parser.add_argument("--teardown", action="store_true", help="as Flask apps have it")
    return parser.parse_args()


def make_tls(options):
    """Return asyncio's `ssl` argument."""
    import ssl  # gevent's servers would have to patch it first; they don't come here

    if options.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.cert, options.key)
    return context


def say_port(port):
    """Tell the bench where to go."""
    print("port", port, flush=True)


def serve_wsgi(app, server_class, options, **arguments):
    """Serve a Flask app for ever, with gevent's server or one that takes the same arguments."""
    if options.teardown:
        add_teardown(app)
    if options.cert is not None:
        arguments.update(certfile=options.cert, keyfile=options.key)
    server = server_class(("127.0.0.1", 0), app, log=None, backlog=BACKLOG, **arguments)
    server.start()
    say_port(server.server_port)
    server.serve_forever()
