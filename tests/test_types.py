"""Types serve the app's author, under mypy --strict and pyright (§10.7).

The snippets in `tests/typed` are read by both, and never run. A line that ends in `# error` is
one in which both have to find a mistake; any other has to be free of them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from greenrelay.fields import EventStreamFields, WebSocketFields
from greenrelay.relay.config import EVENT_STREAM, WEBSOCKET
from tests.test_docs import PROGRAMS, ROOT

SNIPPETS = sorted((ROOT / "tests" / "typed").glob("*.py"))
README = next(program for program in PROGRAMS if program.name == "app.py")
SECONDS = 300
"""A checker that has to read Flask, gevent and itself on a busy machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the snippets and the README's program, as an app's author has it."""
    folder = tmp_path_factory.mktemp("typed")
    for snippet in SNIPPETS:
        shutil.copy(snippet, folder)
    (folder / "readme.py").write_text(README.code)
    return folder


def run(folder, *arguments):
    """Run a checker as a module of this interpreter, with this working tree's greenrelay."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def mypy(folder):
    """Return the lines in which mypy finds mistakes: `{("views.py", 30)}`."""
    strict = ["--strict", "--config-file=", "--follow-imports=silent", "--show-error-codes"]
    done = run(folder, "mypy", *strict, ".")
    found = re.findall(r"^(\w+\.py):(\d+): error:", done.stdout, re.MULTILINE)
    assert done.returncode == 1, done.stdout + done.stderr
    return {(name, int(line)) for name, line in found}


@pytest.fixture(scope="module")
def pyright(folder):
    """Return the lines in which pyright finds mistakes."""
    if shutil.which("node") is None:
        assert os.environ.get("CI") != "true", "pyright needs Node.js: apt-get install nodejs"
        pytest.skip("pyright needs Node.js")
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    done = run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in found
        if one["severity"] == "error"
    }


def mistakes(path):
    """Return the lines of a snippet that are marked."""
    lines = path.read_text().splitlines()
    return {(path.name, n) for n, line in enumerate(lines, 1) if line.endswith("# error")}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda path: path.name)
def test_checkers_find_the_mistakes_and_no_others(request, checker, snippet):
    """§10.7."""
    found = {one for one in request.getfixturevalue(checker) if one[0] == snippet.name}
    assert found == mistakes(snippet)
    assert len(found) > 5


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_readmes_program_has_none(request, checker):
    """§10.7: as it is printed, under mypy --strict."""
    assert not [line for name, line in request.getfixturevalue(checker) if name == "readme.py"]


@pytest.mark.parametrize(
    ("fields", "kind"), [(WebSocketFields, WEBSOCKET), (EventStreamFields, EVENT_STREAM)]
)
def test_types_know_every_field_of_a_relay_header(fields, kind):
    """§10.7."""
    assert set(get_type_hints(fields)) == set(kind.fields) - {"target_pid"}
