"""The documentation is true: its programs run as printed, its links and clauses lead somewhere.

How a page's code is read, by the word behind its three backticks:

    python    a whole program, run in a fresh interpreter, in a folder of its page's own.
              A first line `# name.py` is the file's name, for later programs of the page
              to import. Each is checked in one of three ways: by the block of `text` right
              behind it, which is what it prints; by a comment `<!-- check … -->`, code that
              talks to its `app` on a real server; or by the tests in it, with pytest.
    py        a part of a program: it has to be Python, no more.
"""

import configparser
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("testing", "serving", "web", "relay", "cluster", "processes", "protocol")
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").rglob("*.md"))]
INDEX = ROOT / "docs" / "reference" / "README.md"
SECTIONS = sorted({*INDEX.parent.glob("*.md")} - {INDEX})
DESIGN = ROOT / "docs" / "design.md"
SECONDS = 60
"""How long one program may take; it takes about one."""

# A fenced block, or a check; both begin at the start of a line.
PART = re.compile(
    r"^```(?P<language>[a-z]*)\n(?P<code>.*?)^```$|^<!-- check\n(?P<check>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
"""Where a link `[text]` leads; it stands at the end of its page."""
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
CLAUSE = re.compile(r"^\*\*§(\d+\.\d+)\*\*|^# (\d+) ", re.MULTILINE)
"""A clause's mark, or the heading of a section's page."""
CITED = re.compile(r"§(\d+(?:\.\d+)*)")
FOREIGN = re.compile(r"RFC|Standard|§\d+(?:\.\d+){2}")
"""A line that cites another document: ours has two levels."""

SERVE = """
import json, sys, urllib.error, urllib.request
from gevent import monkey
monkey.patch_all()
from {module} import app
from greenrelay.testing import leaks, serving, wait_until

with serving() as start:
    server = start(app)
    exec(compile({check!r}, {title!r}, "exec"))
"""


class Program(NamedTuple):
    """A block of Python, and how it is checked."""

    title: str
    """Page and line."""
    name: str
    code: str
    printed: str | None
    check: str | None
    others: tuple[tuple[str, str], ...]
    """Name and code of the page's named programs before this one."""


def name_of(page: Path) -> str:
    """Return a page's path in the project."""
    return str(page.relative_to(ROOT))


def find_programs(page: Path) -> list[Program]:
    """Return the whole programs of a page."""
    text = page.read_text()
    parts = list(PART.finditer(text))
    programs, named = [], {}
    for part, following in zip(parts, [*parts[1:], None], strict=False):
        if part["language"] != "python":
            continue
        line = text.count("\n", 0, part.start()) + 1
        code = part["code"]
        name = re.match(r"# (\w+\.py)\n", code)
        is_next = following and not text[part.end() : following.start()].strip()
        printed = following["code"] if is_next and following["language"] == "text" else None
        check = following["check"] if is_next else None
        title = f"{name_of(page)}:{line}"
        file = name[1] if name else "example.py"
        programs.append(Program(title, file, code, printed, check, tuple(named.items())))
        if name:
            named[name[1]] = code
    return programs


def find_fragments(page: Path) -> list[tuple[str, str]]:
    """Return title and code of the parts of programs of a page."""
    text = page.read_text()
    return [
        (f"{name_of(page)}:{text.count(chr(10), 0, part.start()) + 1}", part["code"])
        for part in PART.finditer(text)
        if part["language"] == "py"
    ]


def without_code(page: Path) -> str:
    """Return a page's prose."""
    return re.sub(r"`[^`\n]*`", "``", PART.sub("", page.read_text()))


def find_links(page: Path) -> list[tuple[str, str]]:
    """Return text and target of a page's links."""
    text = without_code(page)
    return [*LINK.findall(text), *DEFINITION.findall(text)]


def anchor_of(title: str) -> str:
    """Return the name under which a heading can be linked, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Return the names under which a page's headings can be linked."""
    return {anchor_of(title) for title in HEADING.findall(PART.sub("", page.read_text()))}


def clauses(page: Path) -> list[str]:
    """Return the numbers of a page's section and of its clauses, as they stand there."""
    return [clause or section for clause, section in CLAUSE.findall(page.read_text())]


def find_places() -> dict[str, tuple[Path, str]]:
    """Return the page of every clause, and the anchor above it; of a section the page alone."""
    places = {}
    for page in SECTIONS:
        text = PART.sub("", page.read_text())
        for mark in CLAUSE.finditer(text):
            titles = re.findall(r"^##+ (.+)$", text[: mark.start()], re.MULTILINE)
            anchor = anchor_of(titles[-1]) if titles else ""
            places[mark[1] or mark[2]] = (page, anchor)
    return places


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, with this working tree's greenrelay."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
    )


PROGRAMS = [program for page in PAGES for program in find_programs(page)]
FRAGMENTS = [fragment for page in PAGES for fragment in find_fragments(page)]


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.title for program in PROGRAMS])
def test_a_program_does_what_its_page_says(program, tmp_path):
    for name, code in (*program.others, (program.name, program.code)):
        (tmp_path / name).write_text(code)
    if "def test_" in program.code:
        # Away from the project's own conftest and configuration.
        done = run(tmp_path, "-m", "pytest", "-q", "-W", "error", "--rootdir=.", program.name)
    elif program.check is not None:
        module = program.name.removesuffix(".py")
        title = f"check of {program.title}"
        done = run(tmp_path, "-c", SERVE.format(module=module, check=program.check, title=title))
    else:
        assert program.printed is not None, "nothing checks this program; see the top of this file"
        done = run(tmp_path, program.name)
        said = f"{done.stdout}\n{done.stderr}"
        alike = doctest.OutputChecker().check_output
        assert alike(program.printed, done.stdout, doctest.ELLIPSIS), said
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("title", "code"), FRAGMENTS, ids=[title for title, _ in FRAGMENTS])
def test_a_fragment_is_python(title, code):
    compile(code, title, "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_s_script_connects_to_where_the_page_is_from(page):
    """`ws://` is refused on a page that came by TLS, and `wss://` reaches no server without it."""
    assert not re.search(r"""(WebSocket|connect)\(["'`]wss?://""", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for _, target in find_links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{target} leads out of the project"
        assert file.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_closed(page):
    assert page.read_text().count("\n```") % 2 == 0


def test_every_clause_is_there_once_and_in_its_place():
    numbers = []
    for page in SECTIONS:
        section, *marks = clauses(page)
        numbers.append(int(section))
        assert marks == [f"{section}.{last + 1}" for last in range(len(marks))], page.name
    assert sorted(numbers) == [*range(1, len(SECTIONS) + 1)]


@pytest.mark.parametrize("page", SECTIONS, ids=name_of)
def test_the_index_and_a_page_of_the_reference_lead_to_each_other(page):
    opening = page.read_text().split("\n\n")[1]
    assert "[reference](README.md)" in opening
    assert f"]({page.name})" in INDEX.read_text()


def test_every_clause_that_is_cited_is_in_the_reference():
    known = {clause for page in SECTIONS for clause in clauses(page)}
    for file in [*(ROOT / "tests").rglob("test_*.py"), *PAGES]:
        for line in file.read_text().splitlines():
            cited = [] if FOREIGN.search(line) else CITED.findall(line)
            assert known.issuperset(cited), f"{file.name}: {line.strip()}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_that_cites_a_clause_leads_to_it(page):
    places = find_places()
    for text, target in find_links(page):
        path, _, anchor = target.partition("#")
        for clause in CITED.findall(text):
            assert ((page.parent / path).resolve() if path else page, anchor) == places[clause]


@pytest.mark.parametrize("page", SECTIONS, ids=name_of)
def test_the_reference_cites_by_links(page):
    text = without_code(page)
    prose = CLAUSE.sub("", LINK.sub("", DEFINITION.sub("", text)))
    assert {f"§{clause}" for clause in CITED.findall(prose)} == dict(
        DEFINITION.findall(text)
    ).keys()
    assert not re.search(r"(?<!\[)§", prose)


@pytest.mark.parametrize("room", [None, *ROOMS], ids=lambda room: room or "the house")
def test_a_ladder_is_the_one_that_is_checked(room):
    contract = configparser.ConfigParser()
    contract.read(ROOT / "setup.cfg")
    layers = contract[f"importlinter:contract:{room or 'house'}"]["layers"].split("\n")[1:]
    block = rf"^```\n{room or 'greenrelay'}/\n(.*?)^```$"
    drawn = re.search(block, DESIGN.read_text(), re.MULTILINE | re.DOTALL)
    rungs = [line.split("  ")[0] for line in drawn[1].splitlines() if not line.startswith(" ")]
    assert rungs == [layer.replace(" | ", " · ") for layer in layers]


def test_every_room_has_a_ladder():
    """import-linter looks at every module of a room, and at no room that has no contract."""
    packages = {path.parent.name for path in (ROOT / "greenrelay").glob("*/__init__.py")}
    assert packages == set(ROOMS)
