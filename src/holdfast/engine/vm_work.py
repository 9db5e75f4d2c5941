"""Takes a VM through one event of its lifecycle: decision, capacity, effects, images, and its row in a failover."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import repair_work, rows
from holdfast.engine.image_work import release_detached, release_images
from holdfast.engine.messages import dated
from holdfast.engine.notices import Moved
from holdfast.engine.work import Work
from holdfast.failover.selection import stuck_on_the_way
from holdfast.lifecycle import Decision, Facts, Target, VmEvent, decide
from holdfast.lifecycle.decide import EffectRequest, is_available
from holdfast.lifecycle.whereabouts import source_of_files
from holdfast.model.enums import EffectKind, EffectState, HistoryAction
from holdfast.model.errors import ActionError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)


def facts_of(work: Work, vm: Vm, **more: object) -> Facts:
    """The circumstances of an event for this VM, now."""
    here = Facts(work.second, work.actor, host_lost=_is_lost(work, vm.hid), local_files=has_local_files(work, vm))
    return replace(here, **more)  # type: ignore[arg-type]


def _is_lost(work: Work, hid: int) -> bool:
    host = work.find(Host, hid) if hid >= 0 else None
    return hid >= 0 and (host is None or host.error_since > 0)


def has_local_files(work: Work, vm: Vm) -> bool:
    """Whether nobody but the VM's own host has its files."""
    system = work.find(Datastore, vm.current.ds_id) if vm.current and not vm.is_parked else None
    return system is not None and not system.shared


def files_are_lost(work: Work, vm: Vm) -> bool:
    """Whether its host is lost, and the VM's files with it."""
    return has_local_files(work, vm) and _is_lost(work, vm.hid)


def left_on_the_way(work: Work, vm: Vm) -> str:
    """What to do about a VM whose files were leaving a host that is lost now; empty for any other VM."""
    source = source_of_files(vm)
    system = work.find(Datastore, vm.previous.ds_id) if source >= 0 and vm.previous else None
    if system is None or system.shared or not _is_lost(work, source):
        return ""
    return stuck_on_the_way(vm, system)


def happen(work: Work, vm: Vm, event: VmEvent, facts: Facts) -> Vm:
    """``event`` happens to ``vm``; raises ActionError when its state does not allow it.  Answers the new version."""
    decision = decide(vm, event, facts)
    after = _carry_out(work, vm, decision, facts)
    if after.state is VmState.DONE and vm.state is not VmState.DONE:
        release_images(work, after, failed=_is_failed(vm) or bool(vm.may_run_on))
    elif vm.operation != after.operation:
        release_detached(work, vm, after, facts.certain)
    after = repair_work.follow(work, vm, after)
    rows.follow(work, vm, after)
    return after


def happen_if_possible(work: Work, vm: Vm, event: VmEvent, facts: Facts) -> Vm:
    """As :func:`happen`, but an event that has no row for the VM's position leaves it as it is."""
    if not is_available(vm, event):
        return vm
    return happen(work, vm, event, facts)


def lost_with_its_host(work: Work, vm: Vm) -> Vm:
    """A VM that is RUNNING again, on a host that was lost meanwhile, is UNKNOWN like all others there."""
    if vm.lcm_state is not LcmState.RUNNING:
        return vm
    facts = facts_of(work, vm)
    return happen_if_possible(work, vm, VmEvent.HOST_ERROR, facts) if facts.host_lost else vm


def _carry_out(work: Work, vm: Vm, decision: Decision, facts: Facts) -> Vm:
    after = decision.vm
    if vm.position != after.position:
        work.notices.append(Moved(vm.oid, vm.position, after.position))
    if decision.cancels:
        work.close(vm.effect_id, EffectState.SUPERSEDED, "superseded by a newer event")
    for hid in decision.gives:
        work.give_capacity(hid, vm)
    if decision.takes is not None:
        work.take_capacity(decision.takes, after)
    if (vm.cpu_percent, vm.memory_kb) != (after.cpu_percent, after.memory_kb):
        for hid in {after.hid, after.previous_hid}:
            work.resize_capacity(hid, vm, after)
    if decision.effect is not None:
        after = _order(work, vm, after, decision.effect)
    work.draft.put(after)
    return after


def _order(work: Work, before: Vm, vm: Vm, request: EffectRequest) -> Vm:
    """Writes the decision's effect into the journal."""
    if request.kind in STARTS:
        _insist_on_single_start(vm, request.hid)
    record = vm.current
    effect = work.plan(
        request.kind,
        vm.oid,
        request.hid,
        {**request.args, "AGAIN": "YES" if _goes_to(request) in before.may_run_on else "NO", **_out_of_reach(work, vm)},
        vm.proof_id if vm.proof_id >= 0 or record is None else record.proof_id,
        request.limit_s if request.kind not in work.settings.deadlines_s else None,
    )
    return replace(vm, effect_id=effect.oid) if request.awaited else vm


def _out_of_reach(work: Work, vm: Vm) -> dict[str, str]:
    """LOST: the hosts that have files of the VM and are lost, so that no driver asks them for anything."""
    if not has_local_files(work, vm):
        return {}
    lost = [record.hostname for record in (vm.current, vm.previous) if record and _is_lost(work, record.hid)]
    return {"LOST": " ".join(dict.fromkeys(lost))} if lost else {}


def _goes_to(request: EffectRequest) -> int:
    """The host on which the order may create a domain."""
    return int(request.args["OTHER_HID"]) if request.kind is EffectKind.VMM_MIGRATE else request.hid


def _insist_on_single_start(vm: Vm, hid: int) -> None:
    """Promise 1, checked once more where the start is ordered."""
    others = [other for other in vm.may_run_on if other != hid]
    if others:
        raise ActionError(f"VM {vm.oid} may still run on host {others}: no start on host {hid} without proof of death.")


def _is_failed(before: Vm) -> bool:
    """Whether OpenNebula would put the VM's persistent images into ERROR: it was deleted while ACTIVE."""
    deleted = before.current is not None and before.current.action is HistoryAction.DELETE
    return before.lcm_state is LcmState.CLEANUP_DELETE and deleted


def target_on(host: Host, ds_id: int, tm_mad: str) -> Target:
    """A place on ``host`` with its files on datastore ``ds_id``."""
    return Target(host.oid, host.name, host.cluster_id, ds_id, host.vm_mad, tm_mad)


def with_error(work: Work, vm: Vm, said: str) -> Vm:
    """The VM with a dated ERROR in its user template, or without when nothing is said."""
    return with_message(work, vm, "ERROR", dated(said, work.now, work.settings.time_zone) if said else "")


def with_message(work: Work, vm: Vm, name: str, message: str) -> Vm:
    """The VM with a message in its user template (SCHED_MESSAGE), or without when it is empty."""
    template = vm.user_template
    changed = template.replaced({name: message}) if message else template.without(name)
    if changed == template:
        return vm
    after = replace(vm, user_template=changed)
    work.draft.put(after)
    return after
