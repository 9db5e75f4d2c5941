"""A program that runs as the leader of a session of its own, and its end.

It stays a zombie until its whole process group has been signalled, so a recycled process id can never be hit.  One that
not even SIGKILL ends, because it hangs in the kernel, is left alone and reaped when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.model.errors import HoldfastError

_TERM_GRACE_S = 2.0
_KILL_GRACE_S = 1.0
_FIRST_LINE_LIMIT = 256


class CannotRun(HoldfastError):
    """The program could not even be started."""

    def __init__(self, argv0: str, reason: str) -> None:
        super().__init__(f"Cannot run {argv0}: {reason}.")
        self.argv0 = argv0
        self.reason = reason


class ProcessGroup:
    """One running program with all that it started."""

    def __init__(self, popen: subprocess.Popen[bytes], argv0: str) -> None:
        self.popen = popen
        self.exited = asyncio.Event()
        self._pidfd = _pidfd(popen, argv0)
        self._loop = asyncio.get_running_loop()
        self._abandoned = False
        self._loop.add_reader(self._pidfd, self._on_exit)

    @property
    def code(self) -> int:
        """The exit code, after :meth:`stop`; of a program that not even SIGKILL ended, that of the signal."""
        return -signal.SIGKILL if self.popen.returncode is None else self.popen.returncode

    async def exits_within(self, limit_s: float) -> bool:
        """Whether the program itself ends within the limit."""
        return await within(limit_s, self.exited)

    async def stop(self, leave_background: bool = False) -> None:
        """Ends what is left of the group, also when cancelled meanwhile, and reaps its leader."""
        try:
            if not self.exited.is_set():
                leave_background = False
                self._signal(signal.SIGTERM)
                await self.exits_within(_TERM_GRACE_S)
        finally:
            if not leave_background:
                self._signal(signal.SIGKILL)
            try:
                await self.exits_within(_KILL_GRACE_S)
            finally:
                self._reap()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, number)

    def _reap(self) -> None:
        if self.exited.is_set():
            self.popen.wait()
        else:
            # In an uninterruptible system call (a dead NFS server): waiting here would stop the whole event loop.
            self._abandoned = True

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set()
        if self._abandoned:
            self.popen.wait()


def start(
    argv: Sequence[str],
    *,
    stdin: int,
    stdout: int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> ProcessGroup:
    """Starts a program; stdin and stdout as in :mod:`subprocess`, stderr is a pipe; raises CannotRun."""
    if not argv or not argv[0]:
        raise CannotRun("''", "the command is empty")
    if any("\0" in word for word in argv):
        raise CannotRun(argv[0].replace("\0", "?"), "an argument contains a NUL byte, remove it")
    try:
        popen = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise CannotRun(argv[0], _reason(error, argv[0])) from None
    return ProcessGroup(popen, argv[0])


def ending(code: int) -> str:
    """How a program ended, in words: ``exit code 3``, or the signal that killed it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def ended_with(code: int) -> str:
    """The same as the end of a sentence: ``ended with exit code 3``, ``was killed by signal 9 (SIGKILL)``."""
    return f"{'was killed by' if code < 0 else 'ended with'} {ending(code)}"


async def within(limit_s: float, *events: asyncio.Event) -> bool:
    """Whether all events happen within the limit."""
    try:
        async with asyncio.timeout(limit_s):
            for event in events:
                await event.wait()
    except TimeoutError:
        return False
    return True


def _reason(error: OSError, argv0: str) -> str:
    reason = (error.strerror or str(error)).lower()
    if error.errno == errno.ENOEXEC:
        return f"{reason} (a script needs a first line such as #!/bin/sh)"
    if error.errno == errno.ENOENT and (interpreter := _interpreter(argv0)):
        crlf = " (the line ends as on Windows, CRLF: convert the file)" if interpreter.endswith("\r") else ""
        return f"{reason}: the interpreter that its first line names, {interpreter!r}{crlf}"
    missing = error.filename
    if isinstance(missing, str | os.PathLike) and os.fspath(missing) not in ("", argv0):
        return f"{reason} ({os.fspath(missing)})"
    return reason


def _interpreter(argv0: str) -> str:
    """What the first line of a script names; empty when there is no such file, or it is no script."""
    try:
        with open(argv0, "rb") as file:
            line = file.readline(_FIRST_LINE_LIMIT)
    except OSError:
        return ""
    words = line.removeprefix(b"#!").rstrip(b"\n").strip(b" \t").split(b" ")
    return words[0].decode(errors="replace") if line.startswith(b"#!") else ""


def _pidfd(popen: subprocess.Popen[bytes], argv0: str) -> int:
    """A descriptor that becomes readable when the program ends."""
    try:
        return os.pidfd_open(popen.pid)
    except OSError as error:
        with popen:
            popen.kill()
        raise CannotRun(argv0, _reason(error, argv0)) from None
