"""Applies the transition table to one VM and one event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from holdfast.lifecycle.changes import APPLY
from holdfast.lifecycle.deadlines import DEADLINE_S
from holdfast.lifecycle.events import OPERATIONS, USER_ACTIONS, VmEvent
from holdfast.lifecycle.facts import Facts, Target
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.positions import BETWEEN_HOST_AND_FRONTEND, CLEANUP_DELETE, CLEANUP_RESUBMIT
from holdfast.lifecycle.row import At, Row
from holdfast.lifecycle.table import BY_POSITION
from holdfast.lifecycle.vocabulary import Change
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError
from holdfast.model.vm import Operation, Vm
from holdfast.model.vm_states import VmState

__all__ = ["Decision", "EffectRequest", "Facts", "Target", "decide", "is_available"]

AWAITED = frozenset(EffectKind) - {EffectKind.VMM_REBOOT, EffectKind.VMM_RESET}
"""Effects whose answer moves the VM on; the others are sent and only their failure is noted."""


@dataclass(frozen=True, slots=True)
class EffectRequest:
    """What the driver is to do, within ``limit_s``."""

    kind: EffectKind
    hid: int
    limit_s: float
    args: Mapping[str, str] = field(default_factory=dict)
    awaited: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What one event does to one VM.

    ``gives`` and ``takes`` are the hosts whose capacity changes hands; ``cancels`` says that an open effect of the VM
    is superseded: its answer will change nothing.
    """

    vm: Vm
    effect: EffectRequest | None = None
    gives: tuple[int, ...] = ()
    takes: int | None = None
    cancels: bool = False


def is_available(vm: Vm, event: VmEvent) -> bool:
    """Whether the table has a row for the VM's position and this event, whatever its guard says."""
    return (vm.position, event) in BY_POSITION


def decide(vm: Vm, event: VmEvent, facts: Facts) -> Decision:
    """What ``event`` does to ``vm``; raises ActionError when its state or a guard does not allow it."""
    row = _row(vm, event, facts)
    after = vm
    for change in row.changes:
        after = APPLY[change](after, facts)
    takes = after.hid if Change.TAKE_CAPACITY in row.changes else None
    after = _moved(vm, after, row)
    effect = _effect(vm, after, row)
    cancels = vm.effect_id >= 0 and (row.to is not None or effect is not None)
    if cancels:
        after = replace(after, effect_id=-1)
    return Decision(after, effect, _gives(vm, row), takes, cancels)


def _gives(vm: Vm, row: Row) -> tuple[int, ...]:
    """Hosts that get the VM's capacity back; one that it leaves and goes to is none of them."""
    elsewhere = vm.hid != vm.previous_hid
    given = []
    if Change.GIVE_CAPACITY in row.changes or (Change.GIVE_DESTINATION in row.changes and elsewhere):
        given.append(vm.hid)
    if Change.GIVE_PREVIOUS in row.changes and elsewhere:
        given.append(vm.previous_hid)
    return tuple(given)


def _row(vm: Vm, event: VmEvent, facts: Facts) -> Row:
    refusal = ""
    for row in BY_POSITION.get((vm.position, event), ()):
        said = CHECKS[row.guard](vm, facts)
        if said is None:
            return row
        refusal = said
    raise ActionError(refusal or _not_available(vm, event))


def _not_available(vm: Vm, event: VmEvent) -> str:
    """OpenNebula's words for an action in a wrong state."""
    state = vm.state_name
    if event in (VmEvent.TERMINATE, VmEvent.TERMINATE_HARD):
        return f'Error performing action "{event.value}": Could not terminate VM {vm.oid}, wrong state {state}.'
    if event.value in USER_ACTIONS:
        return f'Error performing action "{event.value}": This action is not available for state {state}'
    if event is VmEvent.DEPLOY or event.value.startswith("migrate"):
        return f"{event.value.partition(' ')[0].capitalize()} action is not available for state {state}"
    if event is VmEvent.RECOVER_RETRY:
        return f"Could not perform a retry on VM {vm.oid}, wrong state {state}."
    if event is VmEvent.RECOVER_RECREATE and vm.state is VmState.DONE:
        return "Cannot delete-recreate a VM already in DONE state"
    if event.value.startswith("recover"):
        return f"Could not perform a recover operation on VM {vm.oid}, wrong state {state}."
    return f"{event.value} is not possible in state {state}."


def _moved(before: Vm, after: Vm, row: Row) -> Vm:
    if row.to is None or row.to == before.position:
        return after
    state, lcm_state = row.to
    return replace(after, state=state, lcm_state=lcm_state, prev_state=before.state, prev_lcm_state=before.lcm_state)


def _effect(before: Vm, vm: Vm, row: Row) -> EffectRequest | None:
    if row.effect is None:
        return None
    record = vm.previous if row.at is At.PREVIOUS and vm.previous is not None else vm.current
    hosts = _hosts(vm, row)
    args = {
        "HARD": "YES" if vm.shutdown_hard else "NO",
        "SEQ": str(record.seq if record is not None else 0),
        "OTHER_HID": str(hosts[1] if len(hosts) > 1 else -1),
        "LOCAL": "YES" if vm.is_parked and row.effect.value.startswith("tm.") else "NO",
    }
    if row.effect is EffectKind.TM_DELETE and _is_between_host_and_frontend(before):
        args["FRONTEND"] = "YES"
    if row.effect in OPERATIONS:
        args = {**vm.operation.values, **args, **_named(vm.operation)}
    return EffectRequest(row.effect, hosts[0], DEADLINE_S[row.effect], args, row.effect in AWAITED)


def _is_between_host_and_frontend(vm: Vm) -> bool:
    """Its files are half way; a clean-up that began with the domain remembers from where it came."""
    came_from = (vm.prev_state, vm.prev_lcm_state)
    at = came_from if vm.position in (CLEANUP_DELETE, CLEANUP_RESUBMIT) else vm.position
    return at in BETWEEN_HOST_AND_FRONTEND


def _hosts(vm: Vm, row: Row) -> tuple[int, ...]:
    """The host that the effect is about, and the second one if there is one."""
    if row.at is At.WHERE_IT_MAY_RUN and vm.may_run_on:
        return tuple(sorted(vm.may_run_on, key=lambda hid: hid != vm.hid))
    if row.at is At.BOTH:
        return (vm.hid, vm.previous_hid)
    if row.at is At.PREVIOUS:
        return (vm.previous_hid, vm.hid)
    return (vm.hid,)


def _named(operation: Operation) -> dict[str, str]:
    return {"ACTION": operation.action, "ITEM": str(operation.item), "DISK_ID": str(operation.disk_id)}
