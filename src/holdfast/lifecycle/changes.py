"""The changes of the transition table, one small function each: ``(vm, facts) -> vm``.

They keep OpenNebula's history records (which time is stamped when, which action closes a record) and ``may_run_on``.
Capacity is not the VM's: TAKE and GIVE are read by :mod:`.decide` and carried out by the engine on the hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.lifecycle.facts import Facts
from holdfast.lifecycle.vocabulary import Change
from holdfast.model.enums import HistoryAction
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import VmState

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
        action=HistoryAction.NONE if vm.state in (VmState.PENDING, VmState.HOLD) else HistoryAction.MIGRATE,
        proof_id=facts.proof_id,
    )
    return replace(vm, history=(*vm.history, record))


def _copied(action: HistoryAction) -> Apply:
    def copy_record(vm: Vm, facts: Facts) -> Vm:
        old = vm.history[-1]
        closed = replace(old, etime=facts.now)
        fresh = History(
            old.seq + 1, old.hid, old.hostname, old.cid, old.ds_id, old.vm_mad, old.tm_mad, facts.now, action=action
        )
        return replace(vm, history=(*vm.history[:-1], closed, fresh))

    return copy_record


def _reopen_previous(vm: Vm, facts: Facts) -> Vm:
    """One more stay on the host of the record before the current one, where a failed move began."""
    old = vm.history[-2] if len(vm.history) > 1 else vm.history[-1]
    seq = vm.history[-1].seq + 1
    again = History(seq, old.hid, old.hostname, old.cid, old.ds_id, old.vm_mad, old.tm_mad, facts.now, pstime=facts.now)
    return replace(vm, history=(*vm.history, again))


def _close_record(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, etime=facts.now) if vm.current and not vm.current.etime else vm


def _close_record_moved(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, retime=facts.now, etime=facts.now, action=HistoryAction.MIGRATE)


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


def _epilog_starts(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, estime=facts.now, retime=(vm.current.retime if vm.current else 0) or facts.now)


def _epilog_ends(vm: Vm, facts: Facts) -> Vm:
    return _stamp(vm, eetime=facts.now)


def _booted(vm: Vm, facts: Facts) -> Vm:
    booted = _stamp(vm, action=HistoryAction.NONE, uid=-1, gid=-1, etime=0, retime=0)
    return replace(booted, deploy_id=facts.deploy_id or vm.deploy_id or f"one-{vm.oid}")


def _may_run_here(vm: Vm, facts: Facts) -> Vm:
    return vm if vm.hid in vm.may_run_on else replace(vm, may_run_on=(*vm.may_run_on, vm.hid))


def _without(vm: Vm, hid: int) -> Vm:
    return replace(vm, may_run_on=tuple(other for other in vm.may_run_on if other != hid))


def _stopped_here(vm: Vm, facts: Facts) -> Vm:
    return _without(vm, vm.hid) if facts.certain else vm


def _proven_stopped(vm: Vm, facts: Facts) -> Vm:
    return _without(vm, facts.dead_hid)


def _flag(**fields: Any) -> Apply:
    return lambda vm, facts: replace(vm, **fields)


def _action(action: HistoryAction) -> Apply:
    return lambda vm, facts: _stamp(vm, action=action, uid=facts.actor.uid, gid=facts.actor.gid)


def _end(vm: Vm, facts: Facts) -> Vm:
    return replace(vm, etime=facts.now, deploy_id="", may_run_on=())


def _engines_work(vm: Vm, facts: Facts) -> Vm:
    return vm


APPLY: dict[Change, Apply] = {
    Change.OPEN_RECORD: _open_record,
    Change.COPY_RECORD: _copied(HistoryAction.NONE),
    Change.COPY_RECORD_RESUME: _copied(HistoryAction.RESUME),
    Change.REOPEN_PREVIOUS: _reopen_previous,
    Change.CLOSE_RECORD: _close_record,
    Change.CLOSE_RECORD_MOVED: _close_record_moved,
    Change.TAKE_CAPACITY: _engines_work,
    Change.GIVE_CAPACITY: _engines_work,
    Change.PROLOG_STARTS: _prolog_starts,
    Change.PROLOG_ENDS: _prolog_ends,
    Change.RUN_STARTS: _run_starts,
    Change.RUN_ENDS: _run_ends,
    Change.RUN_ENDS_IF_OPEN: _run_ends_if_open,
    Change.EPILOG_STARTS: _epilog_starts,
    Change.EPILOG_ENDS: _epilog_ends,
    Change.BOOTED: _booted,
    Change.MAY_RUN_HERE: _may_run_here,
    Change.STOPPED_HERE: _stopped_here,
    Change.STOPPED_IF_CERTAIN: _stopped_here,
    Change.PROVEN_STOPPED: _proven_stopped,
    Change.SET_RESCHED: _flag(resched=True),
    Change.DROP_RESCHED: _flag(resched=False),
    Change.SOFTLY: _flag(shutdown_hard=False),
    Change.HARDLY: _flag(shutdown_hard=True),
    Change.ACTION_POWEROFF: _action(HistoryAction.POWEROFF),
    Change.ACTION_POWEROFF_HARD: _action(HistoryAction.POWEROFF_HARD),
    Change.ACTION_TERMINATE: _action(HistoryAction.TERMINATE),
    Change.ACTION_TERMINATE_HARD: _action(HistoryAction.TERMINATE_HARD),
    Change.ACTION_DELETE: _action(HistoryAction.DELETE),
    Change.ACTION_RECREATE: _action(HistoryAction.DELETE_RECREATE),
    Change.ACTION_MONITOR: _action(HistoryAction.MONITOR),
    Change.CLEAR_ACTION: lambda vm, facts: _stamp(vm, action=HistoryAction.NONE, uid=-1, gid=-1),
    Change.FORGET_DEPLOY_ID: _flag(deploy_id=""),
    Change.END: _end,
}
