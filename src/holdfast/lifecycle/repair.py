"""What may be done in the interactive repair of a failed transfer, and what comes of it.  Pure.

The repair belongs to one *session*, a dialogue of one user at one seat, that is heard every few seconds.  When it has
been silent for ``lapse_s`` its hold has lapsed and anybody may go on where it stopped; before that only the same user
at the same seat, or who takes it over expressly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from holdfast.lifecycle import positions as p
from holdfast.lifecycle.facts import Facts
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.errors import ActionError
from holdfast.model.repair import (
    NOBODY,
    OUTPUT_KEPT,
    RECORDS_KEPT,
    Holder,
    Repair,
    RepairDeed,
    RepairRecord,
    RepairResult,
)
from holdfast.model.vm import Vm

STEPS: dict[Position, str] = {
    p.PROLOG_FAILURE: "prolog",
    p.PROLOG_MIGRATE_FAILURE: "migrate",
    p.PROLOG_MIGRATE_POWEROFF_FAILURE: "migrate",
    p.PROLOG_MIGRATE_SUSPEND_FAILURE: "migrate",
    p.PROLOG_MIGRATE_UNKNOWN_FAILURE: "migrate",
    p.PROLOG_RESUME_FAILURE: "resume",
    p.PROLOG_UNDEPLOY_FAILURE: "resume",
    p.EPILOG_FAILURE: "epilog",
    p.EPILOG_STOP_FAILURE: "stop",
    p.EPILOG_UNDEPLOY_FAILURE: "stop",
}
"""Each failed transfer, and the extension of its transfer file."""


@dataclass(frozen=True, slots=True)
class Presence:
    """When the holder was last heard, and for how long he is believed to be there after that."""

    heard_at: float
    now: float
    lapse_s: float

    @property
    def silence_s(self) -> float:
        """Seconds since the holder was heard."""
        return max(0.0, self.now - self.heard_at)

    @property
    def has_lapsed(self) -> bool:
        """The holder has vanished."""
        return self.silence_s >= self.lapse_s


def moment(at: float) -> str:
    """A time as messages tell it, the same wherever the reader is."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def file_of(vm: Vm) -> str:
    """The transfer file that a repair of the VM works on; raises ActionError when no transfer of it has failed."""
    step = STEPS.get(vm.position)
    if step is None or vm.current is None:
        raise ActionError(_not_failed(vm), vm.oid)
    return f"transfer.{vm.current.seq}.{step}"


def _not_failed(vm: Vm) -> str:
    said = f"Current LCM STATE '{vm.lcm_state.name}' not compatible with RECOVER RETRY action."
    if vm.position in p.BOOT_FAILURES:
        return f"{said} It is the start that failed, not the transfer: use onevm recover --retry {vm.oid}"
    return (
        f"{said} VM {vm.oid} is in state {vm.state_name}: only a transfer that has failed (PROLOG*_FAILURE, "
        f"EPILOG*_FAILURE) is repaired interactively. Look at it with onevm show {vm.oid}"
    )


def insist_on_idle_files(vm: Vm, facts: Facts) -> None:
    """Files are touched only when no host may run the VM; raises ActionError."""
    refusal = CHECKS[Guard.NOWHERE](vm, facts)
    if refusal is not None:
        raise ActionError(refusal, vm.oid)


def begun(
    repair: Repair | None, vm: Vm, lines: Sequence[str], newcomer: Holder, presence: Presence, take_over: bool
) -> Repair:
    """The repair in the hands of the newcomer; raises ActionError when somebody else has it.

    Whoever left on purpose begins at the first line, as anybody; a session that vanished, or was taken over, is gone
    on with where it stopped, if the file still says the same.
    """
    file = file_of(vm)
    if repair is None:
        return Repair(vm.oid, vm.lcm_state, file, tuple(lines), holder=newcomer)
    before = repair.holder
    if repair.is_held and before.session != newcomer.session:
        _insist_on_free(repair, newcomer, presence, take_over)
    goes_on = repair.is_held or repair.effect_id >= 0
    if not (goes_on and (repair.file, repair.lines) == (file, tuple(lines))):
        repair = replace(repair, position=0)
        _insist_on_rest(repair)
    if before.session == newcomer.session:
        newcomer = before
    held = replace(repair, lcm_state=vm.lcm_state, file=file, lines=tuple(lines), holder=newcomer, ended="")
    if take_over and repair.is_held and before.session != newcomer.session:
        said = f"taken over from {before}, who had it since {moment(before.since)}"
        held = _noted(held, RepairDeed.TAKE_OVER, presence.now, newcomer, output=said)
    return held


def _insist_on_rest(repair: Repair) -> None:
    if repair.effect_id >= 0:
        raise ActionError(
            f"The transfer file of VM {repair.oid} has changed while line {_running_line(repair)} of it runs: wait "
            f"until it has ended (onevm show {repair.oid}), then try again.",
            repair.oid,
        )


def _running_line(repair: Repair) -> int:
    return repair.position + 1


def _insist_on_free(repair: Repair, newcomer: Holder, presence: Presence, take_over: bool) -> None:
    holder = repair.holder
    same = (holder.uid, holder.seat) == (newcomer.uid, newcomer.seat) and bool(holder.seat)
    if take_over or same or presence.has_lapsed:
        return
    raise ActionError(
        f"{held_by(repair, presence)} Wait until they have finished, or take it over: "
        f"onevm recover {repair.oid} --retry --interactive --take-over",
        repair.oid,
    )


def held_by(repair: Repair, presence: Presence) -> str:
    """Who has the repair, since when, and until when if nothing is heard of him."""
    holder = repair.holder
    left_s = max(0.0, presence.lapse_s - presence.silence_s)
    return (
        f"The transfer of VM {repair.oid} is being repaired by {holder} since {moment(holder.since)}, last heard "
        f"{presence.silence_s:.0f} s ago (it is free {left_s:.0f} s from now if nothing more is heard)."
    )


def insist_on_free_hands(repair: Repair | None, presence: Presence, stops_line: bool) -> None:
    """Another operation on the VM: not while somebody repairs it; raises ActionError.

    While a line runs that nobody holds any more, only an operation that stops it and begins anew is possible.
    """
    if repair is None or repair.ended:
        return
    if repair.is_held and not presence.has_lapsed:
        raise ActionError(
            f"{held_by(repair, presence)} They end it with q; or take it over first: "
            f"onevm recover {repair.oid} --retry --interactive --take-over",
            repair.oid,
        )
    if repair.effect_id >= 0 and not stops_line:
        raise ActionError(
            f"Line {_running_line(repair)} of {repair.file} of VM {repair.oid} still runs: wait until it has ended, or "
            f"stop it and do the whole transfer again with onevm recover --retry {repair.oid}",
            repair.oid,
        )


def insist_on_holder(repair: Repair | None, oid: int, session: str) -> Repair:
    """The repair, if this session has it; raises ActionError with what became of it."""
    if repair is None:
        raise ActionError(f"Nobody repairs VM {oid}: begin with onevm recover {oid} --retry --interactive", oid)
    if repair.ended:
        raise ActionError(f"The repair of VM {oid} has ended: {repair.ended}", oid)
    if not repair.is_held:
        raise ActionError(f"The repair of VM {oid} was left. Begin again with onevm recover --retry --interactive", oid)
    if repair.holder.session != session:
        since = moment(repair.holder.since)
        raise ActionError(f"The repair of VM {oid} is in other hands: {repair.holder} has it since {since}.", oid)
    return repair


def started(repair: Repair, line: int, record: int, now: float) -> Repair:
    """Line ``line`` (from 1) begins to run as record ``record``; raises ActionError when that is not what is next."""
    _insist_on_current(repair, line)
    if record != repair.next_record:
        raise ActionError(
            f"Line {line} was not run: record {record} of the repair of VM {repair.oid} is taken already, "
            f"{repair.next_record} would be next. Look at what was done meanwhile.",
            repair.oid,
        )
    text = repair.lines[repair.position]
    return _noted(repair, RepairDeed.RUN, now, repair.holder, line, text, RepairResult.RUNNING)


def skipped(repair: Repair, line: int, now: float) -> Repair:
    """Line ``line`` is left out."""
    _insist_on_current(repair, line)
    noted = _noted(repair, RepairDeed.SKIP, now, repair.holder, line, repair.lines[repair.position])
    return replace(noted, position=repair.position + 1)


def _insist_on_current(repair: Repair, line: int) -> None:
    if repair.effect_id >= 0:
        raise ActionError(
            f"Line {_running_line(repair)} of VM {repair.oid} is still running: one line at a time.", repair.oid
        )
    if repair.is_complete:
        raise ActionError(f"All lines of VM {repair.oid} were run or skipped: there is none left.", repair.oid)
    if line != repair.position + 1:
        raise ActionError(
            f"The current line of VM {repair.oid} is {repair.position + 1}, not {line}: it has moved on meanwhile.",
            repair.oid,
        )


def line_ended(repair: Repair, result: RepairResult, output: str, now: float) -> Repair:
    """The line that ran has ended; only success leads to the next one."""
    kept = output if len(output) <= OUTPUT_KEPT else f"…{output[-OUTPUT_KEPT:]}"
    records = tuple(
        replace(record, result=result, ended_at=now, output=kept) if record.result is RepairResult.RUNNING else record
        for record in repair.records
    )
    position = repair.position + (result is RepairResult.SUCCESS)
    return replace(repair, records=records, position=position, effect_id=-1)


def left(repair: Repair) -> Repair:
    """Nobody holds the repair any more."""
    return replace(repair, holder=NOBODY)


def over(repair: Repair, why: str, now: float) -> Repair:
    """The VM has left the failure; a line that still runs is cancelled."""
    if repair.effect_id >= 0:
        repair = line_ended(repair, RepairResult.CANCELLED, why, now)
    return replace(repair, holder=NOBODY, ended=why)


def skipped_lines(repair: Repair) -> tuple[int, ...]:
    """The lines of the present file that were left out and never run well afterwards, as far as records are kept."""
    out: dict[int, None] = {}
    for record in repair.records:
        if record.file == repair.file and record.deed is RepairDeed.SKIP:
            out[record.line] = None
        elif record.file == repair.file and record.result is RepairResult.SUCCESS:
            out.pop(record.line, None)
    return tuple(sorted(out))


def summary(repair: Repair) -> str:
    """The repair in a line, for the VM's user template: who is or was at it, how far, and a warning."""
    warning = _warning(repair)
    if repair.is_held:
        return f"{repair.file} is being repaired by {repair.holder} since {moment(repair.holder.since)}{warning}"
    last = repair.records[-1] if repair.records else None
    entry = f"; its last entry is by {last.user} ({last.seat}), {moment(last.at)}" if last is not None else ""
    if repair.ended:
        return f"{repair.file} was repaired{entry}{warning}; {repair.ended}"
    where = "after all actions" if repair.is_complete else f"at action {repair.position + 1} of {len(repair.lines)}"
    return f"{repair.file}: its repair was left {where}{entry}{warning}"


def _warning(repair: Repair) -> str:
    left_out = ", ".join(map(str, skipped_lines(repair)))
    return f"; SKIPPED: action {left_out} of {len(repair.lines)}" if left_out else ""


def deed_text(repair: Repair, record: RepairRecord) -> str:
    """A record for the VM's log; a line that runs is told when it ends."""
    who = f"{record.user} ({record.seat})"
    if record.deed is RepairDeed.TAKE_OVER:
        return f"Repair of {record.file}: {record.output} by {who}"
    said = f"Repair of {record.file}: action {record.line} of {len(repair.lines)}"
    if record.deed is RepairDeed.SKIP:
        return f"{said} was SKIPPED by {who}: {record.text}"
    if record.result is RepairResult.RUNNING:
        return f"{said} is run by {who}: {record.text}"
    return f"{said}, run by {who}: {record.result.value}"


def _noted(
    repair: Repair,
    deed: RepairDeed,
    at: float,
    by: Holder,
    line: int = 0,
    text: str = "",
    result: RepairResult = RepairResult.NONE,
    output: str = "",
) -> Repair:
    number = repair.next_record
    record = RepairRecord(number, deed, at, by.user, by.seat, repair.file, line, text, result, output=output)
    kept = (*repair.records, record)[-RECORDS_KEPT:]
    return replace(repair, records=kept, next_record=number + 1)
