"""What the tests of processes share."""

import pytest

from greenrelay.processes.mailbox import Mailbox
from tests.sample_mailboxes import own


@pytest.fixture
def mailbox():
    """A mailbox that the test itself may take from."""
    return own(Mailbox(max_messages=4))
