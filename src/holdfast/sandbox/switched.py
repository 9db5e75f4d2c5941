"""A program of a host whose switch is its configuration file: it runs while the file is there.

It starts anew when the file changes or when it ended by itself, and ends, with all that it started, when the file goes.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE_S = 0.2


@dataclass(frozen=True)
class Program:
    """What to run, the file that switches it, and where its output goes."""

    argv: Sequence[str]
    config: Path
    log: Path
    variables: Mapping[str, str]


class Switched:
    """Runs one program as long as its switch says so."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._version: tuple[int, int] | None = None
        self._start_at_s = 0.0

    def look_after(self, ended: set[int]) -> None:
        """To be called often, with the processes that have been reaped since the last time."""
        if self._process and self._process.pid in ended:
            self._process.returncode = 0  # reaped already; Popen must not wait for it
            self._process = None
            self._start_at_s = time.monotonic() + _PAUSE_S
        version = self._configured()
        if self._process is None:
            if version and time.monotonic() >= self._start_at_s:
                self._start(version)
        elif version != self._version:
            _kill_tree(self._process.pid)

    def _configured(self) -> tuple[int, int] | None:
        try:
            found = self._program.config.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _start(self, version: tuple[int, int]) -> None:
        with self._program.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._program.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._program.config.parent,
                env=dict(self._program.variables),
                start_new_session=True,
            )
        self._version = version


def _kill_tree(pid: int) -> None:
    """Ends a process and all below it; stopped at first, so that it starts nothing more meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    for child in [pid, *_descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield int(word)
            yield from _descendants(int(word))
