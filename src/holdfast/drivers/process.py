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
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from holdfast.drivers.process_group import CannotRun as CannotRun
from holdfast.drivers.process_group import ProcessGroup, start, within
from holdfast.drivers.process_group import ended_with as ended_with
from holdfast.drivers.process_group import ending as ending

OUTPUT_LIMIT = 1 << 20
"""Bytes kept of each of stdout and stderr."""

_CHUNK = 1 << 16
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


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    output_limit: int = OUTPUT_LIMIT,
    stderr_end: int = 0,
    leave_background: bool = False,
) -> Completed:
    """Runs ``argv`` for at most ``deadline_s`` seconds; raises CannotRun if it cannot be started.

    Of each of stdout and stderr the first ``output_limit`` bytes are kept; of a longer stderr also, after a line's end,
    the last ``stderr_end``, where programs say why they ended.
    What the program left running in its process group is killed when it ends, unless ``leave_background`` is set.
    """
    started = time.monotonic()
    group = start(argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, env=env, cwd=cwd)
    child = _Child(group, stdin, output_limit, stderr_end)
    try:
        timed_out = not await group.exits_within(deadline_s)
        if not timed_out:
            await child.drained_within(_DRAIN_GRACE_S)
    finally:
        await child.stop(leave_background)
    return Completed(
        argv=tuple(argv),
        code=group.code,
        stdout=bytes(child.stdout.kept),
        stderr=bytes(child.stderr.kept + child.stderr.end),
        took_s=time.monotonic() - started,
        timed_out=timed_out,
        truncated=child.stdout.truncated or child.stderr.truncated,
    )


class _Child:
    """One running program as the event loop sees it: its end, its output, its input."""

    def __init__(self, group: ProcessGroup, stdin: bytes, limit: int, stderr_end: int) -> None:
        popen = group.popen
        assert popen.stdout is not None
        assert popen.stderr is not None
        loop = asyncio.get_running_loop()
        self.group = group
        self.stdout = Sink(loop, popen.stdout, limit)
        self.stderr = Sink(loop, popen.stderr, limit, stderr_end)
        self._source = _Source(loop, popen.stdin, stdin) if popen.stdin else None

    async def drained_within(self, limit_s: float) -> bool:
        return await within(limit_s, self.stdout.ended, self.stderr.ended)

    async def stop(self, leave_background: bool) -> None:
        """Ends what is left of the group and lets go of everything, also when cancelled meanwhile."""
        try:
            await self.group.stop(leave_background)
        finally:
            for pipe in (self.stdout, self.stderr, self._source):
                if pipe:
                    pipe.close()


class Sink:
    """Reads a pipe to its end and keeps the first ``limit`` bytes, and of what comes after them the last ``end``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes], limit: int, end: int = 0) -> None:
        self.kept = bytearray()
        self._after = b""
        self._end_limit = end
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
        if len(chunk) > room:
            self.truncated = True
            if self._end_limit:
                self._after = (self._after + chunk[room:])[-self._end_limit :]

    @property
    def end(self) -> bytes:
        """What came last of what is not in ``kept``, as a line of its own."""
        return b"\n" + self._after if self._after else b""

    def close(self) -> None:
        """Reads no more."""
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
