"""`greenrelay` without a command, whatever click it runs on (§10.2)."""

import subprocess
import sys


def test_command_that_is_missing_is_wrong_usage_and_shows_the_help():
    """§10.2"""
    done = subprocess.run(
        [sys.executable, "-m", "greenrelay"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "serve" in done.stderr
    assert "doctor" in done.stderr
