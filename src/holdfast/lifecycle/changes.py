"""The changes of the transition table, one small function each: ``(vm, facts) -> vm``.

They keep OpenNebula's history records (which time is stamped when, which action closes a record) and ``may_run_on``.
Capacity is not the VM's: TAKE and GIVE are read by :mod:`.decide` and carried out by the engine on the hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.lifecycle import operations
from holdfast.lifecycle.facts import Facts
from holdfast.lifecycle.vocabulary import Change
from holdfast.model.enums import HistoryAction
from holdfast.model.vm import History, Vm

Apply = Callable[[Vm, Facts], Vm]


def _stamp(vm: Vm, **fields: Any) -> Vm:
    """The VM with fields of its newest record changed."""
    if not vm.history:
        return vm
    return replace(vm, history=(*vm.history[:-1], replace(vm.history[-1], **fields)))


def _open_record(vm: Vm, facts: Facts) -> Vm:
    target = facts.target
    assert target is not None, "guarded by STARTABLE"
    record = History(
        seq=vm.history[-1].seq + 1 if vm.history else 0,
        hid=target.hid,
        hostname=target.hostname,
        cid=target.cid,
        ds_id=target.ds_id,
        vm_mad=target.vm_mad,
        tm_mad=target.tm_mad,
        stime=facts.now,
        proof_id=vm.proof_id,
    )
    return replace(vm, history=(*vm.history, record))


def _another_stay(vm: Vm, like: History, facts: Facts, **fields: Any) -> Vm:
    """The VM with one more record, on the host of ``like``."""
    seq = vm.history[-1].seq + 1
    again = History(seq, like.hid, like.hostname, like.cid, like.ds_id, like.vm_mad, like.tm_mad, facts.now)
    return replace(vm, history=(*vm.history, replace(again, **fields)))


def _copied(action: HistoryAction) -> Apply:
    def copy_record(vm: Vm, facts: Facts) -> Vm:
        return _another_stay(_stamp(vm, etime=facts.now), vm.history[-1], facts, action=action)

    return copy_record


def _copied_for_operation(off: bool) -> Apply:
    """The record is closed with the operation, and one with the action it had before goes on."""

    def copy_record(vm: Vm, facts: Facts) -> Vm:
        old = vm.history[-1]
        action = HistoryAction[facts.operation.action.upper().replace("-", "_")]
        who = {"uid": facts.actor.uid, "gid": facts.actor.gid}
        closed = _stamp(vm, etime=facts.now, retime=old.retime or facts.now, action=action, **who)
        retime = facts.now if off else 0
        fields = {"rstime": facts.now, "retime": retime, "action": old.action, "uid": old.uid, "gid": old.gid}
        return _another_stay(closed, old, facts, **fields)

    return copy_record


def _reopened(running: bool) -> Apply:
    """One more stay on the host of the record before the current one, where a failed move began."""

    def reopen_source(vm: Vm, facts: Facts) -> Vm:
        stamp = {"rstime": facts.now} if running else {"pstime": facts.now}
        return _another_stay(vm, vm.previous or vm.history[-1], facts, proof_id=vm.proof_id, **stamp)

    return reopen_source


def _close_record(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, etime=facts.now) if vm.current and not vm.current.etime else vm


def _close_record_now(vm: Vm, facts: Facts) -> Vm:
    """A start from the front-end that failed once more ends its stay once more."""
    return _stamp(vm, etime=facts.now)


def _stay_goes_on(vm: Vm, facts: Facts) -> Vm:
    """A start from the front-end that failed had ended the stay; the VM is still there."""
    return _stamp(vm, etime=0)


def _stamp_previous(vm: Vm, **fields: Any) -> Vm:
    """The VM with fields of the record before the newest one changed."""
    if vm.previous is None:
        return vm
    return replace(vm, history=(*vm.history[:-2], replace(vm.previous, **fields), vm.history[-1]))


def _close_previous(vm: Vm, facts: Facts) -> Vm:
    return _stamp_previous(vm, etime=facts.now, retime=facts.now)


def _close_previous_if_open(vm: Vm, facts: Facts) -> Vm:
    return vm if vm.previous is None or vm.previous.etime else _close_previous(vm, facts)


def _prolog_starts(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, pstime=facts.now)


def _prolog_ends(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, petime=facts.now)


def _run_starts(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, rstime=facts.now)


def _run_ends(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, retime=facts.now)


def _run_ends_if_open(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, retime=facts.now) if vm.current and vm.current.rstime and not vm.current.retime else vm


def _leg_ends(vm: Vm, facts: Facts) -> Vm:
    """What was under way when the VM is removed ends now; an epilog does not: EETIME says that the files moved."""
    if vm.current is None or vm.lcm_state.name.startswith("EPILOG"):
        return vm
    if vm.lcm_state.name.startswith("PROLOG"):
        return _stamp(vm, petime=vm.current.petime or facts.now)
    return _stamp(vm, retime=vm.current.retime or facts.now)


def _epilog_starts(vm: Vm, facts: Facts) -> Vm:
    ended = vm.current is not None and (vm.current.retime or vm.current.etime)
    return _stamp(vm, estime=facts.now) if ended else _stamp(vm, estime=facts.now, retime=facts.now)


def _epilog_ends(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, eetime=facts.now)


def _booted(vm: Vm, facts: Facts) -> Vm:
    booted = _stamp(vm, action=HistoryAction.NONE, uid=-1, gid=-1, etime=0, retime=0)
    return replace(booted, proof_id=-1, deploy_id=facts.deploy_id or vm.deploy_id or f"one-{vm.oid}")


def _may_run_here(vm: Vm, facts: Facts) -> Vm:
    return vm if vm.hid in vm.may_run_on else replace(vm, may_run_on=(*vm.may_run_on, vm.hid))


def _without(vm: Vm, hid: int) -> Vm:
    return replace(vm, may_run_on=tuple(other for other in vm.may_run_on if other != hid))


def _stopped_here(vm: Vm, facts: Facts) -> Vm:
    for hid in (facts.order_hids or (vm.hid,)) if facts.certain else ():
        vm = _without(vm, hid)
    return vm


def _stopped_at_source(vm: Vm, facts: Facts) -> Vm:
    return _without(vm, vm.previous_hid) if facts.certain and vm.previous_hid != vm.hid else vm


def _stopped_at_destination(vm: Vm, facts: Facts) -> Vm:
    return _without(vm, vm.hid) if facts.certain and vm.previous_hid != vm.hid else vm


def _proven_stopped(vm: Vm, facts: Facts) -> Vm:
    """Whatever starts on the VM's own host from now on, if that is another one, rests on this proof."""
    after = replace(_without(vm, facts.dead_hid), proof_id=facts.proof_id)
    return _stamp(after, proof_id=facts.proof_id) if vm.hid != facts.dead_hid else after


def _flag(**fields: Any) -> Apply:
    return lambda vm, facts: replace(vm, **fields)


def _action(action: HistoryAction) -> Apply:
    return lambda vm, facts: _stamp(vm, action=action, uid=facts.actor.uid, gid=facts.actor.gid)


def _action_of_previous(action: HistoryAction) -> Apply:
    return lambda vm, facts: _stamp_previous(vm, action=action, uid=facts.actor.uid, gid=facts.actor.gid)


def _action_of_both(action: HistoryAction) -> Apply:
    def act(vm: Vm, facts: Facts) -> Vm:
        return _action(action)(_action_of_previous(action)(vm, facts), facts)

    return act


def _action_as_parked(vm: Vm, facts: Facts) -> Vm:
    """The record of a start from the front-end that came to nothing: the files are still there."""
    parked = vm.previous
    if parked is None:
        return vm
    return _stamp(vm, action=parked.action, eetime=facts.now, ds_id=parked.ds_id, tm_mad=parked.tm_mad)


def _drop_snapshots(vm: Vm, facts: Facts) -> Vm:
    """A VM that is made anew has no snapshots, except those in its persistent images."""
    kept = {int(disk["DISK_ID"]) for disk in vm.template.sections("DISK") if disk.get("SAVE", "").upper() == "YES"}
    trees = tuple(tree for tree in vm.snapshots if tree.disk_id in kept)
    return replace(vm, template=vm.template.without("SNAPSHOT"), snapshots=trees)


def _end(vm: Vm, facts: Facts) -> Vm:
    return replace(vm, etime=facts.now, deploy_id="")


def _engines_work(vm: Vm, facts: Facts) -> Vm:
    return vm


APPLY: dict[Change, Apply] = {
    Change.OPEN_RECORD: _open_record,
    Change.COPY_RECORD: _copied(HistoryAction.NONE),
    Change.COPY_RECORD_RESUME: _copied(HistoryAction.RESUME),
    Change.COPY_RECORD_OPERATION: _copied_for_operation(off=False),
    Change.COPY_RECORD_OPERATION_OFF: _copied_for_operation(off=True),
    Change.REOPEN_SOURCE: _reopened(running=False),
    Change.REOPEN_SOURCE_RUNNING: _reopened(running=True),
    Change.CLOSE_RECORD: _close_record,
    Change.CLOSE_RECORD_NOW: _close_record_now,
    Change.STAY_GOES_ON: _stay_goes_on,
    Change.CLOSE_PREVIOUS: _close_previous,
    Change.CLOSE_PREVIOUS_IF_OPEN: _close_previous_if_open,
    Change.TAKE_CAPACITY: _engines_work,
    Change.GIVE_CAPACITY: _engines_work,
    Change.GIVE_DESTINATION: _engines_work,
    Change.GIVE_PREVIOUS: _engines_work,
    Change.PROLOG_STARTS: _prolog_starts,
    Change.PROLOG_ENDS: _prolog_ends,
    Change.RUN_STARTS: _run_starts,
    Change.RUN_ENDS: _run_ends,
    Change.RUN_ENDS_IF_OPEN: _run_ends_if_open,
    Change.LEG_ENDS: _leg_ends,
    Change.EPILOG_STARTS: _epilog_starts,
    Change.EPILOG_ENDS: _epilog_ends,
    Change.BOOTED: _booted,
    Change.MAY_RUN_HERE: _may_run_here,
    Change.STOPPED_HERE: _stopped_here,
    Change.STOPPED_AT_SOURCE: _stopped_at_source,
    Change.STOPPED_AT_DESTINATION: _stopped_at_destination,
    Change.PROVEN_STOPPED: _proven_stopped,
    Change.SET_RESCHED: _flag(resched=True),
    Change.DROP_RESCHED: _flag(resched=False),
    Change.SOFTLY: _flag(shutdown_hard=False),
    Change.HARDLY: _flag(shutdown_hard=True),
    Change.ACTION_MIGRATE: _action(HistoryAction.MIGRATE),
    Change.ACTION_MIGRATE_BOTH: _action_of_both(HistoryAction.MIGRATE),
    Change.ACTION_POFF_MIGRATE_BOTH: _action_of_both(HistoryAction.POFF_MIGRATE),
    Change.ACTION_POFF_HARD_MIGRATE_BOTH: _action_of_both(HistoryAction.POFF_HARD_MIGRATE),
    Change.ACTION_LIVE_MIGRATE_PREVIOUS: _action_of_previous(HistoryAction.LIVE_MIGRATE),
    Change.ACTION_SUSPEND: _action(HistoryAction.SUSPEND),
    Change.ACTION_STOP: _action(HistoryAction.STOP),
    Change.ACTION_UNDEPLOY: _action(HistoryAction.UNDEPLOY),
    Change.ACTION_UNDEPLOY_HARD: _action(HistoryAction.UNDEPLOY_HARD),
    Change.ACTION_POWEROFF: _action(HistoryAction.POWEROFF),
    Change.ACTION_POWEROFF_HARD: _action(HistoryAction.POWEROFF_HARD),
    Change.ACTION_TERMINATE: _action(HistoryAction.TERMINATE),
    Change.ACTION_TERMINATE_HARD: _action(HistoryAction.TERMINATE_HARD),
    Change.ACTION_DELETE: _action(HistoryAction.DELETE),
    Change.ACTION_RECREATE: _action(HistoryAction.DELETE_RECREATE),
    Change.ACTION_MONITOR: _action(HistoryAction.MONITOR),
    Change.CLEAR_ACTION: lambda vm, facts: _stamp(vm, action=HistoryAction.NONE, uid=-1, gid=-1),
    Change.ACTION_AS_PARKED: _action_as_parked,
    Change.BEGIN_OPERATION: lambda vm, facts: operations.begin(vm, facts.operation),
    Change.COMPLETE_OPERATION: lambda vm, facts: operations.complete(vm, facts.values),
    Change.UNDO_OPERATION: lambda vm, facts: operations.undo(vm),
    Change.DROP_SNAPSHOTS: _drop_snapshots,
    Change.FORGET_DEPLOY_ID: _flag(deploy_id=""),
    Change.END: _end,
    Change.FORGET: _flag(may_run_on=()),
}
