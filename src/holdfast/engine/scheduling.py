"""Gives waiting VMs a place: PENDING ones their first, rescheduled ones (RESCHED=1) another one.

All that wait are placed together, VMs of failovers first.  A VM that finds no place keeps its state and says why in
USER_TEMPLATE/SCHED_MESSAGE (and in its failover's row); it is tried again when something changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast.engine import rows
from holdfast.engine.host_space import NoSpaceOnHost, insist_on_host_space, needed_on_host_mb, promise_host_space
from holdfast.engine.space import promise_space
from holdfast.engine.system_datastores import destination, insist_on_files, space_needed_mb
from holdfast.engine.vm_work import facts_of, happen, has_local_files, target_on, with_message
from holdfast.engine.work import Work
from holdfast.failover import machine
from holdfast.failover.placement import Request, place
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.positions import PROLOG_MIGRATE_SUSPEND_FAILURE, RUNNING, SUSPENDED, UNKNOWN
from holdfast.lifecycle.transitions.moves import RESCHEDULED
from holdfast.model.enums import RowState
from holdfast.model.errors import ActionError
from holdfast.model.failover import Failover, Row
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

MOVABLE = (*RESCHEDULED, SUSPENDED, PROLOG_MIGRATE_SUSPEND_FAILURE)
"""Where a rescheduled VM can be moved to another host."""
_COLD = (VmEvent.MIGRATE_SAVE, VmEvent.MIGRATE_POWEROFF, VmEvent.MIGRATE_POWEROFF_HARD)


def waits(vm: Vm) -> bool:
    """Whether the scheduler has something to do for this VM."""
    return vm.state is VmState.PENDING or (vm.resched and vm.position in MOVABLE)


def schedule(work: Work, vm_ids: Iterable[int]) -> None:
    """Places as many of these VMs as there is room for."""
    waiting = [vm for vm_id in vm_ids if (vm := work.find(Vm, vm_id)) is not None and waits(vm)]
    ready = [vm for vm in waiting if not _held_back(work, vm) and not _goes_home(work, vm)]
    if not ready:
        return
    crowded: dict[int, dict[int, str]] = {}
    while ready:
        ready = _place(work, ready, crowded)


def _place(work: Work, ready: list[Vm], crowded: dict[int, dict[int, str]]) -> list[Vm]:
    """Starts these VMs; those whose host has no room for their files go into ``crowded``, and look for another one."""
    placement = place((_request(work, vm, crowded.get(vm.oid, {})) for vm in ready), work.draft.room())
    again = []
    for vm in ready:
        if vm.oid in placement.chosen:
            hid = placement.chosen[vm.oid]
            why = _start(work, vm, hid)
            if why:
                crowded.setdefault(vm.oid, {})[hid] = why
                again.append(vm)
        elif _may_start_at_home(work, vm):
            _start_at_home(work, vm)
        else:
            refuse(work, vm, _no_room_on(work, crowded.get(vm.oid, {})) or placement.refused[vm.oid])
    return again


def _no_room_on(work: Work, crowded: dict[int, str]) -> str:
    """Why the first host has no room, with its figures, and which others have none; empty when that is not it."""
    why = next(iter(crowded.values()), "")
    others = [work.get(Host, hid).name for hid in crowded][1:]
    return f"{why} There is no room on {', '.join(others)} either." if others else why


def _request(work: Work, vm: Vm, crowded: Iterable[int]) -> Request:
    found = rows.failover_of(work, vm.oid)
    excluded = {vm.hid} if vm.state is not VmState.PENDING else set()
    excluded.update(crowded)
    if found is not None:
        excluded.update(found[1].tried)
    return Request(vm.oid, vm.cpu_percent, vm.memory_kb, frozenset(excluded), priority=1 if found else 0)


def _may_start_at_home(work: Work, vm: Vm) -> bool:
    """A VM that died with its host may start there again, when the host is back and nothing is left of the VM."""
    found, home = rows.failover_of(work, vm.oid), work.find(Host, vm.hid)
    dead = found is not None and vm.position == UNKNOWN and not vm.may_run_on and vm.hid not in found[1].tried
    return dead and home is not None and home.usable


def _goes_home(work: Work, vm: Vm) -> bool:
    """A VM that died with its host, whose files only this host has, and which can start there again: so it does."""
    home = has_local_files(work, vm) and _may_start_at_home(work, vm)
    if home:
        _start_at_home(work, vm)
    return home


def _start_at_home(work: Work, vm: Vm) -> None:
    """Its capacity is still held there."""
    try:
        happen(work, replace(vm, resched=False), VmEvent.RESUME, facts_of(work, vm))
    except ActionError as error:
        refuse(work, vm, error.message)
    else:
        with_message(work, work.get(Vm, vm.oid), "SCHED_MESSAGE", "")


def _held_back(work: Work, vm: Vm) -> bool:
    """A VM that may still run where nobody sees it waits for proof, not for room."""
    doubted = [hid for hid in vm.may_run_on if vm.position != RUNNING or hid != vm.hid]
    if not doubted:
        return False
    hosts = ", ".join(map(str, doubted))
    refuse(work, vm, f"It may still run on host {hosts}: it waits for proof that this host is dead.")
    return True


def _start(work: Work, vm: Vm, hid: int) -> str:
    """Sends the VM there; answers why this host has no room for its files, empty when that is settled."""
    host = work.get(Host, hid)
    try:
        insist_on_files(work, vm)
        system, placed = destination(work, vm)
        insist_on_host_space(work, host, system, placed)
        target = target_on(host, system.oid, system.tm_mad)
        happen(work, placed, _way(work, placed), facts_of(work, placed, target=target))
        promise_space(work, system.oid, space_needed_mb(placed, system))
        promise_host_space(work, hid, system, needed_on_host_mb(placed, host, system))
    except NoSpaceOnHost as error:
        return error.message
    except ActionError as error:
        refuse(work, vm, error.message)
    else:
        with_message(work, work.get(Vm, vm.oid), "SCHED_MESSAGE", "")
    return ""


def _way(work: Work, vm: Vm) -> VmEvent:
    """How the VM gets to its place; a running one as LIVE_RESCHEDS and COLD_MIGRATE_MODE say, if its disks allow it."""
    if vm.state is VmState.PENDING:
        return VmEvent.DEPLOY
    system = work.find(Datastore, vm.current.ds_id) if vm.current else None
    live = work.settings.live_rescheds and (system is None or system.shared)
    return move_of(vm, live, work.settings.cold_migrate_mode)


def move_of(vm: Vm, live: bool, cold_mode: int) -> VmEvent:
    """The event that moves this VM: live or cold (0 save, 1 poweroff, 2 poweroff-hard) matters only while it runs."""
    if vm.position != RUNNING:
        return VmEvent.MIGRATE
    if live:
        return VmEvent.MIGRATE_LIVE
    if not 0 <= cold_mode < len(_COLD):
        raise ActionError(f"Migration type {cold_mode} is unknown: 0 saves, 1 powers off, 2 powers off hard.", vm.oid)
    return _COLD[cold_mode]


def refuse(work: Work, vm: Vm, reason: str) -> None:
    """The VM stays where it is and says why, in its own record and in its failover's row."""
    with_message(work, vm, "SCHED_MESSAGE", reason)
    found = rows.failover_of(work, vm.oid)
    if found is None:
        return
    failover, row = found
    if not row.is_final and (row.reason != reason or row.state is not RowState.WAITING):
        rows.settle(work, machine.with_row(failover, _waiting(failover, row, reason)))


def _waiting(failover: Failover, row: Row, reason: str) -> Row:
    exhausted = bool(row.tried) and "all candidates were tried" in reason
    state = RowState.FAILED if exhausted or row.state is RowState.FAILED else RowState.WAITING
    return replace(row, state=state, reason=row.reason if exhausted and row.reason else reason)
