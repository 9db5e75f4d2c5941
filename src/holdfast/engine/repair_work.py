"""What happens to the repair of a failed transfer by itself: its line ends, its VM goes another way.

When its holder was last heard is volatile (``work.presence``, by VM): it is kept beside the state like the beacons of
hosts, and begins anew with the controller.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.notices import Repaired
from holdfast.engine.work import Work
from holdfast.lifecycle import repair as rules
from holdfast.lifecycle.repair import Presence
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectState
from holdfast.model.repair import NOBODY, Repair, RepairResult
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState


def presence_of(work: Work, repair: Repair | None) -> Presence:
    """Whether the holder of the repair is still there."""
    since = repair.holder.since if repair is not None else 0.0
    heard_at = max(since, work.presence.get(repair.oid, 0.0)) if repair is not None else 0.0
    return Presence(heard_at, work.now, work.settings.repair_lapse_s)


def insist_on_free_hands(work: Work, vm_id: int, stops_line: bool = False) -> None:
    """Another operation on the VM is possible now, as far as its repair goes; raises ActionError."""
    repair = work.find(Repair, vm_id)
    rules.insist_on_free_hands(repair, presence_of(work, repair), stops_line)


def answered(work: Work, effect: Effect, answer: Answer) -> None:
    """The line that ran has ended."""
    repair = work.find(Repair, effect.subject)
    if repair is None or repair.effect_id != effect.oid:
        return
    output = answer.values.get("OUTPUT", "") or ("" if answer.ok else f"LOG E  {answer.message}")
    keep(work, rules.line_ended(repair, _result(answer), output, work.now))


def _result(answer: Answer) -> RepairResult:
    if answer.ok:
        return RepairResult.SUCCESS
    return RepairResult.FAILURE if answer.certain else RepairResult.UNKNOWN


def keep(work: Work, repair: Repair) -> None:
    """Stages the repair, and what its VM tells about it."""
    _log(work, work.find(Repair, repair.oid), repair)
    work.draft.put(repair)
    vm = work.find(Vm, repair.oid)
    if vm is not None:
        _tell(work, vm, repair)


def _log(work: Work, before: Repair | None, after: Repair) -> None:
    """What is new in the repair goes into the VM's log."""
    known = set(before.records) if before is not None else set()
    for record in after.records:
        if record not in known:
            work.notices.append(Repaired(after.oid, rules.deed_text(after, record)))
    holder = before.holder if before is not None else NOBODY
    if holder != after.holder:
        said = f"begun by {after.holder}" if after.is_held else f"left by {holder}"
        work.notices.append(Repaired(after.oid, f"Repair of {after.file} {said}"))


def _tell(work: Work, vm: Vm, repair: Repair) -> Vm:
    """The VM's user template says what goes on, and warns of lines that were left out."""
    said = rules.summary(repair)
    if vm.user_template.get("REPAIR") == said:
        return vm
    template = vm.user_template.replaced({"REPAIR": said}) if said else vm.user_template.without("REPAIR")
    after = replace(vm, user_template=template)
    work.draft.put(after)
    return after


def follow(work: Work, before: Vm, after: Vm) -> Vm:
    """A VM that leaves its failure leaves its repair; what ran for it is stopped before anything else begins."""
    repair = work.find(Repair, after.oid)
    if repair is None:
        return after
    if not repair.ended and (after.position != before.position or after.effect_id != before.effect_id):
        why = f"VM {after.oid} went on to {after.state_name} ({work.actor.name})"
        work.close(repair.effect_id, EffectState.SUPERSEDED, why)
        ended = rules.over(repair, why, work.now)
        _log(work, repair, ended)
        repair = ended
        work.draft.put(repair)
        after = _tell(work, after, repair)
    if after.state is VmState.DONE:
        work.draft.delete(Repair, repair.oid)
    return after
