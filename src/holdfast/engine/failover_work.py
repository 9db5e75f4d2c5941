"""Carries a failover through its table: readings, fencing, proof, and the restart of its VMs."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from holdfast.engine import rows
from holdfast.engine.scheduling import schedule, waits
from holdfast.engine.vm_work import facts_of, files_are_lost, happen_if_possible, with_error
from holdfast.engine.work import Work
from holdfast.failover import machine, proofs
from holdfast.failover.selection import AT_REST, left_behind, row_for
from holdfast.failover.table import Do, Event
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.positions import CLEANUP_DELETE, CLEANUP_RESUBMIT
from holdfast.lifecycle.whereabouts import holders
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, EffectState, FailoverMode, FailoverState, HostState, ProofKind, RowState
from holdfast.model.errors import ActionError
from holdfast.model.failover import Evidence, Failover, Proof, Row
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

STARTED_SINCE = "runs on the host after its reboot, or a driver is at work on it there: left alone"
_ENDING = (*rows.REMOVAL, *rows.PARKING, CLEANUP_DELETE)
CLEANUPS = (CLEANUP_DELETE, CLEANUP_RESUBMIT)
_MODE_EVENT = {
    FailoverMode.MIGRATE: VmEvent.RESTART_ELSEWHERE,
    FailoverMode.RECREATE: VmEvent.RECOVER_RECREATE,
    FailoverMode.DELETE: VmEvent.RECOVER_DELETE,
}


def begin(work: Work, failover: Failover) -> None:
    """Starts the watch: one reading of the power at once, and the stored deadline."""
    host = work.get(Host, failover.host_id)
    if not host.vms and not work.strays_of(host.oid):
        failover = replace(failover, rows=_left_behind(work, failover))
        return _advance(work, failover, Event.NOTHING_TO_DO, "the host has no VMs: nothing to restart, no fencing")
    failover = replace(failover, rows=_with_left_behind(work, failover, _rows(work, failover, host)))
    work.draft.put(failover)
    if not host.error_since and failover.boot_id and host.boot_id != failover.boot_id:
        return host_came_back(work, failover, host.boot_id)
    if work.senses.is_blind():
        return _advance(work, failover, Event.BLINDED, _blindness(failover))
    if failover.deadline <= work.now:
        return _advance(work, failover, Event.WAIT_OVER, "no wait asked for (-p 0)")
    return read_power(work, failover)


def _blindness(failover: Failover) -> str:
    return (
        f"WE ARE BLIND: more than half of the hosts fell silent together, so the fault is probably on our side, and "
        f"nothing is fenced. Are the hosts really down? If so: onehost failover retry {failover.oid}"
    )


def read_power(work: Work, failover: Failover) -> None:
    """Asks the fence device whether the power is off; without a device there is nothing to ask."""
    host = work.find(Host, failover.host_id)
    if failover.effect_id >= 0:
        return
    if host is None or not _has_device(host):
        failover = replace(failover, next_probe=0.0)
        work.draft.put(failover)
        if failover.state is FailoverState.PROVING:
            not_off(work, failover, "no fence device to ask")
        return
    effect = work.plan(EffectKind.FENCE_STATUS, failover.oid, host.oid)
    work.draft.put(replace(failover, effect_id=effect.oid, next_probe=0.0))


def _has_device(host: Host) -> bool:
    return "FENCE_AGENT" in host.template or bool(host.template.sections("FENCE"))


def not_off(work: Work, failover: Failover, text: str) -> None:
    """The power is on, or cannot be read: in PROVING the next step is to fence."""
    failover = machine.witnessed(failover, Evidence("fence device", work.now, "not off", text))
    if failover.state is FailoverState.WATCHING:
        again = work.now + work.settings.power_reading_every_s
        work.draft.put(replace(failover, next_probe=again))
        return
    host = work.get(Host, failover.host_id)
    hindrance = proofs.can_fence(failover, host)
    if work.senses.is_blind() and not failover.insisted:
        _advance(work, failover, Event.BLINDED, _blindness(failover))
    elif hindrance:
        said = f"No proof that {host.name} is dead: {hindrance}. {proofs.ways_out(failover)}"
        _advance(work, failover, Event.FENCE_FAILED, said)
    else:
        _advance(work, failover, Event.POWER_IS_NOT_OFF, f"power is not off ({text}): fencing")


def device_answered(work: Work, effect: Effect, answer: Answer) -> None:
    """The fence device (or its silence) answers a reading or an order."""
    failover = work.find(Failover, effect.subject)
    if failover is None or failover.effect_id != effect.oid:
        return
    failover = replace(failover, effect_id=-1)
    if effect.kind is EffectKind.FENCE_STATUS:
        if answer.ok and answer.values.get("POWER") == "OFF":
            prove(work, failover, Event.POWER_IS_OFF, _device_proof(work, failover, effect, answer))
        else:
            not_off(work, failover, answer.message)
    elif answer.ok:
        prove(work, failover, Event.FENCED, _device_proof(work, failover, effect, answer))
    else:
        said = f"Fencing failed: {answer.message} {proofs.ways_out(failover)}"
        failover = machine.witnessed(failover, Evidence("fence device", work.now, "failed", answer.message))
        _advance(work, failover, Event.FENCE_FAILED, said)
        host = work.find(Host, failover.host_id)
        if host is not None and host.in_touch:
            host_came_back(work, work.get(Failover, failover.oid), host.boot_id)


def _device_proof(work: Work, failover: Failover, effect: Effect, answer: Answer) -> Proof:
    return proofs.from_device(work.draft.next_id(Proof), failover, effect.kind, answer, work.now)


def host_came_back(work: Work, failover: Failover, boot_id: str, reported: Set[int] | None = None) -> None:
    """The agent of a host under failover is heard again: same boot id aborts, another one is proof.

    ``reported`` are the VMs that it has, None when it was heard some time before.
    """
    if failover.proof_id >= 0:
        return
    if failover.boot_id and boot_id != failover.boot_id:
        proof = proofs.from_reboot(work.draft.next_id(Proof), failover, boot_id, work.now)
        prove(work, failover, Event.HOST_REBOOTED, proof, reported)
    elif failover.state is not FailoverState.FENCING:
        _advance(work, failover, Event.HOST_BACK, "the host came back: same boot id, its VMs were left alone")


def due(work: Work, failover: Failover) -> None:
    """The stored deadline has passed, or it is time for the next reading."""
    if failover.state is FailoverState.WATCHING and work.now >= failover.deadline:
        if work.senses.is_blind():
            _advance(work, failover, Event.BLINDED, _blindness(failover))
        else:
            waited = f"waited {failover.pause} beacon periods, the host is still lost"
            _advance(work, failover, Event.WAIT_OVER, waited)
    elif failover.state is FailoverState.WATCHING and failover.next_probe and work.now >= failover.next_probe:
        read_power(work, failover)


def resume(work: Work, failover: Failover) -> None:
    """After a restart of the controller: a host that is not proven dead gets another chance to be heard.

    The power is read at once: if the fencing went through before the restart, that is the proof.
    """
    if failover.state not in (FailoverState.WATCHING, FailoverState.PROVING, FailoverState.FENCING):
        return
    work.close(failover.effect_id, EffectState.SUPERSEDED, "the controller was restarted")
    patience = work.settings.patience
    deadline = max(failover.deadline, work.now + patience.dead_after_s + patience.beacon_period_s)
    failover = replace(failover, state=FailoverState.WATCHING, effect_id=-1, deadline=deadline, next_probe=0.0)
    failover = machine.noted(failover, "controller restarted: looking again before anything is fenced", work.now)
    work.draft.put(failover)
    read_power(work, failover)


def command(work: Work, failover: Failover, event: Event, text: str) -> None:
    """An operator's retry or abort; raises ActionError when the failover's state does not allow it."""
    after, do = machine.command(failover, event, text, work.now)
    _carry_out(work, replace(after, insisted=after.insisted or event is Event.RETRY), do)
    if event is Event.ABORT and failover.proof_id >= 0:
        _leave_the_rest(work, failover)


def _leave_the_rest(work: Work, failover: Failover) -> None:
    """VMs that wait for a place stay where they are."""
    for row in failover.rows:
        vm = work.find(Vm, row.vm_id)
        if vm is not None and row.state is RowState.WAITING:
            happen_if_possible(work, vm, VmEvent.UNRESCHED, facts_of(work, vm))


def confirm(work: Work, failover: Failover, comment: str) -> None:
    """The operator vouches that the host is off; recorded with name and time."""
    if failover.proof_id >= 0 or not failover.is_open:
        raise ActionError(
            f"Failover {failover.oid} is {failover.state.name}: there is nothing to confirm.", failover.oid
        )
    host = work.find(Host, failover.host_id)
    if host is not None and host.in_touch:
        raise ActionError(
            f"Host {host.name} was heard after it had been lost: it is not off, and its VMs may run there. "
            f"Wait for the end of its fencing, or switch it off.",
            failover.oid,
        )
    proof = proofs.from_operator(work.draft.next_id(Proof), failover, work.actor.name, comment, work.now)
    prove(work, failover, Event.CONFIRMED, proof)


def prove(work: Work, failover: Failover, event: Event, proof: Proof, reported: Set[int] | None = None) -> None:
    """A proof of death is accepted: stored, then every VM of the host is resolved, placed and restarted."""
    work.draft.put(proof)
    advanced = machine.advance(replace(failover, proof_id=proof.oid), event, proof.text, work.now)
    if advanced is None:
        work.draft.put(failover)
        return
    failover = advanced[0]
    work.close(failover.effect_id, EffectState.SUPERSEDED, "proof came another way")
    host = work.find(Host, failover.host_id)
    if host is not None:
        work.draft.put(_declared_dead(work, host, proof, failover))
    made = _rows(work, failover, host) if host is not None else ()
    if event is Event.HOST_REBOOTED:
        made = tuple(_unless_started_since(work, failover, row, reported) for row in made)
    told = made if event is Event.HOST_REBOOTED else _with_left_behind(work, failover, made)
    failover = replace(failover, effect_id=-1, state=FailoverState.RESTARTING, rows=told)
    gone = [row.vm_id for row in made if row.reason != STARTED_SINCE]
    work.draft.put(machine.noted(failover, f"proof accepted: restarting {len(gone)} VMs", work.now))
    for vm_id in gone:
        _take_over(work, failover, work.get(Vm, vm_id))
    for row in made:
        _tell_why_not(work, row)
    strays = [] if event is Event.HOST_REBOOTED else work.strays_of(failover.host_id)
    for vm in strays:
        _release(work, failover, vm)
    restart(work, failover.oid)
    schedule(work, (vm.oid for vm in strays))


def _declared_dead(work: Work, host: Host, proof: Proof, failover: Failover) -> Host:
    """A host that was heard while it was being switched off is lost all the same; only a reboot proves a living one."""
    host = replace(host, proof_id=proof.oid)
    if proof.kind is ProofKind.REBOOTED or host.error_since or host.state is HostState.OFFLINE:
        return host
    state = host.state if host.state is HostState.DISABLED else HostState.ERROR
    return replace(
        host, state=state, prev_state=host.state, error_since=work.now, lost_boot_id=failover.boot_id or host.boot_id
    )


def _unless_started_since(work: Work, failover: Failover, row: Row, reported: Set[int] | None) -> Row:
    """A reboot proves nothing about a VM that its agent reports, or whose driver is at work on it, after the reboot."""
    vm = work.get(Vm, row.vm_id)
    order = work.find(Effect, vm.effect_id)
    unheard = reported is not None and row.vm_id not in reported
    to_old_boot = unheard and order is not None and order.planned_at < failover.stime
    if row.from_hid not in vm.may_run_on or to_old_boot:
        return row
    return replace(row, state=RowState.SKIPPED, reason=STARTED_SINCE)


def _rows(work: Work, failover: Failover, host: Host) -> tuple[Row, ...]:
    """One row for each VM of the host, as it is now."""
    members = [vm for vm_id in sorted(host.vms) if (vm := work.find(Vm, vm_id)) is not None]
    return tuple(row_for(failover, vm, _system(work, vm), host.error_since > 0) for vm in members)


def _with_left_behind(work: Work, failover: Failover, listed: tuple[Row, ...]) -> tuple[Row, ...]:
    """With those that were leaving the host, too: their files died with it, although it does not list them any more."""
    return tuple(sorted((*listed, *_left_behind(work, failover)), key=lambda row: row.vm_id))


def _left_behind(work: Work, failover: Failover) -> tuple[Row, ...]:
    leaving = ((vm, work.find(Datastore, vm.previous.ds_id)) for vm in work.leaving(failover.host_id) if vm.previous)
    return tuple(left_behind(failover, vm, system) for vm, system in leaving if system and not system.shared)


def _system(work: Work, vm: Vm) -> Datastore | None:
    return work.find(Datastore, vm.current.ds_id) if vm.current else None


def _take_over(work: Work, failover: Failover, vm: Vm) -> None:
    """The VM belongs to this failover now."""
    earlier = rows.failover_of(work, vm.oid)
    if earlier is not None and earlier[0].oid != failover.oid:
        reason = f"its new host died too: taken over by failover {failover.oid}"
        row = replace(earlier[1], state=RowState.SKIPPED, reason=reason)
        rows.settle(work, machine.with_row(earlier[0], row))
    work.restarting[vm.oid] = failover.oid
    _release(work, failover, vm)


def _tell_why_not(work: Work, row: Row) -> None:
    """A VM that cannot be restarted because its files died with the host says so itself."""
    vm = work.get(Vm, row.vm_id)
    if row.state is RowState.SKIPPED and files_are_lost(work, vm):
        with_error(work, vm, row.reason)


def _release(work: Work, failover: Failover, vm: Vm) -> None:
    """The VM does not run on the dead host any more; one that is elsewhere only gets rid of that doubt."""
    after = vm
    if failover.host_id in holders(vm) or vm.position in CLEANUPS:
        facts = facts_of(work, vm, dead_hid=failover.host_id, proof_id=failover.proof_id)
        try:
            after = happen_if_possible(work, vm, VmEvent.HOST_DEAD, facts)
        except ActionError as refusal:  # one VM in an odd state must not hold up the others
            after = with_error(work, vm, refusal.message)
    if failover.host_id in after.may_run_on:
        left = tuple(hid for hid in after.may_run_on if hid != failover.host_id)
        after = replace(after, may_run_on=left, proof_id=_proof_of_a_stray(work, failover, after))
        work.draft.put(after)
        rows.try_again(work, after)


def _proof_of_a_stray(work: Work, failover: Failover, vm: Vm) -> int:
    """What a start of the VM rests on: the latest death of the host that its record names says more than another's."""
    known = work.find(Proof, vm.proof_id)
    keeps = known is not None and known.host_id == vm.hid != failover.host_id
    return vm.proof_id if keeps else failover.proof_id


def restart(work: Work, failover_id: int) -> None:
    """Asks for the restart of every row that waits, and places them together."""
    failover = work.get(Failover, failover_id)
    event = _MODE_EVENT[failover.mode]
    waiting = [row.vm_id for row in failover.rows if row.state is RowState.WAITING]
    for vm_id in waiting:
        vm = work.find(Vm, vm_id)
        if vm is None or _asks_too_much(failover, vm) or _lives_on(failover, vm):
            continue
        if vm.state is not VmState.PENDING or failover.mode is FailoverMode.DELETE:
            try:
                happen_if_possible(work, vm, _asked_of(vm, event), facts_of(work, vm, proof_id=failover.proof_id))
            except ActionError as error:
                _fail_row(work, failover_id, vm_id, error.message)
    schedule(work, waiting)
    _end_rows_without_work(work, failover_id)


def _asked_of(vm: Vm, event: VmEvent) -> VmEvent:
    """A VM whose first files could not be made has none to be moved: it is made anew."""
    anew = event is VmEvent.RESTART_ELSEWHERE and vm.lcm_state is LcmState.PROLOG_FAILURE
    return VmEvent.RECOVER_RECREATE if anew else event


def _lives_on(failover: Failover, vm: Vm) -> bool:
    """The dead host was only one end of the VM's move: it goes on at the other one."""
    return vm.hid != failover.host_id and vm.effect_id >= 0


def _asks_too_much(failover: Failover, vm: Vm) -> bool:
    """A VM that its user wanted off or gone, as the death of its host has made it, is not created again."""
    if failover.mode is not FailoverMode.RECREATE:
        return False
    return vm.position in _ENDING or (vm.state in AT_REST and not failover.force)


def _fail_row(work: Work, failover_id: int, vm_id: int, reason: str) -> None:
    failover = work.get(Failover, failover_id)
    row = machine.row_of(failover, vm_id)
    if row is not None:
        failed = replace(row, state=RowState.FAILED, reason=reason)
        work.draft.put(machine.with_row(failover, rows.without_blame(failed)))


def _end_rows_without_work(work: Work, failover_id: int) -> None:
    """Rows of VMs that need nothing more (a shutdown that the death completed) have their end now."""
    failover = work.get(Failover, failover_id)
    for row in failover.rows:
        vm = work.find(Vm, row.vm_id)
        if row.state is not RowState.WAITING:
            continue
        if vm is None or vm.state is VmState.DONE:
            failover = machine.with_row(failover, replace(row, state=RowState.SKIPPED, reason="is gone"))
        elif _asks_too_much(failover, vm) or (failover.mode is FailoverMode.MIGRATE and vm.position in _ENDING):
            reason = f"in state {vm.state_name}: its user wanted it off or gone, nothing to restart"
            failover = machine.with_row(failover, replace(row, state=RowState.SKIPPED, reason=reason))
        elif vm.effect_id < 0 and not waits(vm):
            reason = f"in state {vm.state_name}, from which it is not moved: see onevm show {vm.oid}"
            failed = replace(row, state=RowState.FAILED, reason=reason)
            failover = machine.with_row(failover, rows.without_blame(failed))
    rows.settle(work, failover)


def _advance(work: Work, failover: Failover, event: Event, text: str) -> None:
    advanced = machine.advance(failover, event, text, work.now)
    if advanced is None:
        work.draft.put(failover)
        return
    _carry_out(work, *advanced)


def _carry_out(work: Work, failover: Failover, do: Do) -> None:
    work.draft.put(failover)
    if do is Do.READ_POWER:
        read_power(work, failover)
    elif do is Do.FENCE:
        host = work.get(Host, failover.host_id)
        effect = work.plan(EffectKind.FENCE_OFF, failover.oid, host.oid, limit_s=proofs.fence_limit_s(host))
        work.draft.put(replace(failover, effect_id=effect.oid))
    elif do is Do.RESTART_FAILED:
        _restart_failed(work, failover)
    elif do is Do.END:
        work.close(failover.effect_id, EffectState.SUPERSEDED, f"failover is {failover.state.name}")
        work.draft.put(replace(failover, effect_id=-1))


def _restart_failed(work: Work, failover: Failover) -> None:
    fresh = tuple(
        replace(row, state=RowState.WAITING, attempts=0, tried=()) if row.state is RowState.FAILED else row
        for row in failover.rows
    )
    work.draft.put(replace(failover, rows=fresh))
    restart(work, failover.oid)
