"""The logs of the VMs, ``log/<vmid>.log``, in OpenNebula's form: ``<date> [Z0][TrM][I]: text``.

Lines are handed to a thread that gathers for a moment and appends what has come, VM by VM; the event loop does no more
than put a line into a queue.  A disk that is full, or hangs, costs lines and nothing else: it is said once, when it
begins, and how many lines were lost, when it is over.  Files are opened for each append, so they may be rotated or
removed at any time; one that has grown past its limit becomes ``<vmid>.log.1``, in place of the one before.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.free_text import printable, shortened, without_secrets

LOG = logging.getLogger("holdfast.vm_log")
LINES_LIMIT = 50_000
"""Lines that may wait to be written."""
FILE_LIMIT = 8 << 20
"""Bytes of a VM's log; another file of this size keeps what was before."""
TEXT_LIMIT = 4000
_GATHER_S = 0.02
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class VmLine:
    """One line of a VM's log.  ``module`` is OpenNebula's: VM, LCM, TrM, VMM; ``severity`` I, E, W or D."""

    vm_id: int
    module: str
    severity: str
    text: str


class VmLog:
    """Writes the logs in ``directory``; ``clock`` dates the lines, in epoch seconds."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time, file_limit: int = FILE_LIMIT) -> None:
        self._directory, self._clock, self._file_limit = directory, clock, file_limit
        self._waiting: deque[tuple[float, VmLine]] = deque()
        self._came = threading.Event()
        self._closing = threading.Event()
        self._lost = 0
        self._failing: set[int] = set()
        self._reported: set[int | None] = set()
        self._thread = threading.Thread(target=self._work, name="VM logs", daemon=True)
        self._thread.start()

    def write(self, line: VmLine) -> None:
        """Adds a line to a VM's log, soon.  Returns at once, whatever the disk does."""
        if len(self._waiting) >= LINES_LIMIT:
            if not self._lost:
                LOG.error("log lines of VMs are lost: %d wait already for %s", LINES_LIMIT, self._directory)
            self._lost += 1
            return
        self._waiting.append((self._clock(), line))
        self._came.set()

    def teller(self, module: str) -> Callable[[int, str, str], None]:
        """Writes lines of one module: takes a VM's id, a severity and a text."""
        return lambda vm_id, severity, text: self.write(VmLine(vm_id, module, severity, text))

    def close(self, limit_s: float = 2.0) -> None:
        """Writes what still waits, within the limit."""
        self._closing.set()
        self._came.set()
        self._thread.join(limit_s)

    def _work(self) -> None:
        while not self._closing.is_set() or self._waiting:
            self._came.wait()
            self._closing.wait(_GATHER_S)
            self._came.clear()
            for vm_id, lines in self._taken().items():
                self._append(vm_id, lines)

    def _taken(self) -> Mapping[int, Sequence[bytes]]:
        by_vm: dict[int, list[bytes]] = {}
        while self._waiting:
            at, line = self._waiting.popleft()
            by_vm.setdefault(line.vm_id, []).append(formatted(at, line))
        return by_vm

    def _append(self, vm_id: int, lines: Sequence[bytes]) -> None:
        try:
            append(self._directory / f"{vm_id}.log", b"".join(lines), self._file_limit)
        except OSError as error:
            self._lost += len(lines)
            self._failed(vm_id, error)
        else:
            self._written(vm_id)

    def _failed(self, vm_id: int, error: OSError) -> None:
        self._failing.add(vm_id)
        if error.errno not in self._reported:
            self._reported.add(error.errno)
            LOG.error(
                "log lines of VMs are lost: %s cannot be written: %s",
                self._directory / f"{vm_id}.log",
                error.strerror or error,
            )

    def _written(self, vm_id: int) -> None:
        self._failing.discard(vm_id)
        if not self._failing and self._lost:
            LOG.warning("VM logs are written again; %d lines were lost", self._lost)
            self._lost = 0
            self._reported.clear()


def formatted(at: float, line: VmLine) -> bytes:
    """The line as it stands in the file, in local time."""
    text = shortened(without_secrets(printable(line.text)), TEXT_LIMIT)
    return f"{time.ctime(at)} [Z0][{line.module}][{line.severity}]: {text}\n".encode(errors="backslashreplace")


def append(path: Path, content: bytes, limit: int) -> None:
    """Appends whole lines to a private file, or nothing; raises OSError.  Blocking."""
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o600)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if about.st_size and about.st_size + len(content) > limit:
            path.replace(path.with_name(f"{path.name}.1"))
            append(path, content, limit)
        else:
            _write_all(descriptor, content, about.st_size)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes, size: int) -> None:
    left = memoryview(content)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, size)  # half a line would spoil the next one
        raise
