"""An app that gunicorn imports before it forks: each worker is a node that begins empty (§10.3)."""

import json

import pytest

from greenrelay.testing import wait_until
from tests.integration.gunicorns import GEVENT
from tests.integration.programs import SECONDS

APP = """
import os
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
relay = GreenRelay(app)


def clock():
    print("clock begins", os.getpid(), flush=True)
    for message in process.inbox():
        if message.topic == "who":
            message.reply(os.getpid())


EARLY = relay.spawn(clock, app=app, name="clock")
process.group("clocks").join(EARLY)
process.send_after(0.1, "clock", "tick")


@app.get("/")
def index():
    return {
        "worker": os.getpid(),
        "node": relay.node.name,
        "early": process.is_alive(EARLY),
        "named": process.registry.lookup("clock"),
        "grouped": process.group("clocks").members(),
        "living": len(relay.node),
    }


@app.get("/spawn")
def spawn():
    pid = process.spawn(clock, name="clock")
    return {"pid": pid, "asked": process.call(pid, "who"), "worker": os.getpid()}
"""

PATCHED = "from gevent import monkey\nmonkey.patch_all()\n"
HOOK = """
def post_worker_init(worker):
    import site_app
    site_app.relay.spawn(site_app.clock, app=site_app.app, name="clock")
"""


@pytest.fixture
def preloaded(tmp_path, run_gunicorn):
    """Run gunicorn with a preloaded app, a configuration of its own and two workers."""

    def start(config="", arguments=("-k", "gevent"), workers=2):
        (tmp_path / "site_app.py").write_text(APP)
        (tmp_path / "conf.py").write_text(config)
        own = ("-c", "conf.py") if config else ()
        options = (*arguments, *own, "--preload", "-w", str(workers), "site_app:app")
        return run_gunicorn(*options)

    return start


def ask_all(served, path="/", count=2):
    """Return the answer of each worker, by its process id."""
    answers = {}

    def all_have_answered():
        answer = json.loads(served.get(path).body)
        answers[answer["worker"]] = answer
        return len(answers) == count

    wait_until(all_have_answered, SECONDS)
    return list(answers.values())


CONFIGURATIONS = [
    pytest.param("", ("-k", "gevent"), id="without our hooks"),
    pytest.param("", GEVENT, id="with our hooks"),
    pytest.param(PATCHED, ("-k", "gevent"), id="patched before"),
]


@pytest.mark.parametrize(("config", "arguments"), CONFIGURATIONS)
def test_a_process_of_the_import_is_in_no_worker(preloaded, config, arguments):
    """§10.3: it would live in each of them under one PID."""
    served = preloaded(config, arguments)
    for answer in ask_all(served):
        empty = {"early": False, "named": None, "grouped": [], "living": 0}
        assert {key: answer[key] for key in empty} == empty
        assert answer["node"].endswith(f"-{answer['worker']}")
        assert f"clock begins {answer['worker']}" not in served.text


@pytest.mark.parametrize(("config", "arguments"), CONFIGURATIONS)
def test_each_worker_says_what_it_has_left_behind(preloaded, config, arguments):
    """§10.6: once, with what to write."""
    served = preloaded(config, arguments)
    wait_until(lambda: served.text.count("is not in this worker") == 2, SECONDS)
    assert "site_app:clock (named 'clock')" in served.text
    assert "post_worker_init" in served.text
    assert "Traceback" not in served.text
    assert served.stop() == 0


def test_each_worker_may_start_its_own(preloaded):
    """§10.3: the name is free there, and the PIDs differ."""
    served = preloaded()
    answers = ask_all(served, "/spawn")
    assert len({answer["pid"] for answer in answers}) == 2
    assert all(answer["asked"] == answer["worker"] for answer in answers)


def test_the_hook_that_the_warning_names_works(preloaded):
    """§10.3: what was spawned behind the fork stays."""
    served = preloaded(HOOK)
    for answer in ask_all(served):
        assert answer["named"] is not None
        assert answer["living"] == 1
        assert f"clock begins {answer['worker']}" in served.text
