"""Runs one program to its end: a deadline, a process group, bounded output, no shell.

Fence agents, transfer scripts, hooks and every other program start here, so that these hold for all of them:

* the program is the leader of a session of its own; on expiry or cancellation its whole process group gets SIGTERM,
  and SIGKILL when that does not help;
* it stays a zombie until the group has been signalled, so a recycled process id can never be hit;
* output past the limit is read and dropped, so a chatty program neither fills our memory nor blocks on a full pipe;
* a background child that keeps stdout open after the program ended costs half a second, no more;
* what goes in on stdin appears in no error and no result.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from holdfast.model.errors import HoldfastError

OUTPUT_LIMIT = 1 << 20
"""Bytes kept of each of stdout and stderr."""

_CHUNK = 1 << 16
_TERM_GRACE_S = 2.0
_KILL_GRACE_S = 1.0
_DRAIN_GRACE_S = 0.5


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.  ``code`` is negative when a signal killed it, as in :mod:`subprocess`."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    took_s: float
    timed_out: bool
    truncated: bool = False


class CannotRun(HoldfastError):
    """The program could not even be started."""

    def __init__(self, argv0: str, reason: str) -> None:
        super().__init__(f"Cannot run {argv0}: {reason}.")
        self.argv0 = argv0
        self.reason = reason


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    output_limit: int = OUTPUT_LIMIT,
    leave_background: bool = False,
) -> Completed:
    """Runs ``argv`` for at most ``deadline_s`` seconds; raises CannotRun if it cannot be started.

    What the program left running in its process group is killed when it ends, unless ``leave_background`` is set.
    """
    started = time.monotonic()
    popen = _start(argv, bool(stdin), env, cwd)
    child = _Child(popen, _pidfd(popen, argv[0]), stdin, output_limit)
    try:
        timed_out = not await child.exits_within(deadline_s)
        if not timed_out:
            await child.drained_within(_DRAIN_GRACE_S)
    finally:
        await child.stop(leave_background)
    return Completed(
        argv=tuple(argv),
        code=child.code,
        stdout=bytes(child.stdout.kept),
        stderr=bytes(child.stderr.kept),
        took_s=time.monotonic() - started,
        timed_out=timed_out,
        truncated=child.stdout.truncated or child.stderr.truncated,
    )


def _start(
    argv: Sequence[str], has_input: bool, env: Mapping[str, str] | None, cwd: str | Path | None
) -> subprocess.Popen[bytes]:
    if not argv or not argv[0]:
        raise CannotRun("''", "the command is empty")
    if any("\0" in word for word in argv):
        raise CannotRun(argv[0].replace("\0", "?"), "an argument contains a NUL byte, remove it")
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise CannotRun(argv[0], _reason(error, argv[0])) from None


def _reason(error: OSError, argv0: str) -> str:
    reason = (error.strerror or str(error)).lower()
    if error.errno == errno.ENOEXEC:
        return f"{reason} (a script needs a first line such as #!/bin/sh)"
    missing = error.filename
    if isinstance(missing, str | os.PathLike) and os.fspath(missing) not in ("", argv0):
        return f"{reason} ({os.fspath(missing)})"
    return reason


def _pidfd(popen: subprocess.Popen[bytes], argv0: str) -> int:
    """A descriptor that becomes readable when the program ends."""
    try:
        return os.pidfd_open(popen.pid)
    except OSError as error:
        with popen:
            popen.kill()
        raise CannotRun(argv0, _reason(error, argv0)) from None


class _Child:
    """One running program as the event loop sees it: its end, its output, its input."""

    def __init__(self, popen: subprocess.Popen[bytes], pidfd: int, stdin: bytes, limit: int) -> None:
        assert popen.stdout is not None
        assert popen.stderr is not None
        self._popen = popen
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._exited = asyncio.Event()
        self._abandoned = False
        self.stdout = _Sink(self._loop, popen.stdout, limit)
        self.stderr = _Sink(self._loop, popen.stderr, limit)
        self._source = _Source(self._loop, popen.stdin, stdin) if popen.stdin else None
        self._loop.add_reader(self._pidfd, self._on_exit)

    @property
    def code(self) -> int:
        """The exit code; of a program that not even SIGKILL ended, that of the signal."""
        return -signal.SIGKILL if self._popen.returncode is None else self._popen.returncode

    async def exits_within(self, limit_s: float) -> bool:
        return await _within(limit_s, self._exited)

    async def drained_within(self, limit_s: float) -> bool:
        return await _within(limit_s, self.stdout.ended, self.stderr.ended)

    async def stop(self, leave_background: bool) -> None:
        """Ends what is left of the group and lets go of everything, also when cancelled meanwhile."""
        try:
            if not self._exited.is_set():
                leave_background = False
                self._signal(signal.SIGTERM)
                await self.exits_within(_TERM_GRACE_S)
        finally:
            if not leave_background:
                self._signal(signal.SIGKILL)
            try:
                await self.exits_within(_KILL_GRACE_S)
            finally:
                self._release()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _release(self) -> None:
        for pipe in (self.stdout, self.stderr, self._source):
            if pipe:
                pipe.close()
        if self._exited.is_set():
            self._popen.wait()
        else:
            # In an uninterruptible system call (a dead NFS server): waiting here would stop the whole event loop.
            self._abandoned = True

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exited.set()
        if self._abandoned:
            self._popen.wait()


class _Sink:
    """Reads a pipe to its end and keeps the first ``limit`` bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes], limit: int) -> None:
        self.kept = bytearray()
        self.truncated = False
        self.ended = asyncio.Event()
        self._loop, self._pipe, self._limit = loop, pipe, limit
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self.close()
            return
        room = self._limit - len(self.kept)
        self.kept += chunk[:room]
        self.truncated = self.truncated or len(chunk) > room

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
        self.ended.set()


class _Source:
    """Writes the input into a pipe as fast as the program takes it, then closes the pipe."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes], content: bytes) -> None:
        self._loop, self._pipe, self._left = loop, pipe, memoryview(content)
        os.set_blocking(pipe.fileno(), False)
        loop.add_writer(pipe.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._left = self._left[os.write(self._pipe.fileno(), self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self.close()

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_writer(self._pipe.fileno())
            self._pipe.close()


async def _within(limit_s: float, *events: asyncio.Event) -> bool:
    """Whether all events happen within the limit."""
    try:
        async with asyncio.timeout(limit_s):
            for event in events:
                await event.wait()
    except TimeoutError:
        return False
    return True
