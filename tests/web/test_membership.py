"""An app's node in a cluster (§7.1, §10.1)."""

import secrets

import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.errors import ClusterError, ConfigurationError
from greenrelay.processes.node import Node
from greenrelay.testing import UpgradeRefused, wait_until
from greenrelay.web.membership import Membership


@pytest.mark.parametrize("url", [7, "nothing:", "local:?lease=never", "redis://h?deploymnt=x"])
def test_what_names_no_cluster_is_an_error_at_once(url):
    """§10.1"""
    app = Flask("app")
    app.config["GREENRELAY_CLUSTER"] = url
    with pytest.raises(ConfigurationError, match="GREENRELAY_CLUSTER"):
        GreenRelay(app)


def make_app(url, **config):
    app = Flask("app")
    app.config.update(GREENRELAY_CLUSTER=url, **config)
    relay = GreenRelay(app, node=Node(secrets.token_hex(4)))

    @app.get("/spawn")
    def spawn():
        return process.spawn("tests.cluster.acts:idle", name="room")

    @app.get("/ws", websocket=True)
    def ws():
        return relay.websocket(process.registry.lookup("room"), dialect="raw")

    return app


def test_two_served_apps_of_one_cluster_share_names(relay_server):
    """§7.6: also from a view."""
    url = f"memory:{secrets.token_hex(4)}"
    one, two = (relay_server(make_app(url)) for _ in range(2))
    pid = one.get("/spawn").text
    assert two.get("/spawn").text == pid
    assert pid.startswith(f"proc@{one.node.name}/")


def test_a_view_is_503_while_the_cluster_is_away(relay_server, monkeypatch, caplog):
    """§7.1: a name can't be claimed."""
    server = relay_server(make_app(f"memory:{secrets.token_hex(4)}"))
    monkeypatch.setattr(MemoryBackend, "claim", refuse)
    answer = server.get("/spawn")
    assert (answer.status[:3], answer.headers["Retry-After"]) == ("503", "5")
    assert answer.text == "the cluster is away\n"
    told = [line.getMessage() for line in caplog.records if line.levelname != "INFO"]
    assert told == ["'/spawn': nobody answers"]


def refuse(backend, name, pid):
    raise ClusterError("nobody answers")


def test_a_client_of_one_app_reaches_a_process_of_the_other(relay_server):
    """§7.1"""
    url = f"memory:{secrets.token_hex(4)}"
    one, two = (relay_server(make_app(url)) for _ in range(2))
    pid = one.get("/spawn").text
    with two.connect_ws("/ws"):
        wait_until(lambda: one.run(process.info, pid)["mailbox"] == 0)
        assert one.run(process.info, pid)["watchers"] == 1


def test_a_dead_target_on_another_node_is_refused(relay_server):
    """§3.1: as one here is."""
    url = f"memory:{secrets.token_hex(4)}"
    one = relay_server(make_app(url))
    app = make_app(url)
    gone = one.node.make_pid("proc")
    relay = GreenRelay()

    @app.get("/gone", websocket=True)
    def view():
        return relay.websocket(gone)

    three = relay_server(app)
    with pytest.raises(UpgradeRefused) as refused:
        three.connect_ws("/gone")
    assert refused.value.status == 503


def test_a_first_request_joins_where_the_server_did_not(node):
    """§7.1"""
    membership = Membership(f"memory:{secrets.token_hex(4)}")
    membership.require(node)
    assert node.table.elsewhere is not None
    node.table.elsewhere.stop()


def test_a_request_goes_on_when_the_cluster_is_away(node, caplog):
    """§7.3: local work goes on; one line in the log."""
    membership = Membership("redis://127.0.0.1:1")
    for _ in range(2):
        membership.require(node)
    assert node.table.elsewhere is None
    assert caplog.text.count("is in no cluster") == 1


def test_a_server_that_can_not_join_says_so(node):
    with pytest.raises(ClusterError):
        Membership("redis://127.0.0.1:1").join(node)
