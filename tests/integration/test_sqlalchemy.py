"""The request has really ended: its database session is back in the pool (§2.7, §3.1)."""

import contextlib

import pytest
from sqlalchemy import text

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, database_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

CONNECTIONS = 20


class Shop:
    """An app with a database that gives out one connection at a time."""

    def __init__(self, node, path):
        self.app, self.db = database_app("shop", path)
        self.relay = GreenRelay(self.app, node=node)
        self.target = Recorder()
        self.teardowns = []
        self.app.add_url_rule("/ws", view_func=self.ws)
        self.app.teardown_appcontext(self.note_teardown)

    def ws(self):
        self.ask()
        return self.relay.websocket(process.spawn(self.target))

    def note_teardown(self, error):
        self.teardowns.append(list(self.target.topics))

    def ask(self):
        """Use the database, and leave the session open, as views do."""
        return self.db.session.execute(text("select 42")).scalar()

    @property
    def in_use(self):
        """How many database connections are not in the pool."""
        with self.app.app_context():
            return self.db.engine.pool.checkedout()


@pytest.fixture
def shop(node, tmp_path):
    shop = Shop(node, tmp_path / "shop.db")
    yield shop
    with shop.app.app_context():
        shop.db.engine.dispose()


def test_open_websockets_hold_no_database_connection(shop, any_server):
    """§3.1"""
    server = any_server(shop.app)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(server.connect_ws("/ws"))
        wait_until(lambda: shop.target.topics.count("ws.join") == CONNECTIONS)
        assert shop.in_use == 0
        assert len([each for each in server.node if each.pid.host == "ws"]) == CONNECTIONS


def test_teardown_has_run_before_the_first_frame(shop, any_server):
    """§3.1: even if the frame came with the handshake."""
    server = any_server(shop.app)
    with raw.RawClient(server.url) as client:
        client.send(raw.head() + raw.text("early"))
        shop.target.wait_for("ws.message")
    assert "ws.message" not in shop.teardowns[0]


def test_process_gives_its_session_back_while_it_waits(shop, relay_server):
    """§2.7: each message is its own context."""

    def answer(message):
        if message.topic == "ws.message":
            send_frame(message.sender, f"{shop.ask()}, {shop.in_use} in use")

    shop.target.answer = answer
    server = relay_server(shop.app)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            ws = stack.enter_context(server.connect_ws("/ws"))
            ws.send("ask")
            assert ws.receive() == "42, 1 in use"
            wait_until(lambda: shop.in_use == 0)


def test_refused_request_gives_its_session_back(shop, relay_server):
    """§3.2"""
    server = relay_server(shop.app)
    for _ in range(CONNECTIONS):
        with raw.RawClient(server.url) as client:
            client.send(raw.head(sec_websocket_version="8"))
            assert client.read_answer().status == 426
    assert shop.in_use == 0
