"""An app that the tests of `greenrelay.testing` serve."""

from flask import Flask, jsonify, session

from greenrelay import GreenRelay, process
from tests.integration.apps import echo


def presence():
    for message in process.inbox():
        message.reply(process.pid())


def make_app(**options):
    """Return an app with a process that is started by name."""
    app = Flask("online")
    app.secret_key = "a test's"
    relay = GreenRelay(app, **options)

    @app.get("/")
    def index():
        return "hello"

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(echo))

    @app.get("/presence")
    def who():
        return jsonify(process.call(process.spawn(presence, name="presence"), "who"))

    @app.get("/boom")
    def boom():
        raise RuntimeError("in a view")

    @app.get("/exit")
    def leave():
        raise SystemExit(3)

    @app.route("/visits", methods=["GET", "POST"])
    def visits():
        session["count"] = session.get("count", 0) + 1
        return {"count": session["count"]}

    return app
