"""Which VMs of a dead host take part in its failover, as the hook's options say (-m, -r, -d, -f)."""

from __future__ import annotations

from holdfast.failover.machine import row_of
from holdfast.lifecycle import positions as p
from holdfast.model.enums import FailoverMode, RowState
from holdfast.model.failover import Failover, Row
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

AT_REST = (VmState.SUSPENDED, VmState.POWEROFF)
"""Its user wanted it not to run, and its files are on the host."""
_FILES_ELSEWHERE = (
    *(p.PROLOG, p.PROLOG_FAILURE, p.PROLOG_RESUME, p.PROLOG_RESUME_FAILURE),
    *(p.PROLOG_UNDEPLOY, p.PROLOG_UNDEPLOY_FAILURE, *p.FILES_ON_THE_WAY),
)
"""The host is where the VM was going: its files are still where they come from, or are made anew."""
_ENDING = (p.SHUTDOWN, p.EPILOG, p.EPILOG_FAILURE)


def row_for(failover: Failover, vm: Vm, system: Datastore | None, lost: bool = True) -> Row:
    """The VM's row in the failover: WAITING when it takes part, SKIPPED with the reason when not.

    ``lost``: the host, and what only it has, is not there (again).
    """
    row = Row(vm.oid, vm.name, from_hid=failover.host_id, proof_id=failover.proof_id, had_failed=_failure(failover, vm))
    reason = _reason_to_skip(failover, vm, system if lost else None)
    if reason:
        return Row(vm.oid, vm.name, RowState.SKIPPED, failover.host_id, proof_id=failover.proof_id, reason=reason)
    return row


def _failure(failover: Failover, vm: Vm) -> str:
    """The failure state that a VM was in when the failover began; what failed since may have failed by the loss."""
    earlier = row_of(failover, vm.oid)
    known = earlier.had_failed if earlier is not None else vm.lcm_state.name
    return known if vm.position in p.FAILURES and known == vm.lcm_state.name else ""


def _reason_to_skip(failover: Failover, vm: Vm, system: Datastore | None) -> str:
    if vm.state not in (VmState.ACTIVE, *AT_REST):
        return f"in state {vm.state_name}: nothing to restart"
    if failover.mode is FailoverMode.RECREATE and vm.state in AT_REST and not failover.force:
        return f"in state {vm.state.name}: recreated only with -f"
    if failover.mode is FailoverMode.MIGRATE and system is not None and died_with(vm, failover.host_id, system):
        return out_of_reach(vm, system)
    return ""


def died_with(vm: Vm, host_id: int, system: Datastore) -> bool:
    """Whether the VM's only files are on this host."""
    if system.shared or vm.position in (*_FILES_ELSEWHERE, *_ENDING):
        return False
    return vm.position not in p.ON_TWO_HOSTS or host_id == vm.previous_hid


def left_behind(failover: Failover, vm: Vm, system: Datastore) -> Row:
    """The row of a VM that was leaving the host for another one with files that only the two of them have."""
    return Row(
        vm.oid,
        vm.name,
        RowState.SKIPPED,
        failover.host_id,
        to_hid=vm.hid,
        proof_id=failover.proof_id,
        reason=stuck_on_the_way(vm, system),
    )


def stuck_on_the_way(vm: Vm, system: Datastore) -> str:
    """What became of the files of a VM whose old host went away before they had all arrived, and the ways out."""
    source = vm.previous.hostname if vm.previous else "?"
    target = vm.current.hostname if vm.current else "?"
    return (
        f"its disks were on their way from {source} to {target}; what had not arrived is on {source} alone, for "
        f"datastore {system.oid} ({system.name}) is not shared. When {source} is back: onevm recover "
        f"--retry {vm.oid}. Or anew from its images, without what it has written: onevm recover --recreate {vm.oid}"
    )


def out_of_reach(vm: Vm, system: Datastore) -> str:
    """Why a VM whose files died with its host runs nowhere else, and the ways out."""
    record = vm.previous if vm.position in p.ON_TWO_HOSTS else vm.current
    where = record.hostname if record else "?"
    return (
        f"its disks are on {where} alone: datastore {system.oid} ({system.name}) is not "
        f"shared, so it cannot start elsewhere. When {where} is back: onevm resume {vm.oid}. Or anew from its images, "
        f"without what it has written: onevm recover --recreate {vm.oid}"
    )
