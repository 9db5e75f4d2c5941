"""The supervisor's processes: it is the first process of its namespace, so every orphan becomes its child too.

One reaper collects all that end; nobody else may wait for a process, except within one synchronous call.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from holdfast.sandbox.commands import environment
from holdfast.sandbox.errors import RackError

_RESPAWN_PAUSE_S = 0.5


class Child:
    """A process that was started and may have ended since."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self.ended = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether it has not been reaped."""
        return not self.ended.is_set()

    @property
    def stdin(self) -> IO[bytes] | None:
        """The pipe into it, if one was asked for."""
        return self._process.stdin

    def note_end(self, status: int) -> None:
        """For the reaper: the process is gone."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.ended.set()

    async def kill(self, limit_s: float = 5.0) -> None:
        """Kills it and all of its session, and returns when it is gone."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait(limit_s)

    async def wait(self, limit_s: float) -> None:
        """Returns when it is gone; RackError if it is still there after this time."""
        try:
            await asyncio.wait_for(self.ended.wait(), limit_s)
        except TimeoutError:
            raise RackError(f"process {self.pid} is still there after {limit_s:g} s") from None


class Children:
    """Starts processes and learns of their end."""

    def __init__(self) -> None:
        self._running: dict[int, Child] = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to reap; to be called once, before the first start."""
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """A new process in a session of its own, its output appended to `log`."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=environment() | dict(variables or {}),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        child = Child(process)
        self._running[child.pid] = child
        return child

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._running.pop(pid, None)
            if child:
                child.note_end(status)


class Service:
    """A program that is started again whenever it ends, until it is stopped."""

    def __init__(self, start: Callable[[], Child]) -> None:
        self._start = start
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts it, and from now on again; nothing happens if that is so already."""
        if self._keeper is None:
            self._child = self._start()
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ends it and returns when it is gone."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        if self._child:
            await self._child.kill()

    async def _keep(self) -> None:
        while self._child:
            await self._child.ended.wait()
            await asyncio.sleep(_RESPAWN_PAUSE_S)
            self._child = self._start()


def first_child(pid: int) -> int | None:
    """The process that this one forked, None when it has not yet."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(listed[0]) if listed else None
