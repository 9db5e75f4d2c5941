"""The log of the failover hook: ``[time][HOST id][I|E] text`` in ``host_error.log``.

The directory is ``$ONE_LOG_DIR`` or ``/var/log/one``; where that cannot be written, the lines go to standard error,
which ends up in the hook's execution record.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

DEFAULT_DIRECTORY = "/var/log/one"
FILE_NAME = "host_error.log"


class HookLog:
    """Appends lines; each is written at once and whole."""

    def __init__(self, environ: Mapping[str, str], host: str = "?") -> None:
        self.host = host
        self._path: Path | None = Path(environ.get("ONE_LOG_DIR") or DEFAULT_DIRECTORY, FILE_NAME)

    def info(self, text: str) -> None:
        """A step of normal work."""
        self._write("I", text)

    def error(self, text: str) -> None:
        """Something that needs a person."""
        self._write("E", text)

    @property
    def place(self) -> str:
        """Where a person finds the log."""
        return str(self._path) if self._path else "standard error"

    def _write(self, level: str, text: str) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S %z")
        for line in text.splitlines() or [""]:
            self._append(f"[{moment}][HOST {self.host}][{level}] {line}\n")

    def _append(self, line: str) -> None:
        if self._path is not None:
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
                try:
                    os.write(descriptor, line.encode(errors="replace"))
                    return
                finally:
                    os.close(descriptor)
            except OSError as error:
                print(f"Cannot write {self._path} ({error.strerror}); the log follows.", file=sys.stderr)
                self._path = None
        sys.stderr.write(line)
