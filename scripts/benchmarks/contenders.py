"""Who is measured over the wire."""

from __future__ import annotations

from benchmarks.suite import Contender
from benchmarks.wire import SERVERS

CROWD = ("latency", "storm", "scale100", "scale1k", "scale5k", "scale15k")
WEBSOCKETS = ("app", "appraw", "connect", "fanout", "tls", *CROWD)
BEST = ("echo32", "echo1k", "echo64k", "fanraw", "memory")
NO_VIEW = dict.fromkeys(("connect", "storm"), "its own handshake, no Flask view")

CONTENDERS = (
    Contender(
        name="hub",
        title="bare gevent hub",
        program=SERVERS / "serve_hub.py",
        packages=("gevent", "websockets"),
        modules=("gevent", "websockets.speedups"),
        marks=NO_VIEW,
        is_bare=True,
    ),
    Contender(
        name="greenrelay",
        title="greenrelay",
        program=SERVERS / "serve_greenrelay.py",
        packages=("greenrelay", "gunicorn[gevent]"),
        modules=("greenrelay.server", "gunicorn"),
        gunicorn=(
            *("serve_greenrelay:as_apps_have_it()", "-k", "gevent"),
            *("-c", "python:greenrelay.gunicorn"),
        ),
    ),
    Contender(
        name="gevent-websocket",
        title="gevent-websocket",
        program=SERVERS / "serve_gevent_websocket.py",
        packages=("gevent", "gevent-websocket", "Flask", "gunicorn[gevent]"),
        modules=("gevent", "geventwebsocket.handler", "flask", "gunicorn"),
        tests=(*WEBSOCKETS, *BEST, "gunicorn"),
        gunicorn=(
            *("serve_gevent_websocket:as_apps_have_it()", "-k"),
            "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
        ),
    ),
    Contender(
        name="flask-sock",
        title="flask-sock on gevent",
        program=SERVERS / "serve_flask_sock.py",
        packages=("gevent", "flask-sock", "gunicorn[gevent]"),
        modules=("gevent", "flask_sock", "gunicorn"),
        tests=(*WEBSOCKETS, *BEST, "deflate", "gunicorn"),
        gunicorn=("serve_flask_sock:as_apps_have_it()", "-k", "gevent"),
    ),
    Contender(
        name="flask",
        title="Flask on pywsgi",
        program=SERVERS / "serve_flask.py",
        packages=("gevent", "Flask"),
        modules=("gevent", "flask"),
        tests=("streamfan", "streams"),
    ),
    Contender(
        name="aiohttp",
        title="aiohttp",
        program=SERVERS / "serve_aiohttp.py",
        packages=("aiohttp", "gunicorn"),
        modules=("aiohttp.web", "gunicorn"),
        marks=NO_VIEW,
        gunicorn=("serve_aiohttp:make_app", "-k", "aiohttp.GunicornWebWorker"),
    ),
    Contender(
        name="picows",
        title="picows (Cython)",
        program=SERVERS / "serve_picows.py",
        packages=("picows",),
        modules=("picows",),
        optional=("uvloop",),
        tests=(*WEBSOCKETS, *BEST),
        marks=NO_VIEW,
    ),
    Contender(
        name="websockets",
        title="websockets (asyncio)",
        program=SERVERS / "serve_websockets.py",
        packages=("websockets",),
        modules=("websockets.asyncio.server",),
        tests=(*WEBSOCKETS, *BEST, "deflate"),
        marks=NO_VIEW,
    ),
)
