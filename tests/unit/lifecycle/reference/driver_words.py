"""What the tables say about drivers: which actions they are asked for, and on which host.

OpenNebula's ``driver_cancel`` is our cancelling of the open effect; its clean-up by the VMM driver (destroy the domain,
then delete the files) is our VMM_CLEANUP, which a TM_DELETE follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.lifecycle import VmEvent
from holdfast.model.enums import EffectKind, HistoryAction
from tests.unit.lifecycle.reference.step import Step

K = EffectKind


@dataclass(frozen=True, slots=True)
class Order:
    """What a driver is asked for: on the host ``hid``, with a second one or with the front-end where that matters."""

    kind: EffectKind
    hid: int
    other_hid: int = -1
    local: bool = False

    @property
    def hids(self) -> set[int]:
        """All hosts that it is about."""
        return {self.hid, self.other_hid} - {-1}


def order_of(step: Step) -> Order | None:
    """What the decision asks of a driver."""
    effect = step.decision.effect if step.decision else None
    if effect is None:
        return None
    other = int(effect.args.get("OTHER_HID", "-1"))
    return Order(effect.kind, effect.hid, other, effect.args.get("LOCAL") == "YES")


Kinds = Callable[[Step], EffectKind | None]


def _is(kind: EffectKind | None) -> Kinds:
    return lambda step: kind


def _by_event(**kinds: EffectKind) -> Kinds:
    return lambda step: kinds[step.event.name]


def _by_operation(step: Step) -> EffectKind:
    return {VmEvent.NIC_ATTACH: K.VMM_ATTACH_NIC, VmEvent.NIC_DETACH: K.VMM_DETACH_NIC}[step.event]


def _again_as_terminate(step: Step) -> EffectKind:
    current = step.before.current
    assert current is not None
    return K.VMM_SHUTDOWN if current.action is HistoryAction.TERMINATE else K.VMM_CANCEL


def _again_as_begun(step: Step) -> EffectKind:
    return K.VMM_CANCEL if step.before.shutdown_hard else K.VMM_SHUTDOWN


def _leaves_as_begun(step: Step) -> EffectKind:
    current = step.before.current
    assert current is not None
    return {
        HistoryAction.MIGRATE: K.VMM_SAVE,
        HistoryAction.POFF_MIGRATE: K.VMM_SHUTDOWN,
        HistoryAction.POFF_HARD_MIGRATE: K.VMM_CANCEL,
    }[current.action]


CANCEL = "driver_cancel"
CANCELS = ("VMM:driver_cancel", "TM:driver_cancel", "VMM:backup_cancel")
"""The open operation is cancelled, if there is one."""

ACTIONS: dict[str, Kinds] = {
    "none": _is(None),
    "TM:prolog": _is(K.TM_PROLOG),
    "TM:prolog_resume": _is(K.TM_RESUME),
    "TM:prolog_migr": _is(K.TM_MIGRATE),
    "TM:prolog_attach": _is(K.TM_ATTACH),
    "TM:epilog": _is(K.TM_EPILOG),
    "TM:epilog(local)": _is(K.TM_EPILOG),
    "TM:epilog_stop": _is(K.TM_STOP),
    "TM:epilog_detach": _is(K.TM_DETACH),
    "TM:epilog_delete": _is(K.TM_DELETE),
    "TM:epilog_delete_both": _is(K.TM_DELETE),
    "TM:resize": _is(K.TM_RESIZE),
    "TM:restore": _is(K.TM_RESTORE),
    "TM:snap_create": _is(K.TM_SNAPSHOT_CREATE),
    "TM:snap_delete": _is(K.TM_SNAPSHOT_DELETE),
    "TM:snap_revert": _is(K.TM_SNAPSHOT_REVERT),
    "VMM:attachdisk": _is(K.VMM_ATTACH_DISK),
    "VMM:detachdisk": _is(K.VMM_DETACH_DISK),
    "VMM:attachnic/detachnic": _by_operation,
    "VMM:backup": _is(K.VMM_BACKUP),
    "VMM:cancel": _is(K.VMM_CANCEL),
    "VMM:cleanup": _is(K.VMM_CLEANUP),
    "VMM:cleanup(cancel_previous)": _is(K.VMM_CLEANUP),
    "VMM:cleanup_previous": _is(K.VMM_CLEANUP),
    "VMM:deploy": _is(K.VMM_DEPLOY),
    "VMM:disksnapshotcreate": _is(K.VMM_DISK_SNAPSHOT_CREATE),
    "VMM:migrate": _is(K.VMM_MIGRATE),
    "VMM:reboot": _is(K.VMM_REBOOT),
    "VMM:reset": _is(K.VMM_RESET),
    "VMM:resize": _is(K.VMM_RESIZE),
    "VMM:resizedisk": _is(K.VMM_RESIZE_DISK),
    "VMM:restore": _is(K.VMM_RESTORE),
    "VMM:save": _is(K.VMM_SAVE),
    "VMM:shutdown": _is(K.VMM_SHUTDOWN),
    "VMM:shutdown if ACTION=27 else VMM:cancel": _again_as_terminate,
    "VMM:snapshot*": _by_event(
        SNAPSHOT_CREATE=K.VMM_SNAPSHOT_CREATE,
        SNAPSHOT_REVERT=K.VMM_SNAPSHOT_REVERT,
        SNAPSHOT_DELETE=K.VMM_SNAPSHOT_DELETE,
    ),
    "VMM:updateconf/exec": _is(K.VMM_UPDATE_CONF),
    # Holdfast's own, in the deviations
    "VMM:shutdown or VMM:cancel, as it was begun": _again_as_begun,
    "VMM:save, VMM:shutdown or VMM:cancel, as it was begun": _leaves_as_begun,
}

Where = Callable[[Order, Step], bool]


def _current(order: Order, step: Step) -> bool:
    return order.hids == {step.after.hid} and not order.local


def _between(order: Order, step: Step) -> bool:
    """A transfer is led by the host it goes to; the live migration by the one it leaves."""
    if order.kind is K.VMM_MIGRATE:
        return (order.hid, order.other_hid) == (step.after.previous_hid, step.after.hid)
    return order.hid == step.after.hid and not order.local


def _source_again(order: Order, step: Step) -> bool:
    return order.hid == step.after.hid == step.before.previous_hid


def _front_end(order: Order, step: Step) -> bool:
    return order.local and order.kind.value.startswith("tm.")


HOSTS: dict[str, Where] = {
    "current": _current,
    "previous": lambda order, step: order.hid == step.after.previous_hid,
    "previous->current": _between,
    "frontend->current": _current,
    "current->frontend": _current,
    "frontend": _front_end,
    "current and previous": lambda order, step: order.hids == {step.after.hid, step.after.previous_hid},
    "current, and domain destroyed on previous too": lambda order, step: (
        order.hids == {step.after.hid, step.after.previous_hid}
    ),
    "source (failed) host": _source_again,
    "source host (new current record)": _source_again,
    "host of the last record (not the front-end)": _current,
}


def differences(action: str, host: str, step: Step) -> list[str]:
    """How what is asked of the drivers differs from the two columns."""
    *first, last = [part.strip() for part in action.split(" + ")]
    assert set(first) <= set(CANCELS), f"no such phrase: {action}"
    wanted, order = ACTIONS[last](step), order_of(step)
    said = []
    if first and step.before.effect_id >= 0 and not (step.decision and step.decision.cancels):
        said.append("the operation under way is not cancelled")
    if (order.kind if order else None) is not wanted:
        said.append(f"asks for {order.kind.value if order else 'nothing'} instead of {wanted.value if wanted else '-'}")
    elif order is not None and not HOSTS[host](order, step):
        where = " and ".join(map(str, sorted(order.hids)))
        said.append(f"{order.kind.value} on {where}{' on the front-end' if order.local else ''} instead of {host}")
    return said + _promise_differences(order, step)


def _promise_differences(order: Order | None, step: Step) -> list[str]:
    """Whatever a row says: no start while another host may run the VM, and what is destroyed is known to be."""
    if order is None:
        return []
    if order.kind in (K.VMM_SHUTDOWN, K.VMM_CANCEL):
        return [] if step.after.shutdown_hard is (order.kind is K.VMM_CANCEL) else ["the VM does not know how it ends"]
    if order.kind in (K.VMM_DEPLOY, K.VMM_RESTORE, K.VMM_MIGRATE):
        found = set(step.after.may_run_on)
        return [] if found == order.hids else [f"{order.kind.value} on {order.hids} while it may run on {found}"]
    return []
