"""A browser's EventSource comes back to a server that was stopping (§9): a real Chromium."""

import pytest

from tests.integration.browser import SECONDS, chromium, expect
from tests.integration.commands import APP

STREAMS = """
from flask import request

relay = app.extensions["greenrelay"]


@app.get("/page")
def page():
    return '''<p role="status"></p><ol></ol><script>
        const source = new EventSource("/stream");
        const note = (text) => {
            const item = document.createElement("li");
            item.textContent = text;
            document.querySelector("ol").append(item);
            document.querySelector("p").textContent = source.readyState;
        };
        source.onopen = () => note("open");
        source.onerror = () => note("error");
        source.addEventListener("done", ({ data }) => note(JSON.parse(data).reason));
        source.addEventListener("sse.message", ({ data }) => note(data));
    </script>'''


@app.get("/stream")
def stream():
    from greenrelay import GreenRelay
    return GreenRelay().sse(process.spawn(greet), retry="100ms")


def greet():
    for message in process.inbox():
        if message.topic == "sse.join":
            process.send(message.sender, "sse.message", "hello")


@app.post("/draining/<int:on>")
def draining(on):
    relay.node.is_draining = bool(on)
    return ""
"""


@pytest.fixture
def served(tmp_path, run_serve):
    (tmp_path / "site_app.py").write_text(APP + STREAMS)
    return run_serve("site_app:app", "--port", "0")


def test_eventsource_that_met_a_stopping_server_comes_back(served):
    """§9: its first answer was a refusal, and it asks again by itself."""
    with chromium() as browser:
        page = browser.new_page()
        page.request.post(f"{served.url}/draining/1")
        page.goto(f"{served.url}/page")
        items = page.get_by_role("listitem")
        expect(items.filter(has_text="shutdown").nth(1)).to_be_visible(timeout=SECONDS * 1000)
        page.request.post(f"{served.url}/draining/0")
        expect(items.filter(has_text="hello")).to_be_visible(timeout=SECONDS * 1000)
        expect(page.get_by_role("status")).to_have_text("1")  # EventSource.OPEN
