"""A failover's row follows its VM: every step of a VM that is being restarted is written into its row.

The open failover of a VM is that of the host its row names; it is found through ``restarting``, an index the engine
keeps over open failovers (a VM is in one of them at most; a newer failover takes the VM over).
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.messages import undated
from holdfast.engine.work import Work
from holdfast.failover import machine
from holdfast.lifecycle import positions as p
from holdfast.model.enums import FailoverMode, FailoverState, RowState
from holdfast.model.failover import Failover, Row
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

REMOVAL = (p.EPILOG, p.EPILOG_FAILURE)
PARKING = (p.EPILOG_STOP, p.EPILOG_STOP_FAILURE, p.EPILOG_UNDEPLOY, p.EPILOG_UNDEPLOY_FAILURE)
_PLACED = (
    *(p.PROLOG, p.PROLOG_RESUME, p.PROLOG_UNDEPLOY, p.PROLOG_MIGRATE),
    *(p.PROLOG_MIGRATE_UNKNOWN, p.PROLOG_MIGRATE_POWEROFF, p.PROLOG_MIGRATE_SUSPEND),
)
_MOVED_ON = (*p.BOOT_FAILURES, p.PROLOG_MIGRATE_UNKNOWN_FAILURE, p.UNKNOWN)
"""A start that failed for certain is tried on another host from here."""
_OFF = (p.POWEROFF, p.SUSPENDED)


def failover_of(work: Work, vm_id: int) -> tuple[Failover, Row] | None:
    """The open failover that restarts this VM, and the VM's row in it."""
    failover = work.find(Failover, work.restarting.get(vm_id, -1))
    if failover is None or not failover.is_open:
        return None
    row = machine.row_of(failover, vm_id)
    return None if row is None else (failover, row)


def follow(work: Work, before: Vm, after: Vm) -> None:
    """Writes the VM's step into its row, and ends the failover when it was the last."""
    if before.position == after.position:
        return
    found = failover_of(work, after.oid)
    if found is None or found[1].is_final:
        return
    failover, row = found
    moved = _row_after(work, row, after)
    if moved is row:
        _ask_for_move(work, failover, row, after)
        return
    if moved.state is RowState.FAILED and _may_try_elsewhere(failover, moved, after):
        moved = replace(moved, state=RowState.WAITING)
        work.draft.put(replace(after, resched=True))
    settle(work, machine.with_row(failover, without_blame(moved)))


def without_blame(row: Row) -> Row:
    """The row; a VM that had failed before its host was lost, and fails still, is explained and holds up nobody."""
    if row.state is not RowState.FAILED or not row.had_failed:
        return row
    reason = (
        f"was in {row.had_failed} before its host was lost, and could not be started elsewhere either: {row.reason}. "
        f"Mend the cause, then: onevm recover --retry {row.vm_id}"
    )
    return replace(row, state=RowState.SKIPPED, reason=reason)


def _ask_for_move(work: Work, failover: Failover, row: Row, vm: Vm) -> None:
    """A VM that is off at last, on the host that died, moves away from there."""
    waits = row.state is RowState.WAITING and failover.mode is FailoverMode.MIGRATE and vm.hid == row.from_hid
    if waits and failover.proof_id >= 0 and vm.position in _OFF and not vm.resched:
        work.draft.put(replace(vm, resched=True))


def try_again(work: Work, vm: Vm) -> None:
    """What kept a failed VM from being tried on another host is gone."""
    found = failover_of(work, vm.oid)
    if found is None or found[1].state is not RowState.FAILED:
        return
    failover, row = found
    if _may_try_elsewhere(failover, row, vm):
        work.draft.put(replace(vm, resched=True))
        settle(work, machine.with_row(failover, replace(row, state=RowState.WAITING)))


def stand_aside(work: Work, vm: Vm) -> None:
    """The VM's user wants it to stay where it is."""
    found = failover_of(work, vm.oid)
    if found is not None and found[1].state is RowState.WAITING:
        row = replace(found[1], state=RowState.SKIPPED, reason="unresched by its user: it stays where it is")
        settle(work, machine.with_row(found[0], row))


def _may_try_elsewhere(failover: Failover, row: Row, vm: Vm) -> bool:
    """A failed start is tried on another host, unless the VM may run on the host that failed to answer."""
    movable = vm.position in _MOVED_ON and not vm.may_run_on
    return failover.mode is FailoverMode.MIGRATE and machine.can_try_again(row) and movable


def _row_after(work: Work, row: Row, vm: Vm) -> Row:
    if vm.state is VmState.ACTIVE:
        return _active(work, row, vm)
    if vm.state is VmState.DONE:
        return replace(row, state=RowState.SKIPPED, reason="deleted")
    if vm.state is VmState.HOLD:
        return replace(row, state=RowState.SKIPPED, reason="held by its user")
    if vm.position in p.PARKED:
        return replace(row, state=RowState.SKIPPED, reason="is parked on the front-end, as its user wanted")
    if vm.position in _OFF and row.state is RowState.PLACED:
        where = vm.current.hostname if vm.current else "?"
        was, stays = ("suspended", "suspended") if vm.position == p.SUSPENDED else ("powered off", "off")
        return replace(row, state=RowState.SKIPPED, reason=f"was {was}: moved to {where}, stays {stays}")
    return row


def _active(work: Work, row: Row, vm: Vm) -> Row:
    if vm.position in _PLACED:
        return replace(row, state=RowState.PLACED, to_hid=vm.hid, placed_at=work.now, reason="")
    if vm.position in p.BOOTING:
        return replace(row, state=RowState.STARTING, to_hid=vm.hid, started_at=work.now)
    if vm.lcm_state is LcmState.RUNNING:
        return replace(row, state=RowState.RUNNING, to_hid=vm.hid, running_at=work.now, reason="")
    if vm.position in REMOVAL:
        return replace(row, state=RowState.SKIPPED, reason="is being removed, as its user wanted")
    if vm.position in PARKING:
        return replace(row, state=RowState.SKIPPED, reason="goes to the front-end, as its user wanted")
    if vm.position in p.FAILURES or (vm.position == p.UNKNOWN and row.state is RowState.STARTING):
        reason = undated(vm.user_template.get("ERROR")) or f"{vm.lcm_state.name} on host {vm.hid}"
        tried = tuple(dict.fromkeys((*row.tried, vm.hid)))
        return replace(row, state=RowState.FAILED, attempts=row.attempts + 1, tried=tried, reason=reason)
    return row


def settle(work: Work, failover: Failover) -> None:
    """Stages the failover; when all its rows have their end, so has it."""
    over = machine.ending(failover) if failover.state in (FailoverState.RESTARTING, FailoverState.BLOCKED) else None
    if over is not None:
        advanced = machine.advance(failover, *over, work.now)
        if advanced is not None:
            failover = advanced[0]
    work.draft.put(failover)
