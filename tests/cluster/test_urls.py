"""A cluster's URL says which backend, and no text tells its secrets (§7.1, §7.4, §7.9)."""

import contextlib
import subprocess
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.cluster.envelope import MAX_ENVELOPE_BYTES
from greenrelay.cluster.urls import SECRET_VARIABLE, ClusterURL, open_backend, read_url
from greenrelay.errors import ConfigurationError

MIB = 1024 * 1024


def read(text, secret=None, **environ):
    return read_url(text, secret, environ)


def fault(text):
    with pytest.raises(ConfigurationError) as told:
        read(text)
    return str(told.value)


SCHEMES = ["local:", "memory:", "redis://h", "rediss://h", "redis+sentinel://h/s"]


@pytest.mark.parametrize("text", [*SCHEMES, "redis+cluster://h", "LOCAL:", "Redis://h"])
def test_a_scheme_names_a_backend(text):
    """§7.1"""
    assert read(text).scheme == text.partition(":")[0].lower()


def test_an_url_without_options_has_the_defaults():
    """§7.4, §7.9"""
    assert read("local:") == ClusterURL("local", "local:", "local:", "default", None, 1 * MIB, None)
    assert MAX_ENVELOPE_BYTES == 1 * MIB


OPTIONS = {
    "local:shop": ("deployment", "shop"),
    "memory:shop": ("deployment", "shop"),
    "local:?deployment=shop": ("deployment", "shop"),
    "local:shop?deployment=shop": ("deployment", "shop"),
    "redis://h/3?deployment=shop-2.blue_1": ("deployment", "shop-2.blue_1"),
    "redis://h?lease=15s": ("lease", 15.0),
    "local:?lease=500ms": ("lease", 0.5),
    "local:?max_envelope=4MiB": ("max_envelope", 4 * MIB),
    "local:?max_envelope=512KiB": ("max_envelope", MIB // 2),
    "local:?max_envelope=2000000": ("max_envelope", 2_000_000),
    "local:?secret=hunter2": ("secret", "hunter2"),
    "local:?secret=a%26b+c%2F": ("secret", "a&b+c/"),
    "redis://h?ssl_ca_certs=/x&secret=hunter2": ("secret", "hunter2"),
    "local:?&": ("secret", None),
}


@pytest.mark.parametrize(("text", "option"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_is_read(text, option):
    """§7.2, §7.4, §7.9"""
    name, value = option
    assert getattr(read(text), name) == value


SECRETS = {
    "the URL's": ("local:?secret=one", "two", "three", "one"),
    "the argument": ("local:", "two", "three", "two"),
    "the environment's": ("local:", None, "three", "three"),
    "none": ("local:", None, "", None),
}


@pytest.mark.parametrize(("text", "secret", "variable", "used"), SECRETS.values(), ids=SECRETS)
def test_the_secret_is_the_nearest_one(text, secret, variable, used):
    """§7.4"""
    assert read(text, secret, **{SECRET_VARIABLE: variable}).secret == used


FAULTS = {
    "": r"begins with one of local:, memory:, redis://, rediss://, redis\+sentinel://",
    "local": "begins with one of local:",
    "localhost:6379": "begins with one of local:, .* not localhost:",
    "kafka://h": "not kafka:",
    "://h": "begins with one of",
    "redis:h": "write redis://HOST, with two slashes",
    "local://shop": "write local:NAME, without slashes",
    "local:../shop": "a deployment's name is",
    "local:shop?deployment=two": r"leave out \?deployment=, 'shop' is one",
    "local:?deployment=.": "a deployment's name is",
    "local:?deployment=": "a deployment's name is",
    "redis://h?deployment=a:b": "a deployment's name is .* got 'a:b'",
    "local:?a b=1": "options are .name=value",
    "local:?leese=5s": "unknown option 'leese'; did you mean 'lease'",
    "local:?ssl_ca_certs=x": "unknown option 'ssl_ca_certs'; known are deployment, lease",
    "local:?lease": "'lease' needs a value",
    "local:?lease=5s&lease=6s": "'lease' is there twice",
    "local:?lease=5": "lease: '5' is no duration",
    "local:?lease=0s": "a lease can't be off",
    "local:?max_envelope=1GB": "max_envelope is a number of bytes",
    "local:?max_envelope=100": "from 8192 to 64MiB, got '100'",
    "local:?max_envelope=1000MiB": "from 8192 to 64MiB",
    "local:?secret=": "the secret is empty",
}


@pytest.mark.parametrize(("text", "told"), FAULTS.items(), ids=FAULTS)
def test_a_mistake_is_told_with_what_to_write(text, told):
    """§7.1"""
    with pytest.raises(ConfigurationError, match=told):
        read(text)


LEAKY = [
    "redis://user:hunter2@h?lease=x&secret=hunter2",
    "redis://user:hunter2@h?deployment=/",
    "redis://user:hunter@hunter2@h?deployment=/",
    "redis:user:hunter2@h",
    "local:?secrt=hunter2",
    "local:?secret=hunter2&max_envelope=1",
    "local:?secret=hunter2&secret=hunter2",
    "rediz://user:hunter2@h",
    "redis://user:a?hunter2@h",
]


@pytest.mark.parametrize("text", LEAKY)
def test_no_error_tells_a_secret(text):
    """§7.1"""
    assert "hunter" not in fault(text)


def test_no_text_of_an_url_tells_a_secret():
    """§7.1"""
    where = read("rediss://user:hunter2@h:1/3?secret=hunter3")
    assert where.shown == "rediss://h:1/3"
    assert "hunter" not in f"{where} {where!r}"


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"local:?{text}"))
def test_any_text_is_an_url_or_a_mistake(text):
    with contextlib.suppress(ConfigurationError):
        assert read(text).scheme in text.lower()


# -- backends -----------------------------------------------------------------------------


@pytest.fixture
def provide(monkeypatch):
    """Put a backend's module in its place, whose maker returns what it was given."""

    def provide(module, name):
        fake = types.ModuleType(module)
        setattr(fake, name, lambda *args, **options: (args, options))
        monkeypatch.setitem(sys.modules, f"greenrelay.cluster.{module}", fake)

    return provide


def test_local_gets_its_options(provide):
    """§7.1"""
    provide("local", "LocalBackend")
    opened = open_backend("local:shop?lease=1s&max_envelope=2MiB")
    assert opened == (("shop",), {"lease": 1.0, "max_envelope": 2 * MIB})


def test_redis_gets_the_whole_url(provide):
    """§7.1"""
    provide("redis", "open_redis")
    text = "redis://:pw@h?ssl_ca_certs=x"
    assert open_backend(read(text)) == ((text,), {})


def test_memory_gets_its_name(provide):
    """§7.1"""
    provide("memory", "MemoryBackend")
    assert open_backend("memory:shop") == (("shop",), {})


def test_a_library_that_is_missing_is_told(monkeypatch):
    """§7.1"""
    library = types.ModuleType("greenrelay.cluster.redis")

    def need(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="redis")

    library.__getattr__ = need
    monkeypatch.setitem(sys.modules, "greenrelay.cluster.redis", library)
    with pytest.raises(ConfigurationError, match=r"needs redis, .* 'greenrelay\[cluster\]'"):
        open_backend("redis://h")


def test_reading_an_url_imports_no_backend():
    """§7.8: a client has no gevent."""
    code = (
        "import sys; from greenrelay.cluster.urls import read_url; read_url('redis://h');"
        "print([name for name in ('gevent', 'redis', 'flask') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "[]\n", told.stderr
