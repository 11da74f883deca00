"""The app that a command is told of, and one line about what is wrong with it (§10.2)."""

import sys

import pytest

from greenrelay.serving.loading import LoadError, is_factory_like, load_app

SITE = """
from flask import Flask

app = Flask(__name__)
number = 7


def make():
    return app


def wsgi(environ, start_response, *, debug=False):
    return []


def fail():
    raise KeyError("on purpose")
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Write modules into the folder in which a command is run; return how."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["app", "make()", "wsgi"])
def test_an_app_or_what_a_factory_makes_is_loaded(site, name):
    site("loaded_site", SITE)
    assert callable(load_app(f"loaded_site:{name}"))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param("loaded_site", "'loaded_site' names no app; write module:app", id="no colon"),
        pytest.param(":app", "':app' names no app; write module:app", id="no module"),
        pytest.param("absent_site:app", "can't import 'absent_site'", id="no such module"),
        pytest.param("loaded_site:web", "module 'loaded_site' has no 'web'", id="no such name"),
        pytest.param("loaded_site:number", "is no WSGI app but int", id="no app"),
        pytest.param("loaded_site:make", "write loaded_site:make()", id="factory without ()"),
        pytest.param("loaded_site:fail()", "KeyError: 'on purpose' (", id="factory fails"),
    ],
)
def test_what_is_wrong_is_one_line(site, name, fault):
    site("loaded_site", SITE)
    with pytest.raises(LoadError) as wrong:
        load_app(name)
    assert fault in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import greenrelay\n1 / 0"])
def test_an_error_of_the_module_is_told_with_its_line(site, text):
    site("broken_site", text)
    with pytest.raises(LoadError) as wrong:
        load_app("broken_site:app")
    line = text.count("\n") + 1
    assert f"broken_site.py, line {line})" in str(wrong.value)


def test_an_error_that_a_call_of_ours_raises_is_told_with_the_apps_line(site):
    site("wrong_site", "from greenrelay import GreenRelay\n\nGreenRelay(7)\n")
    with pytest.raises(LoadError, match=r"wrong_site.py, line 3\)"):
        load_app("wrong_site:app")


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (lambda environ, start_response: [], False),
        (lambda environ, start_response, debug=False: [], False),
        (lambda *args: [], False),
        (lambda: None, True),
        (lambda config: None, True),
        (lambda config=None, debug=False: None, True),
        (lambda environ, start_response, more: None, True),
        (object(), False),
    ],
)
def test_a_factory_is_told_from_an_app_by_its_arguments(app, expected):
    assert is_factory_like(app) is expected
