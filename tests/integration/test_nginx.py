"""Behind nginx, with the configuration that docs/nginx.conf shows (§5.6, §6.2)."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import gevent.socket
import pytest
from flask import Flask, request

from greenrelay import GreenRelay, event_stream, process
from greenrelay.testing import EventStreamClient, UpgradeRefused, WebSocketClient, wait_until
from tests.integration import raw

CONFIGURATION = Path(__file__).parents[2] / "docs/nginx.conf"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
NGINX = shutil.which("nginx", path=PATH)

if NGINX is None and os.environ.get("CI") != "true":
    pytest.skip("nginx is not installed: apt-get install nginx-light", allow_module_level=True)

MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def free_port():
    with gevent.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def closed():
    """What has been told of clients that left."""
    return []


@pytest.fixture
def trusted():
    """Whose X-Forwarded-* the app believes."""
    return "127.0.0.1"


@pytest.fixture
def app(node, target, closed, trusted):
    app = Flask("proxied")
    app.config["GREENRELAY_TRUSTED_PROXIES"] = trusted
    relay = GreenRelay(app, node=node)

    def numbers():
        try:
            for number in range(100_000):
                yield "number", number
                gevent.sleep(0.01)
        finally:
            closed.append("closed")

    app.add_url_rule("/sse", view_func=lambda: relay.sse(process.spawn(target)), endpoint="sse")
    app.add_url_rule("/ws", view_func=lambda: relay.websocket(process.spawn(target)), endpoint="ws")
    app.add_url_rule("/direct", view_func=lambda: event_stream(numbers()), endpoint="direct")
    app.add_url_rule("/who", view_func=lambda: request.headers["X-Forwarded-For"], endpoint="who")
    return app


@pytest.fixture
def nginx(app, relay_server, tmp_path):
    """Return the address of an nginx in front of the app."""
    with running_nginx(relay_server(app), tmp_path) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def nginx_tls(app, relay_server, tmp_path, certificate):
    """Return the address of an nginx that speaks TLS, in front of the app, which does not."""
    with running_nginx(relay_server(app), tmp_path, certificate) as port:
        yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def running_nginx(server, folder, certificate=None):
    """Give the port of an nginx that runs with the configuration shown, but for addresses."""
    port = free_port()
    listen = f"listen 127.0.0.1:{port};"
    if certificate:
        listen = listen.replace(";", " ssl;")
        listen += f"ssl_certificate {certificate['certfile']};"
        listen += f"ssl_certificate_key {certificate['keyfile']};"
    site = CONFIGURATION.read_text()
    address = f"server {server.url.removeprefix('http://')};"
    for shown, real in (("server 127.0.0.1:8000;", address), ("listen 80;", listen)):
        assert shown in site
        site = site.replace(shown, real)
    (folder / "site.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "main.conf").write_text(user + MAIN.format(folder=folder))
    command = [NGINX, "-p", folder, "-c", folder / "main.conf", "-e", folder / "error.log"]
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, stderr=printed)
    try:
        wait_until(lambda: is_listening(port), timeout=20)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def is_listening(port):
    with gevent.socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send(target, payload, topic="sse.message"):
    return process.send(target.wait_for("sse.join")["client_pid"], topic, payload)


def test_events_arrive_at_once(nginx, target):
    """§5.1: nothing is gathered on the way."""
    with EventStreamClient(f"{nginx}/sse", {"Accept-Encoding": "gzip"}) as stream:
        for number in range(3):
            send(target, number)
            assert stream.receive().data == str(number)
        send(target, "", "sse.close")
        assert stream.receive().event == "done"
        assert list(stream) == []


def test_events_of_a_view_arrive_at_once(nginx, closed):
    """§4.2"""
    with EventStreamClient(f"{nginx}/direct") as stream:
        assert [stream.receive().data for _ in range(3)] == ["0", "1", "2"]
    wait_until(lambda: closed)


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_is_noticed_without_a_write(nginx, target, leave):
    """§5.6"""
    client = raw.RawClient(nginx)
    client.send(b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.read_answer().status == 200
    getattr(client, leave)()
    assert target.wait_for("sse.leave")["reason"] == "connection_lost"


def test_websocket_passes_through(nginx, target):
    """§3.3"""
    with WebSocketClient(f"{nginx}/ws".replace("http", "ws", 1)) as ws:
        client = target.client
        process.send(client, "ws.send", {"type": "text", "data": "hello"})
        assert ws.receive() == "hello"
        ws.send("x" * 100_000)
        assert target.wait_for("ws.message") == "x" * 100_000
        ws.close(4000, "enough")
    assert target.wait_for("ws.leave")["code"] == 4000


def test_websocket_that_breaks_off_is_noticed(nginx, target):
    """§3.8"""
    client = raw.RawClient(nginx)
    client.upgrade()
    client.close()
    assert target.wait_for("ws.leave")["reason"] == "connection_lost"


def test_page_of_the_site_itself_is_no_foreign_one(nginx):
    """§6.2: although greenrelay is at another port."""
    with WebSocketClient(f"{nginx}/ws".replace("http", "ws", 1), origin=nginx):
        pass
    with EventStreamClient(f"{nginx}/sse", {"Origin": nginx}) as stream:
        assert "Access-Control-Allow-Origin" not in stream.headers


def test_page_of_the_site_is_no_foreign_one_behind_tls(nginx_tls, trust):
    """§6.2: greenrelay is told that it is https."""
    headers = {"Origin": nginx_tls}
    with EventStreamClient(f"{nginx_tls}/sse", headers, ssl_context=trust) as stream:
        assert stream.status == 200


@pytest.mark.parametrize("trusted", ["", "192.0.2.1"])
def test_proxy_that_is_not_trusted_is_not_believed(nginx_tls, trust):
    """§6.2"""
    with pytest.raises(UpgradeRefused) as refused:
        EventStreamClient(f"{nginx_tls}/sse", {"Origin": nginx_tls}, ssl_context=trust)
    assert refused.value.status == 403


def test_page_of_another_site_is_refused(nginx):
    """§6.2: whatever a client says of itself."""
    headers = {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}
    with pytest.raises(UpgradeRefused) as refused:
        EventStreamClient(f"{nginx}/sse", headers)
    assert refused.value.status == 403


def test_app_is_told_the_clients_address(nginx):
    with pytest.raises(UpgradeRefused) as answer:  # an ordinary one
        EventStreamClient(f"{nginx}/who")
    assert answer.value.body == b"127.0.0.1"


def test_time_outs_are_longer_than_the_silence(nginx):
    """§5.1, §8: in the file as it is shown."""
    seconds = re.search(r"proxy_read_timeout (\d+)s;", CONFIGURATION.read_text())
    assert int(seconds[1]) > 2 * 30
