"""Chromium for tests: the one that is installed, driven by Playwright, with a profile of its own.

Where one of them is missing the tests that import this are skipped; with CI=true they fail.
"""

import os
import shutil
from contextlib import contextmanager

import pytest

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # as root in a container, Chromium's own sandbox can't start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS = 15
"""How long a page may take to show what is expected; it takes a fraction of a second."""


def give_up(reason):
    """Skip the tests, or fail where they have to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    give_up("Playwright is not installed: pip install playwright")

expect.set_options(timeout=SECONDS * 1000)


@contextmanager
def chromium():
    """Give a browser that knows nothing yet, and end it afterwards."""
    path = shutil.which("chromium") or shutil.which("chromium", path="/usr/bin")
    if path is None:
        give_up("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
