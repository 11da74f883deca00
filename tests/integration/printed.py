"""The programs that a page of the documentation prints, to be run as real programs."""

import re

from tests.integration.programs import ROOT

PROGRAM = re.compile(r"^```py(?:thon)?\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_programs(page, folder):
    """Put all programs of a page that have a file's name in their first line into a folder."""
    for code, name in PROGRAM.findall((ROOT / "docs" / page).read_text()):
        (folder / name).write_text(code)


def find_command(page, beginning):
    """Return the shell's line on a page that begins in this way."""
    lines = "".join(COMMAND.findall((ROOT / "docs" / page).read_text())).splitlines()
    (command,) = {line for line in lines if line.startswith(beginning)}
    return command
