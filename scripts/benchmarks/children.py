"""Programs that the bench starts, and ends: these and no others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.suite import MeasurementFailed

STOP_SECONDS = 3.0  # to end after being asked, before it is killed
PR_SET_PDEATHSIG = 1  # prctl(2)

libc = ctypes.CDLL(None)  # loaded here: between fork and exec it would be too late


def settle_child(cores: Collection[int]) -> Callable[[], None]:
    """Return what a child does before it becomes its program: pin itself, die with the bench."""
    bench = os.getpid()

    def settle() -> None:
        os.sched_setaffinity(0, cores)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != bench:
            os._exit(1)

    return settle


class Child:
    """A program with its standard output on a pipe and its errors in a file.

    A context manager: at its end the program has ended, asked first and killed if it must be.

    Args:
        core: where it runs; or several, and it runs where there is room.
        environment: is added to the bench's own.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        core: int | Collection[int],
        errors: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        cores = {core} if isinstance(core, int) else core
        self.errors = errors
        self._unread = b""
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                preexec_fn=settle_child(cores),
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the bench, which then ends this
            )
        assert self._process.stdin is not None  # all of it pipes
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self.pid = self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def read_line(self, timeout: float) -> str:
        """Return the next line of its output.

        Raises:
            MeasurementFailed: It ended or `timeout` seconds passed; the text is its last error.
        """
        until = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise MeasurementFailed(f"no answer in {timeout:.0f} s")
            data = os.read(self._output.fileno(), 65536)
            if not data:
                raise MeasurementFailed(self.last_error() or "it ended without a word")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def close_input(self, timeout: float) -> None:
        """Tell it by the end of its input that it is no longer needed; wait for its end."""
        self._input.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stop() is there for those
            self._process.wait(timeout)

    def last_error(self) -> str:
        """Return the last line it has written to standard error."""
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def stop(self) -> None:
        for stop in (self._process.terminate, self._process.kill):
            if self._process.poll() is not None:
                break
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):  # then the harder way
                self._process.wait(STOP_SECONDS)
        self._output.close()
        with contextlib.suppress(BrokenPipeError):  # it is gone, nothing was to be said
            self._input.close()
