"""What ends a process, and the reason that those who watch it are told (§2.4)."""

import gevent
import pytest

from greenrelay.processes.channel import ChannelClosed
from greenrelay.processes.endings import ProcessExit, describe_error, exit_reason, is_crash


class Mute(Exception):
    """It can't even say what it is."""

    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason", "crashed"),
    [
        pytest.param(ProcessExit("shutdown"), "shutdown", False, id="exit"),
        pytest.param(ChannelClosed(), "cancelled", False, id="inbox closed"),
        pytest.param(gevent.GreenletExit(), "killed", False, id="killed"),
        pytest.param(ValueError("no"), "error: ValueError: no", True, id="error"),
        pytest.param(KeyboardInterrupt(), "error: KeyboardInterrupt: ", True, id="Ctrl-C"),
        pytest.param(Mute(), "error: Mute: ?", True, id="error without words"),
    ],
)
def test_what_is_raised_gives_the_reason(error, reason, crashed):
    assert (exit_reason(error), is_crash(error)) == (reason, crashed)


def test_exit_passes_except_exception():
    assert not isinstance(ProcessExit("normal"), Exception)


def test_description_names_the_type_and_the_text():
    assert describe_error(KeyError("x")) == "error: KeyError: 'x'"
