"""The lower bounds that setup.cfg names are the versions that `scripts/test --lowest` installs."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r"^(?P<name>[\w-]+)(\[\w+\])?>=(?P<version>[\w.]+)(,!=[\w.]+)*$")


def declared():
    """Return what setup.cfg asks for, but for what only the tests need: `["click>=8.0"]`."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = dict(setup["options.extras_require"])
    del extras["test"]
    blocks = [setup["options"]["install_requires"], *extras.values()]
    return [line for block in blocks for line in block.split("\n") if line]


def test_every_dependency_has_a_lower_bound_and_no_upper_one():
    assert [line for line in declared() if not BOUND.match(line)] == []


def test_lowest_versions_are_the_lower_bounds():
    """And so are tried: nobody raises one bound and forgets the other."""
    bounds = [BOUND.match(line) for line in declared()]
    pins = (ROOT / "scripts" / "lowest.txt").read_text().splitlines()
    assert sorted(line for line in pins if not line.startswith("#")) == sorted(
        {f"{bound['name']}=={bound['version']}" for bound in bounds}
    )
