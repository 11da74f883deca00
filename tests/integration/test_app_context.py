"""Processes of an app with Flask-SQLAlchemy, over real servers (§2.7)."""

import pytest
from flask import current_app, g

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.integration.apps import database_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

MESSAGES = 100


class Bank:
    """An app with one account, and a database that gives out one connection at a time."""

    def __init__(self, node, path):
        self.app, self.db = database_app("bank", path)
        self.relay = GreenRelay(self.app, node=node)
        self.teardowns = []
        self.app.teardown_appcontext(lambda error: self.teardowns.append(g.get("number")))
        self.app.add_url_rule("/ws", view_func=self.ws)
        self.app.add_url_rule("/pay", view_func=self.pay, methods=["POST"])
        self.make_tables()

    def make_tables(self):
        db = self.db

        class Account(db.Model):
            id = db.Column(db.Integer, primary_key=True)
            balance = db.Column(db.Integer, default=0)

        self.account_class = Account
        with self.app.app_context():
            db.create_all()
            db.session.add(Account(id=1, balance=0))
            db.session.commit()
        self.teardowns.clear()

    @property
    def account(self):
        return self.db.session.get(self.account_class, 1)

    @property
    def in_use(self):
        """How many database connections are not in the pool."""
        with self.app.app_context():
            return self.db.engine.pool.checkedout()

    def read(self):
        """Return the balance, by a session of its own."""
        with self.app.app_context():
            return self.account.balance

    def ws(self):
        return self.relay.websocket(process.spawn(self.clerk))

    def pay(self):
        """Add one, as a view."""
        self.account.balance += 1
        self.db.session.commit()
        return "paid"

    def clerk(self):
        """Do what the client's messages name, one a message, and answer."""
        for message in process.inbox():
            if message.topic == "ws.message":
                answer = getattr(self, f"do_{message.payload}")()
                send_frame(message.sender, str(answer))

    def do_read(self):
        return self.account.balance

    def do_add(self):
        self.account.balance += 1
        self.db.session.commit()
        return self.account.balance

    def do_forget(self):
        self.account.balance += 1000
        self.db.session.flush()
        return "not committed"

    def do_fail(self):
        self.do_forget()
        raise RuntimeError("in the middle")

    def do_name(self):
        return current_app.name

    def do_number(self):
        before, g.number = g.get("number"), len(self.teardowns)
        return before

    def do_delegate(self):
        pid = process.spawn(self.child)
        self.db.session.remove()  # its own would be in the child's way while it waits
        return process.call(pid, "ask")

    def child(self):
        process.inbox().receive().reply(self.do_add())


@pytest.fixture
def bank(node, tmp_path):
    bank = Bank(node, tmp_path / "bank.db")
    yield bank
    with bank.app.app_context():
        bank.db.engine.dispose()


@pytest.fixture
def server(bank, relay_server):
    return relay_server(bank.app)


def ask(ws, what):
    ws.send(what)
    return ws.receive()


def test_process_that_waits_holds_no_connection(bank, server):
    """§2.7: after each of a hundred messages."""
    with server.connect_ws("/ws") as ws:
        for number in range(MESSAGES):
            assert ask(ws, "add") == str(number + 1)
            wait_until(lambda: bank.in_use == 0)
    assert bank.read() == MESSAGES


def test_many_processes_and_views_share_one_connection(bank, server):
    """§2.7"""
    clients = [server.connect_ws("/ws") for _ in range(10)]
    for _ in range(10):
        for ws in clients:
            ws.send("add")
        assert bank.app.test_client().post("/pay").text == "paid"
        for ws in clients:
            ws.receive()
    for ws in clients:
        ws.close()
    assert bank.read() == 110


def test_each_message_sees_what_others_have_committed(bank, server):
    """§2.7: no snapshot, and no object, of an earlier message."""
    with server.connect_ws("/ws") as ws:
        seen = []
        for _ in range(5):
            seen.append(ask(ws, "read"))
            bank.app.test_client().post("/pay")
        assert seen == list("01234")


def test_what_a_message_has_not_committed_is_rolled_back(bank, server):
    """§2.7: as at the end of a request."""
    with server.connect_ws("/ws") as ws:
        assert ask(ws, "forget") == "not committed"
        assert ask(ws, "read") == "0"


def test_crash_gives_the_connection_back(bank, server):
    """§2.7"""
    with server.connect_ws("/ws") as ws:
        ws.send("fail")
        assert ws.wait_closed().code == 1011
    assert (bank.in_use, bank.read()) == (0, 0)


def test_terminated_process_gives_the_connection_back(bank, node):
    """§2.7: in the middle of a message."""

    def hang():
        bank.do_forget()
        process.send(process.pid(), "never read")
        process.call(idle, "ask", timeout=None)

    idle = node.spawn(lambda: [None for _ in process.inbox()])
    pid = bank.relay.spawn(hang, app=bank.app)
    wait_until(lambda: bank.in_use == 1)
    process.terminate(pid)
    wait_until(lambda: bank.in_use == 0)
    assert bank.read() == 0


def test_context_is_the_app_s_and_fresh_for_each_message(bank, server):
    """§2.7"""
    with server.connect_ws("/ws") as ws:
        assert ask(ws, "name") == "bank"
        assert [ask(ws, "number") for _ in range(3)] == ["None"] * 3


def test_teardown_runs_once_for_each_message(bank, server):
    """§2.7"""
    with server.connect_ws("/ws") as ws:
        for _ in range(5):
            ask(ws, "number")
        wait_until(lambda: len([each for each in bank.teardowns if each is not None]) == 5)
    numbers = [number for number in bank.teardowns if number is not None]
    assert len(numbers) == len(set(numbers)) == 5


def test_child_of_a_process_uses_the_database_too(bank, server):
    """§2.7"""
    with server.connect_ws("/ws") as ws:
        assert ask(ws, "delegate") == "1"
    assert bank.read() == 1


def test_process_started_with_the_app_uses_the_database(bank, node):
    """§2.7: without any request."""

    def counter():
        for message in process.inbox():
            message.reply(bank.do_add())

    bank.relay.spawn(counter, app=bank.app, name="counter")
    assert [process.call("counter", "add") for _ in range(3)] == [1, 2, 3]
    wait_until(lambda: bank.in_use == 0)


def test_supervised_process_uses_the_database_after_a_crash(bank, node):
    """§2.7: started anew, it is in the app as before."""

    def counter():
        for message in process.inbox():
            message.reply(message.payload())

    supervisor = process.Supervisor([process.Child(counter, name="counter")])
    bank.relay.spawn(supervisor, app=bank.app)
    wait_until(lambda: process.is_alive("counter"))
    first = process.registry.lookup("counter")
    process.send(first, "call", bank.do_fail)
    wait_until(lambda: process.registry.lookup("counter") not in (first, None))
    assert process.call("counter", "call", bank.do_add) == 1
