"""The pytest plugin: the fixture `relay_server`, there wherever greenrelay is installed.

It loads `greenrelay.testing` when the fixture is first used. A plugin is imported
before a project's `conftest.py`, which may have to monkey-patch before `ssl` is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from greenrelay.testing.factory import ServerFactory


@pytest.fixture
def relay_server() -> Iterator[ServerFactory]:
    """Start servers for WSGI apps on free ports of 127.0.0.1: `server = relay_server(app)`.

    When the test ends they are stopped, and so are the processes it has left on their nodes.
    """
    from greenrelay.testing.factory import serving

    with serving() as start:
        yield start
