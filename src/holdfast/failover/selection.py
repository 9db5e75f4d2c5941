"""Which VMs of a dead host take part in its failover, as the hook's options say (-m, -r, -d, -f)."""

from __future__ import annotations

from holdfast.model.enums import FailoverMode, RowState
from holdfast.model.failover import Failover, Row
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

AT_REST = (VmState.SUSPENDED, VmState.POWEROFF)
"""Its user wanted it not to run, and its files are on the host."""


def row_for(failover: Failover, vm: Vm, system: Datastore | None) -> Row:
    """The VM's row in the failover: WAITING when it takes part, SKIPPED with the reason when not."""
    row = Row(vm.oid, vm.name, from_hid=failover.host_id, proof_id=failover.proof_id)
    reason = _reason_to_skip(failover, vm, system)
    if reason:
        return Row(vm.oid, vm.name, RowState.SKIPPED, failover.host_id, proof_id=failover.proof_id, reason=reason)
    return row


def _reason_to_skip(failover: Failover, vm: Vm, system: Datastore | None) -> str:
    if vm.state not in (VmState.ACTIVE, *AT_REST):
        return f"in state {vm.state_name}: nothing to restart"
    if failover.mode is FailoverMode.RECREATE and vm.state in AT_REST and not failover.force:
        return f"in state {vm.state.name}: recreated only with -f"
    if failover.mode is FailoverMode.MIGRATE and system is not None and not system.shared:
        return (
            f"its disks are on datastore {system.oid} ({system.name}), which is not shared: it cannot start elsewhere; "
            f"recreate it with onevm recover --recreate {vm.oid}"
        )
    return ""
