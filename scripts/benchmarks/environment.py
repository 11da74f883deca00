"""What the measurements run in: the peers' virtual environment, the compiled load client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import Cores
from benchmarks.suite import Contender, MeasurementFailed, Settings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PIP_SECONDS = 900  # building one from source takes its time
COMPILE = ("-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers")
CERTIFICATE = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    *("-nodes", "-days", "3650", "-subj", "/CN=localhost"),
)


class Library(NamedTuple):
    """What the load client uses if it is there, and does without otherwise."""

    header: str
    define: str
    links: tuple[str, ...]


LIBRARIES = (
    Library("openssl/ssl.h", "-DWITH_OPENSSL", ("-lssl", "-lcrypto")),
    Library("zlib.h", "-DWITH_ZLIB", ("-lz",)),
)

VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class EnvironmentBroken(Exception):
    """Nothing can be measured; the text says what to install."""


class Workbench:
    """Everything a measurement needs to know: interpreter, load client, cores, settings."""

    def __init__(self, cache: Path, cores: Cores, settings: Settings) -> None:
        self.cache = cache
        self.cores = cores
        self.settings = settings
        self.python = cache / "venv" / "bin" / "python"
        self.logs = cache / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def make_venv(self) -> None:
        """Create the peers' virtual environment unless it is there."""
        if self.python.exists():
            return
        print(f"creating {self.python.parent.parent}", file=sys.stderr)
        try:
            venv.create(self.python.parent.parent, with_pip=True)
        except subprocess.CalledProcessError as error:
            raise EnvironmentBroken(
                f"no virtual environment can be made ({error}); Debian and Ubuntu: "
                "apt-get install python3-venv"
            ) from error

    def install(self, contender: Contender) -> str | None:
        """Install what a contender needs; return why that is impossible, or None."""
        if self.try_import(contender) is not None:
            print(f"installing {' '.join(contender.packages)}", file=sys.stderr)
            failure = self.pip_install(contender.packages)
            failure = failure or self.try_import(contender)
            if failure:
                return failure
        for package in contender.optional:
            if package not in self.find_versions((package,)):
                failure = self.pip_install((package,))
                if failure:
                    print(f"{contender.name}: without {package}: {failure}", file=sys.stderr)
        return None

    def pip_install(self, packages: Sequence[str]) -> str | None:
        """Return None, or the last line of what pip complains about."""
        sources = [part for name in packages for part in pip_arguments(name)]
        command = [str(self.python), "-m", "pip", "install", "--quiet"]
        return run_quietly([*command, "--disable-pip-version-check", *sources], PIP_SECONDS)

    def try_import(self, contender: Contender) -> str | None:
        """Return None, or the import error."""
        return run_quietly([self.python, "-I", "-c", f"import {', '.join(contender.modules)}"], 60)

    def find_versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Return {package: version} of those that are installed."""
        command = [str(self.python), "-c", VERSIONS, *packages]
        return dict(json.loads(subprocess.check_output(command, timeout=60)))

    @cached_property
    def load_client(self) -> Path:
        """The load client, compiled if its sources or the libraries at hand are new.

        Raises:
            EnvironmentBroken: There is no C compiler, or it refuses.
        """
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise EnvironmentBroken(
                "the load client needs a C compiler: install gcc (Debian, Ubuntu: apt-get install "
                "gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add build-base)"
            )
        libraries = [each for each in LIBRARIES if has_header(compiler, each.header)]
        sources = sorted((HERE / "load").glob("*.[ch]"))
        content = [source.read_bytes() for source in sources]
        content += [library.define.encode() for library in libraries]
        program = self.cache / f"load-{hashlib.sha256(b''.join(content)).hexdigest()[:12]}"
        if program.exists():
            return program
        unfinished = program.with_suffix(".new")
        command: list[str | Path] = [compiler, *COMPILE, "-o", unfinished]
        command += [library.define for library in libraries]
        command += [source for source in sources if source.suffix == ".c"]
        command += [link for library in libraries for link in library.links]
        failure = run_quietly(command, 120)
        if failure:
            raise EnvironmentBroken(f"the load client does not compile: {failure}")
        unfinished.rename(program)
        return program

    def make_certificate(self) -> tuple[Path, Path]:
        """Return a certificate and its private key, made if they are not there.

        Raises:
            MeasurementFailed: there is no openssl to make them.
        """
        files = self.cache / "certificate.pem", self.cache / "key.pem"
        if all(file.exists() for file in files):
            return files
        failure = "it is not there"
        if shutil.which("openssl"):
            out = ("-out", str(files[0]), "-keyout", str(files[1]))
            failure = run_quietly((*CERTIFICATE, *out), 60) or ""
        if failure:
            raise MeasurementFailed(f"TLS needs the program openssl: {failure}")
        return files


def has_header(compiler: str, header: str) -> bool:
    """Return whether a library can be compiled against."""
    command = [compiler, "-E", "-x", "c", "-include", header, os.devnull]
    return run_quietly(command, 60) is None


def read_commit() -> str:
    """Return the working tree's commit, with a + behind it if there are changes."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True)
        changes = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + ("+" if changes else "")


def pip_arguments(package: str) -> tuple[str, ...]:
    """Return how pip is told: the project itself is taken from its working tree."""
    return ("--editable", str(ROOT)) if package == "greenrelay" else (package,)


def run_quietly(command: Sequence[str | Path], seconds: float) -> str | None:
    """Return None if it ends well, else the last line of its errors."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {seconds:.0f} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {done.returncode}"
