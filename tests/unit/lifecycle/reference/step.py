"""Takes a VM through one event of ``decide``, and on through the answers of the drivers, as the engine would."""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.lifecycle import Decision, Facts, Target, VmEvent, decide
from holdfast.lifecycle.events import ANSWERS
from holdfast.lifecycle.positions import CLEANUP_DELETE, CLEANUP_RESUBMIT, DONE, ON_TWO_HOSTS, OPERATION_HOME, RUNNING
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError
from holdfast.model.user import HOLDFAST, Actor
from holdfast.model.vm import NO_OPERATION, Vm
from holdfast.model.vm_states import VmState
from tests.unit.lifecycle.reference.subjects import NOW, OPERATIONS, THERE

OPERATOR = Actor(3, 4, "ann")
TARGET = Target(THERE, f"host{THERE}", 0, 0, "kvm", "shared")
ANSWERED = {event for pair in ANSWERS.values() for event in pair}
UNASKED = {
    *ANSWERED,
    *(event for event in VmEvent if event.value.startswith(("seen", "host", "images"))),
}
UNMARKED = ("disk-saveas", "backup", "restore", "updateconf")
LONGEST_CHAIN = 6
"""More answers than any workflow needs."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event did to a VM: a decision, or the sentence that refuses."""

    before: Vm
    event: VmEvent
    facts: Facts
    decision: Decision | None
    refusal: str = ""
    code: int = 0

    @property
    def after(self) -> Vm:
        """The VM after the event; unchanged when it was refused."""
        return self.decision.vm if self.decision else self.before


def facts_for(vm: Vm, event: VmEvent) -> Facts:
    """The circumstances of an event while all hosts are well: a place to go to, what a user asks for, the time.

    An operator who says how a step ended is not certain of what became of the domain; a driver is.  Nobody asked for
    what drivers answer or monitoring sees.
    """
    return Facts(
        NOW,
        HOLDFAST if event in UNASKED else OPERATOR,
        TARGET,
        order_hids=_ordered_on(vm) if event in ANSWERED else (),
        certain=not event.value.startswith("recover"),
        operation=OPERATIONS.get(event.value, NO_OPERATION),
        deploy_id=f"one-{vm.oid}" if event is VmEvent.BOOT_OK else "",
    )


def _ordered_on(vm: Vm) -> tuple[int, ...]:
    """Where the driver works whose answer the VM waits for."""
    if vm.position in ON_TWO_HOSTS:
        return (vm.previous_hid,)
    if vm.position in (CLEANUP_DELETE, CLEANUP_RESUBMIT):
        return vm.may_run_on
    return (vm.hid,)


def take(vm: Vm, event: VmEvent, facts: Facts | None = None) -> Step:
    """The VM taken through the event."""
    facts = facts or facts_for(vm, event)
    try:
        return Step(vm, event, facts, decide(vm, event, facts))
    except ActionError as refusal:
        return Step(vm, event, facts, None, refusal.message, refusal.code)


def follow(step: Step, ok: bool) -> Vm:
    """The VM at rest: the first driver answers as ``ok`` says, whoever works after it succeeds."""
    for _ in range(LONGEST_CHAIN):
        effect = step.decision.effect if step.decision else None
        if effect is None or not effect.awaited:
            return _with_images(step, ok)
        event = ANSWERS[effect.kind][0 if ok else 1]
        certain = ok or effect.kind is not EffectKind.VMM_CLEANUP
        vm = step.after
        step = take(vm, event, replace(facts_for(vm, event), certain=certain))
        assert step.decision is not None, f"{event.value} after {effect.kind.value}: {step.refusal}"
        ok = True
    raise AssertionError(f"VM {step.after.state_name} goes on for ever")


def _with_images(step: Step, ok: bool) -> Vm:
    """A VM that waits for its images gets them, or not."""
    vm = step.after
    if vm.state not in (VmState.CLONING, VmState.CLONING_FAILURE) or step.event not in (
        VmEvent.RECOVER_SUCCESS,
        VmEvent.RECOVER_FAILURE,
    ):
        return vm
    return take(vm, VmEvent.IMAGES_READY if ok else VmEvent.IMAGES_FAILED).after


def rest_differences(step: Step) -> list[str]:
    """Whatever a row says: what is under way where positions stand for it, what may run, and what is over."""
    vm = step.after
    said = []
    if step.event.value in OPERATIONS and vm.position in OPERATION_HOME:
        said += _begun_differences(step)
    if vm.operation != NO_OPERATION and vm.position not in (*OPERATION_HOME, DONE):
        said.append(f"{vm.operation.action} is still under way")
    if vm.position == RUNNING and vm.hid not in vm.may_run_on:
        said.append("it runs where nobody knows that it may")
    if vm.position == DONE and step.before.position != DONE and (vm.etime, vm.may_run_on) != (NOW, ()):
        said.append("it is DONE, but not over")
    return said


def _begun_differences(step: Step) -> list[str]:
    """An operation that begins is known by its name and leaves a mark, if it changes the record at all."""
    before, after = step.before, step.after
    if after.operation != step.facts.operation:
        return [f"{after.operation.action or 'nothing'} is under way"]
    marked = (after.template, after.snapshots) != (before.template, before.snapshots)
    return [] if marked or step.event.value in UNMARKED else ["the record shows nothing of it"]
