"""Runs the site's driver scripts for a VM: one at a time, in the environment they expect, and none stays behind.

OpenNebula runs such scripts without a limit, and whatever gives up on one leaves it running.  Here a script that
failed, is out of time or no longer wanted is ended with all that it started, and the VM's next script waits until that
is certain.  What a script that succeeded left running outside its process group, a daemon or a VM, goes on: a run is
noted in a file until it ended well or nothing of it is left, and only what is noted is ended by the next controller.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from holdfast.drivers import expendable, leftovers, process
from holdfast.drivers.expendable import Overdue
from holdfast.drivers.process import Completed
from holdfast.model.errors import HoldfastError

OUTPUT_LIMIT = 1 << 18
"""Bytes kept of the beginning of a script's output, and of the end of what it says on stderr."""
_SWEEP_S = 3.0
_OLD_SWEEP_S = 10.0
_PASSED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ScriptOverdue(HoldfastError):
    """No time was left for the script, or something of an earlier run does not end."""


class ScriptRuns:
    """Runs scripts in ``directory`` with ``environment`` beside what little is passed on from ours."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **environment,
        }
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._numbers = itertools.count(1)

    async def run(self, vm_id: int, argv: Sequence[str], limit_s: float, stdin: bytes = b"") -> Completed:
        """Runs it within ``limit_s`` seconds; raises CannotRun, or ScriptOverdue when it could not even begin."""
        until = asyncio.get_running_loop().time() + limit_s
        async with self._turn(vm_id, limit_s):
            await self._sweep(vm_id, until - asyncio.get_running_loop().time())
            return await self._run(vm_id, argv, until - asyncio.get_running_loop().time(), stdin)

    async def _run(self, vm_id: int, argv: Sequence[str], limit_s: float, stdin: bytes) -> Completed:
        if limit_s <= 0:
            raise ScriptOverdue(f"no time was left for {argv[0]}")
        mark = f"{self._marks_of(vm_id)}{os.getpid()}.{next(self._numbers)}"
        environment = {**self._environment, leftovers.VARIABLE: mark}
        note = self._note(vm_id, mark)
        ended = None
        try:
            ended = await process.run(
                argv,
                stdin=stdin,
                deadline_s=limit_s,
                env=environment,
                cwd=self._directory,
                output_limit=OUTPUT_LIMIT,
                stderr_end=OUTPUT_LIMIT,
            )
        finally:
            went_well = ended is not None and ended.code == 0 and not ended.timed_out
            if went_well or await self._is_swept(mark):
                note.unlink(missing_ok=True)
        return ended

    def _note(self, vm_id: int, mark: str) -> Path:
        """Tells the next controller that this run may be at work."""
        note = self._note_of(vm_id)
        try:
            note.parent.mkdir(mode=0o700, exist_ok=True)
            note.write_text(mark, encoding="ascii")
        except OSError as error:
            raise ScriptOverdue(f"no script is begun that could not be ended later: {error}") from None
        return note

    def _note_of(self, vm_id: int) -> Path:
        return self._directory / "script-runs" / str(vm_id)

    async def _sweep(self, vm_id: int, limit_s: float) -> None:
        """Before the next script: what an earlier one may have left, of this controller or the one before."""
        note, most_s = self._note_of(vm_id), min(limit_s, _OLD_SWEEP_S)
        mark = note.read_text(encoding="ascii") if note.exists() else ""
        if not mark.startswith(self._marks_of(vm_id)):
            return  # nothing has begun
        try:
            left = await expendable.call(lambda: leftovers.end_marked(mark, most_s), most_s + 1, "ending old scripts")
        except Overdue as error:
            raise ScriptOverdue(error.message) from None
        if left:
            numbers = ", ".join(map(str, left))
            raise ScriptOverdue(
                f"an earlier script of VM {vm_id} does not end, not even when killed (process {numbers}): nothing is "
                "begun beside it; see what it waits for, most often the storage"
            )

    async def _is_swept(self, mark: str) -> bool:
        """What left the process group is ended, too."""
        sweep = expendable.call(lambda: leftovers.end_marked(mark, _SWEEP_S), _SWEEP_S + 1, "ending a script")
        try:
            return not await sweep
        except Overdue:
            return False

    def _marks_of(self, vm_id: int) -> str:
        """What the marks of all runs for the VM begin with."""
        return f"{self._directory}:{vm_id}:"

    @asynccontextmanager
    async def _turn(self, vm_id: int, limit_s: float) -> AsyncIterator[None]:
        """The VM's scripts run one after the other: a cancelled one must be gone before the next begins."""
        lock = self._turns.setdefault(vm_id, asyncio.Lock())
        try:
            async with asyncio.timeout(limit_s):
                await lock.acquire()
        except TimeoutError:
            raise ScriptOverdue(f"another script of VM {vm_id} did not end in time") from None
        try:
            yield
        finally:
            lock.release()
