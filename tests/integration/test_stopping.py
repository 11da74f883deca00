"""How `greenrelay serve` ends, whatever its code and its terminal do (§9)."""

import fcntl
import os
import pty
import re
import signal
import sys
import termios
from pathlib import Path

import pytest
from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import WebSocketClient, wait_until
from tests.integration import raw
from tests.integration.commands import APP, Served
from tests.integration.programs import ROOT, SECONDS

SPINNING = """
def spin():
    while True:
        pass


def chatter():
    import logging
    handler = logging.getLogger().handlers[0]
    handler.acquire()
    spin()


def drift():
    while True:
        time.sleep(0)


def swallow():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def compute():
    sum(iter(int, 1))  # for ever, in C, and nobody else gets the interpreter


def spin_at_the_end():
    try:
        time.sleep(60)
    finally:
        spin()


@app.get("/start/<name>")
def start(name):
    return process.spawn(globals()[name])


@app.get("/spinning")
def spinning():
    print("spinning begins", flush=True)
    spin()
"""


@pytest.fixture
def serve(tmp_path, run_serve):
    """Run `greenrelay serve` with the arguments given, on a free port."""
    (tmp_path / "site_app.py").write_text(APP + SPINNING)
    return lambda *arguments, app="site_app:app": run_serve(app, "--port", "0", *arguments)


def start_process(served, name):
    """Have the app start a process; one that spins lets the view answer first."""
    return served.get(f"/start/{name}")


# -- code that does not end ----------------------------------------------------

STUBBORN = ["spin", "drift", "swallow", "compute"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", STUBBORN)
def test_second_signal_stops_at_once_whatever_a_process_does(serve, name, number):
    """§9: at the drain's end it would be a minute."""
    served = serve("--drain-seconds", "60")
    start_process(served, name)
    served.signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        served.process.wait(0.5)
    served.signal(number)
    assert served.process.wait(SECONDS) == -number


def test_second_signal_stops_at_once_whatever_a_view_does(serve):
    """§9"""
    served = serve("--drain-seconds", "60")
    with raw.RawClient(served.url) as client:
        client.send(raw.head("GET /spinning HTTP/1.1", upgrade=None, connection=None))
        wait_until(lambda: "spinning begins" in served.text, SECONDS)
        served.signal()
        wait_until(lambda: "site_app:spin" in served.text, SECONDS)
    served.signal(signal.SIGINT)
    assert served.wait() == -signal.SIGINT


@pytest.mark.parametrize("name", ["spin", "spin_at_the_end"])
def test_process_that_lets_nobody_run_is_named_by_the_first_signal(serve, name):
    """§9: with its PID and its function, though no greenlet can say so."""
    served = serve("--drain-seconds", "3")
    pid = start_process(served, name)
    served.signal()
    wait_until(lambda: "lets nobody else run" in served.text, SECONDS)
    lines = [line for line in served.text.splitlines() if "lets nobody else run" in line]
    assert f"WARNING process {pid} delays the stop, in site_app:spin " in lines[0]


@pytest.mark.parametrize("name", ["spin", "chatter"])
def test_process_that_lets_nobody_run_does_not_outlive_the_drain_time(serve, name):
    """§9: what is left at the deadline ends by force, though its log be locked."""
    served = serve("--drain-seconds", "0.5")
    start_process(served, name)
    served.signal()
    assert served.wait() == 1


@pytest.mark.parametrize("name", ["drift", "swallow"])
def test_process_that_yields_but_does_not_end_is_named_and_ended(serve, name):
    """§9: exit code 0"""
    served = serve("--drain-seconds", "1.5")
    pid = start_process(served, name)
    served.signal()
    assert served.wait() == 0
    assert f"process {pid} delays the stop" in served.text


# -- terminals -----------------------------------------------------------------


def test_sighup_ends_it_in_good_order(serve):
    """§9: a terminal that closes sends it."""
    served = serve()
    with served.connect_ws() as ws:
        served.signal(signal.SIGHUP)
        assert ws.wait_closed().code == 1012
    assert served.wait() == 0


def test_sighup_is_no_second_signal(serve):
    """§9: it comes beside others."""
    served = serve("--drain-seconds", "1")
    start_process(served, "swallow")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
        served.signal(number)
    assert served.wait() == 0


def test_sighup_that_is_ignored_stays_ignored(tmp_path):
    """§9: under nohup."""
    (tmp_path / "site_app.py").write_text(APP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        served = Served(tmp_path, "site_app:app", "--port", "0")
    finally:
        signal.signal(signal.SIGHUP, before)
    with served.connect_ws() as ws:
        served.signal(signal.SIGHUP)
        ws.send("still there")
        assert ws.receive() == "still there"
        served.signal()
        assert ws.wait_closed().code == 1012
    assert served.wait() == 0


def test_terminal_that_closes_ends_it_in_good_order(tmp_path):
    """§9: though what it prints has nowhere to go."""
    (tmp_path / "site_app.py").write_text(APP)
    terminal, its_end = pty.openpty()
    served = subprocess.Popen(
        [sys.executable, "-m", "greenrelay", "serve", "site_app:app", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **dict.fromkeys(("stdin", "stdout", "stderr"), its_end),
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    )
    os.close(its_end)
    lines = os.fdopen(terminal, "rb")
    url = re.search(r"http(://\S+)", lines.readline().decode())[1]
    with WebSocketClient(f"ws{url}/ws") as ws:
        lines.close()
        assert ws.wait_closed().code == 1012
    assert served.wait(SECONDS) == 0


# -- children ------------------------------------------------------------------


def test_signal_of_a_forked_child_is_its_own(serve, tmp_path):
    """§9: it shares our pipe for signals until it has its own."""
    (tmp_path / "forking.py").write_text(
        APP + "\n\n@app.get('/fork')\ndef fork():\n"
        "    import os, signal\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        while True:\n"
        "            signal.pause()\n"
        "    os.kill(pid, signal.SIGTERM)\n"
        "    return str(os.waitpid(pid, 0)[1])\n"
    )
    served = serve(app="forking:app")
    assert served.get("/fork") == str(int(signal.SIGTERM))
    assert served.get() == "patched: True"
    served.signal()
    assert served.wait() == 0


# -- reloading -----------------------------------------------------------------


def test_reload_closes_connections(serve, tmp_path):
    """§9, §10.2: at each change."""
    served = serve("--reload")
    with served.connect_ws() as ws:
        (tmp_path / "site_app.py").write_text(APP.replace("patched:", "changed:"))
        assert ws.wait_closed(timeout=10).code == 1012
    wait_until(lambda: len(Served.LISTENING.findall(served.text)) == 2, SECONDS)
    assert len(set(Served.LISTENING.findall(served.text))) == 1  # where its clients look for it
    assert served.get() == "changed: True"
    served.signal()
    assert served.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_a_reloading_server_closes_connections(serve, number):
    """§9"""
    served = serve("--reload")
    with served.connect_ws() as ws:
        served.signal(number)
        assert ws.wait_closed().code == 1012
    assert served.wait() == 0


def test_mistake_in_a_changed_file_waits_for_the_next_change(serve, tmp_path):
    """§10.2: it is told in one line, as ever."""
    served = serve("--reload")
    assert served.get() == "patched: True"
    (tmp_path / "site_app.py").write_text("def (:")
    wait_until(lambda: "can't import 'site_app'" in served.text, SECONDS)
    (tmp_path / "site_app.py").write_text(APP.replace("patched:", "mended:"))
    wait_until(lambda: len(Served.LISTENING.findall(served.text)) == 2, SECONDS)
    assert served.get() == "mended: True"
    served.signal()
    assert served.wait() == 0


def child_of(served):
    """Return the PID of the child that serves."""
    pid = served.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def has_ended(pid):
    """Tell whether a process that is no child of ours has; who adopts it may not have reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_reloading_server_whose_parent_is_killed_closes_connections(serve):
    """§9: and lets go of the port."""
    served = serve("--reload")
    with served.connect_ws() as ws:
        child = child_of(served)
        served.kill()
        assert ws.wait_closed(timeout=10).code == 1012
    wait_until(lambda: has_ended(child), SECONDS)


def test_reloading_server_whose_parent_is_killed_does_not_spin_for_ever(serve):
    """§9: it is like any other stop."""
    served = serve("--reload", "--drain-seconds", "0.5")
    start_process(served, "spin")
    child = child_of(served)
    served.kill()
    wait_until(lambda: has_ended(child), SECONDS)


def test_reloading_server_whose_parent_is_killed_waits_for_no_change(serve, tmp_path):
    """§9: nor for a mistake to be mended."""
    served = serve("--reload")
    assert served.get() == "patched: True"
    (tmp_path / "site_app.py").write_text("def (:")
    wait_until(lambda: "can't import 'site_app'" in served.text, SECONDS)
    child = child_of(served)
    served.kill()
    wait_until(lambda: has_ended(child), SECONDS)


def test_mistake_at_the_first_start_ends_a_reloading_server(serve):
    """§10.2"""
    served = serve("--reload", app="nowhere:app")
    assert served.wait() == 2
    assert served.text.count("can't import 'nowhere'") == 1
