"""The guards of the transition table: each returns None when it holds, or the sentence that refuses.

The refusals name the way out, because operators meet them at night.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.lifecycle.facts import Facts
from holdfast.lifecycle.positions import SUSPENDED, UNKNOWN
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import HistoryAction
from holdfast.model.vm import Vm

_UNDEPLOYED = (HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD)


def _always(vm: Vm, facts: Facts) -> str | None:
    return None


def _named(vm: Vm, *hids: int) -> str:
    """Hosts by name and number: ``host1 (0), host2 (1)``; only the number of one that the VM's record does not name."""
    names = {record.hid: record.hostname for record in vm.history}
    return ", ".join(f"{names[hid]} ({hid})" if hid in names else str(hid) for hid in hids)


def _may_run_elsewhere(vm: Vm, hid: int) -> str | None:
    others = [other for other in vm.may_run_on if other != hid]
    if not others:
        return None
    return (
        f"VM {vm.oid} may still run on host {_named(vm, *others)}: without proof that the host is dead it is "
        f"not started elsewhere. If the host is in touch, its agent settles this within half a minute; if it is lost: "
        f"fence the host or confirm that it is off (onehost failover list, onehost failover confirm ID)."
    )


def _parked_by(vm: Vm, actions: tuple[HistoryAction, ...]) -> str | None:
    if vm.is_parked and vm.current is not None and vm.current.action in actions:
        return None
    return f"The files of VM {vm.oid} are not on the front-end."


def _movable_stopped(vm: Vm, facts: Facts) -> str | None:
    return _parked_by(vm, (HistoryAction.STOP,)) or _movable(vm, facts)


def _movable_undeployed(vm: Vm, facts: Facts) -> str | None:
    return _parked_by(vm, _UNDEPLOYED) or _movable(vm, facts)


def _on_frontend(vm: Vm, facts: Facts) -> str | None:
    return _parked_by(vm, (HistoryAction.STOP, *_UNDEPLOYED))


def _movable_alive(vm: Vm, facts: Facts) -> str | None:
    if facts.target is None:
        return "No target host was given."
    return _startable_here(vm, facts)


def _movable(vm: Vm, facts: Facts) -> str | None:
    if facts.target is None:
        return "No target host was given."
    if vm.position == UNKNOWN and vm.may_run_on == (vm.hid,) and not facts.host_lost:
        return (
            f"VM {vm.oid} may still run on host {_named(vm, vm.hid)}, which is in touch: without proof that it has "
            f"ended there it is not moved. Let it go on (onevm resume {vm.oid}), or end it (onevm poweroff --hard "
            f"{vm.oid}) and try again."
        )
    return _may_run_elsewhere(vm, -1)


def _startable_here(vm: Vm, facts: Facts) -> str | None:
    return _may_run_elsewhere(vm, vm.hid) or _host_in_touch(vm, facts)


def _nowhere(vm: Vm, facts: Facts) -> str | None:
    if not vm.may_run_on:
        return None
    return (
        f"A domain of VM {vm.oid} may still run on host {_named(vm, *vm.may_run_on)}. If it is in touch, "
        f"its agent settles this within half a minute; if it is lost: fence it or confirm that it is off (onehost "
        f"failover list, onehost failover confirm ID). Or give the VM up: onevm recover --delete {vm.oid}"
    )


def _only_here(vm: Vm, facts: Facts) -> str | None:
    others = [other for other in vm.may_run_on if other != vm.hid]
    if not others:
        return _host_in_touch(vm, facts)
    return (
        f"VM {vm.oid} may run on host {_named(vm, *others)} too: its files stay where they are until that is "
        f"settled. If that host is in touch, its agent settles it within half a minute; if it is lost: fence it or "
        f"confirm that it is off (onehost failover list, onehost failover confirm ID)."
    )


def _host_in_touch(vm: Vm, facts: Facts) -> str | None:
    if not facts.host_lost:
        return None
    where = _named(vm, vm.hid)
    if vm.hid not in vm.may_run_on and facts.local_files:
        return (
            f"Host {where} is lost: VM {vm.oid} does not run there any more, but its disks are there alone. When the "
            f"host is back: onevm resume {vm.oid}. Or anew from its images, without what it has written: "
            f"onevm recover --recreate {vm.oid}"
        )
    if vm.hid not in vm.may_run_on:
        return (
            f"Host {where} is lost: VM {vm.oid} does not run there, and cannot be started there until it is back. All "
            f"hosts see its disks: onevm migrate {vm.oid} HOST, then onevm resume {vm.oid}"
        )
    return (
        f"Host {where} is lost and not proven dead: VM {vm.oid} may still run there and no driver can reach it. "
        f"Fence the host or confirm that it is off (onehost failover list, onehost failover confirm ID) and try again."
    )


def _shutting_softly(vm: Vm, facts: Facts) -> str | None:
    return "The domain is being destroyed." if vm.shutdown_hard else None


def _certain(vm: Vm, facts: Facts) -> str | None:
    return None if facts.certain else "It is not certain what became of the order."


def _moves_by(*actions: HistoryAction) -> Callable[[Vm, Facts], str | None]:
    def check(vm: Vm, facts: Facts) -> str | None:
        moving = vm.current.action if vm.current is not None else HistoryAction.NONE
        return None if moving in actions else "The VM moves another way."

    return check


_without_checkpoint = _moves_by(HistoryAction.POFF_MIGRATE, HistoryAction.POFF_HARD_MIGRATE)


def _destination_lost(vm: Vm, facts: Facts) -> str | None:
    return None if facts.host_lost else "The host that the VM goes to is in touch."


def _without_checkpoint_destination_lost(vm: Vm, facts: Facts) -> str | None:
    return _without_checkpoint(vm, facts) or _destination_lost(vm, facts)


def _source_died_in_doubt(vm: Vm, facts: Facts) -> str | None:
    leaves = facts.dead_hid == vm.previous_hid and facts.dead_hid != vm.hid
    return None if leaves else "Another host died than the one the VM was leaving."


def _no_third(vm: Vm, facts: Facts) -> str | None:
    """Both hosts of a move are accounted for: one is dead, the VM starts at the other."""
    third = [hid for hid in vm.may_run_on if hid not in (vm.hid, vm.previous_hid)]
    return f"A domain may be left on host {_named(vm, *third)}." if third else None


def _source_died(vm: Vm, facts: Facts) -> str | None:
    return _source_died_in_doubt(vm, facts) or _no_third(vm, facts)


def _destination_died(vm: Vm, facts: Facts) -> str | None:
    if facts.dead_hid != vm.hid:
        return "Another host died than the one the VM was going to."
    return _no_third(vm, facts)


def _files_stayed(vm: Vm, facts: Facts) -> str | None:
    if vm.current is None or vm.previous is None:
        return "The VM never was anywhere else."
    carried = facts.local_files and vm.current.hid != vm.previous.hid
    moves = vm.current.ds_id != vm.previous.ds_id or carried
    return None if moves else "The VM's files are where its record says."


def _source_died_with_files(vm: Vm, facts: Facts) -> str | None:
    if not facts.local_files:
        return "All hosts see the VM's files."
    return _source_died_in_doubt(vm, facts)


def _restore_in_doubt(vm: Vm, facts: Facts) -> str | None:
    action = vm.current.action if vm.current is not None else HistoryAction.NONE
    restored = action is HistoryAction.RESUME if vm.position == SUSPENDED else action is not HistoryAction.MONITOR
    return None if restored and vm.hid in vm.may_run_on else "No restore of the VM is in doubt."


def _taken_for_off(vm: Vm, facts: Facts) -> str | None:
    by_monitoring = vm.current is not None and vm.current.action is HistoryAction.MONITOR
    return _only_there(vm, facts) if by_monitoring else "Its user has switched the VM off."


def _left_nowhere(vm: Vm, facts: Facts) -> str | None:
    stopped = (facts.order_hids or (vm.hid,)) if facts.certain else ()
    left = [hid for hid in vm.may_run_on if hid not in stopped]
    return f"A domain of VM {vm.oid} may be left on host {_named(vm, *left)}." if left else None


def _both_died(vm: Vm, facts: Facts) -> str | None:
    same = facts.dead_hid == vm.hid == vm.previous_hid
    return None if same else "Another host died than the one whose datastores the VM was changing."


def _died_last(vm: Vm, facts: Facts) -> str | None:
    others = [hid for hid in vm.may_run_on if hid != facts.dead_hid]
    return f"A domain may be left on host {_named(vm, *others)}." if others else None


def _found_paused(vm: Vm, facts: Facts) -> str | None:
    paused = vm.current is not None and vm.current.action is HistoryAction.MONITOR
    return None if paused else "The VM has a checkpoint."


def _checkpoint_gone(vm: Vm, facts: Facts) -> str | None:
    return None if facts.values.get("CHECKPOINT") == "GONE" else "The VM's checkpoint is there."


def _held(vm: Vm, facts: Facts) -> str | None:
    return None if vm.template.flag("SUBMIT_ON_HOLD") else "The VM was not created on hold."


def _cold_nic_attach(vm: Vm, facts: Facts) -> str | None:
    return None if facts.cold_nic_attach else "The driver does not attach NICs to VMs that are off."


def _only_there(vm: Vm, facts: Facts) -> str | None:
    if facts.target is None or vm.may_run_on != (facts.target.hid,) or facts.target.hid == vm.hid:
        return f"It is not certain that VM {vm.oid} runs there and nowhere else."
    return None


CHECKS: dict[Guard, Callable[[Vm, Facts], str | None]] = {
    Guard.ALWAYS: _always,
    Guard.MOVABLE_STOPPED: _movable_stopped,
    Guard.MOVABLE_UNDEPLOYED: _movable_undeployed,
    Guard.ONLY_HERE: _only_here,
    Guard.LEFT_NOWHERE: _left_nowhere,
    Guard.SOURCE_DIED_IN_DOUBT: _source_died_in_doubt,
    Guard.FILES_STAYED: _files_stayed,
    Guard.SOURCE_DIED_WITH_FILES: _source_died_with_files,
    Guard.RESTORE_IN_DOUBT: _restore_in_doubt,
    Guard.TAKEN_FOR_OFF: _taken_for_off,
    Guard.BOTH_DIED: _both_died,
    Guard.DIED_LAST: _died_last,
    Guard.ON_FRONTEND: _on_frontend,
    Guard.MOVABLE: _movable,
    Guard.MOVABLE_ALIVE: _movable_alive,
    Guard.STARTABLE_HERE: _startable_here,
    Guard.NOWHERE: _nowhere,
    Guard.HOST_IN_TOUCH: _host_in_touch,
    Guard.CERTAIN: _certain,
    Guard.SHUTTING_SOFTLY: _shutting_softly,
    Guard.BY_POWEROFF: _moves_by(HistoryAction.POFF_MIGRATE),
    Guard.BY_POWEROFF_HARD: _moves_by(HistoryAction.POFF_HARD_MIGRATE),
    Guard.WITHOUT_CHECKPOINT: _without_checkpoint,
    Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST: _without_checkpoint_destination_lost,
    Guard.DESTINATION_LOST: _destination_lost,
    Guard.SOURCE_DIED: _source_died,
    Guard.DESTINATION_DIED: _destination_died,
    Guard.FOUND_PAUSED: _found_paused,
    Guard.CHECKPOINT_GONE: _checkpoint_gone,
    Guard.HELD: _held,
    Guard.COLD_NIC_ATTACH: _cold_nic_attach,
    Guard.ONLY_THERE: _only_there,
}
