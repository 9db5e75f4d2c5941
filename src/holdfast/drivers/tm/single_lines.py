"""Carries out single lines of transfer files, for interactive repairs: effect TM_LINE.

A line is carried out once for each order.  After a restart of the controller it is never carried out again by itself:
either the files show that it was done, or its outcome is unknown, and the person who repairs decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.drivers import expendable
from holdfast.drivers.tm.account import Progress
from holdfast.drivers.tm.driver import SHARED, TmDriver
from holdfast.drivers.tm.lines import Line, TransferError, parse
from holdfast.drivers.tm.moves import Move
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.tm.transcript import Transcripts
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.errors import ActionError
from holdfast.model.vm import Vm

_MOVES = ("MV", *(f"MV.{mode.upper()}" for mode in SHARED))
READ_LIMIT_S = 10.0
FILE_AT_MOST = 1 << 20
UNSEEN = (
    "The controller stopped while this action ran: what became of it is not known, and what it started may still be at "
    "work. Look at the files before you run it again or skip it."
)


class LineDriver:
    """Runs lines through the transfer drivers of ``tm`` and keeps what they say."""

    def __init__(
        self, tm: TmDriver, datastores_path: Path, vms_path: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._tm = tm
        self._area = DatastoreArea(datastores_path)
        self._vms_path = vms_path
        self._clock = clock
        self._transcripts = Transcripts()

    async def run(self, order: Order) -> Answer:
        """The order's LINE, within its deadline; the answer's OUTPUT is what it said."""
        args, vm = order.effect.args, order.vm
        if vm is None:
            return Answer(ok=False, message=f"VM {order.effect.subject} is gone")
        transcript = self._transcripts.begin(vm.oid, int(args["RECORD"]))
        left_s = order.effect.deadline - self._clock()
        number, count = int(args["NUMBER"]), int(args["COUNT"])
        answer = await self._tm.run_line(vm, args["LINE"], left_s, transcript.say, number, count)
        if not answer.ok and not transcript.has_error:
            transcript.say("E", answer.message)
        return replace(answer, values={"OUTPUT": "\n".join(transcript.lines)})

    async def probe(self, order: Order) -> Answer | None:
        """Whether the files show that the line was done; never None, so that nothing runs twice unseen."""
        vm = order.vm
        done = await self._moved(order.effect.args["LINE"], vm) if vm is not None else ""
        if done:
            return Answer(ok=True, message=done, values={"OUTPUT": f"LOG I  {done}"})
        return Answer(ok=False, message=UNSEEN, certain=False, values={"OUTPUT": f"LOG W  {UNSEEN}"})

    async def _moved(self, text: str, vm: Vm) -> str:
        """What shows that a move on shared storage is done; of other lines the files tell nothing certain."""
        try:
            (line,) = parse(text)
            return await self._arrived(line, vm)
        except (TransferError, ValueError):
            return ""

    async def _arrived(self, line: Line, vm: Vm) -> str:
        if line.driver not in SHARED or line.action.upper() not in _MOVES:
            return ""
        source, target = (self._area.vm_path(word, vm.oid) for word in line.words(2)[:2])
        if source == target or target.name.startswith("disk."):
            return f"Nothing is moved for {target} by itself."

        found = await Clockwork(READ_LIMIT_S).touch(Move.of(vm, source, target).is_done, f"looking at {target}")
        return f"{target} was found complete after a restart of the controller." if found else ""

    async def lines_of(self, vm: Vm, file: str) -> tuple[str, ...]:
        """The lines of a transfer file as it is now, edited or not; raises ActionError."""
        path = self._vms_path / str(vm.oid) / file
        try:
            text = await expendable.call(partial(_text_of, path), READ_LIMIT_S, f"reading {path}")
        except (OSError, ValueError, expendable.Overdue) as error:
            raise ActionError(
                f"Cannot read {path}: {_reason(error)}. It is written anew by onevm recover --retry {vm.oid}", vm.oid
            ) from None
        lines = (line.strip() for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def told_by(self, vm_id: int, record: int) -> Sequence[str] | None:
        """What a line says or has said, None when that is not known any more."""
        transcript = self._transcripts.of(vm_id, record)
        return None if transcript is None else transcript.lines

    def progress_of(self, vm_id: int) -> Progress | None:
        """How far the VM's transfer is, None when none runs."""
        return self._tm.accounts.progress_of(vm_id)


def _text_of(path: Path) -> str:
    size = path.stat().st_size
    if size > FILE_AT_MOST:
        raise ValueError(f"it has {size} bytes, that is no transfer file")
    return path.read_text(encoding="utf-8")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(error)
