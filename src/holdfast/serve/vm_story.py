"""Tells the engine's notices as lines of the VMs' logs, in OpenNebula's words."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from holdfast.engine.messages import failure_of
from holdfast.engine.notices import Ended, Moved, Notice, Ordered, Repaired
from holdfast.lifecycle.positions import CLEANUP_DELETE
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.model.vm import Vm
from holdfast.serve.vm_log import VmLine

DUMMY = ("dummy",)
_MODULES = {"tm": "TrM", "vmm": "VMM"}
_SUCCESSES = {
    EffectKind.VMM_CLEANUP: "Host successfully cleaned.",
    EffectKind.VMM_RESET: "VM successfully rebooted.",
}


def lines_of(
    notices: Iterable[Notice], vms: Mapping[int, Vm], vms_path: Path, silent: Container[str] = DUMMY
) -> Iterator[VmLine]:
    """The lines, in the order of the notices; ``vms`` as committed.

    Of the ``silent`` hypervisor drivers (VM_MAD) it is not said that they did something: they say it themselves, or, as
    OpenNebula's dummy, do not.
    """
    for notice in notices:
        match notice:
            case Moved():
                yield from _moved(notice)
            case Ordered(effect=effect):
                yield from _ordered(effect, vms, vms_path)
            case Ended(effect=effect):
                yield from _ended(effect, vms.get(effect.subject), silent)
            case Repaired(vm_id=vm_id, text=text):
                yield VmLine(vm_id, "TrM", "I", text)


def _moved(moved: Moved) -> Iterator[VmLine]:
    (state, lcm_state), (old_state, old_lcm_state) = moved.after, moved.before
    if state is not old_state or moved.after == CLEANUP_DELETE:  # OpenNebula enters ACTIVE once more for a removal
        yield VmLine(moved.vm_id, "VM", "I", f"New state is {state.name}")
    if lcm_state is not old_lcm_state:
        yield VmLine(moved.vm_id, "VM", "I", f"New LCM state is {lcm_state.name}")


def _ordered(effect: Effect, vms: Mapping[int, Vm], vms_path: Path) -> Iterator[VmLine]:
    vm = vms.get(effect.subject)
    if effect.kind is EffectKind.VMM_DEPLOY and vm is not None and vm.current is not None:
        path = vms_path / str(vm.oid) / f"deployment.{vm.current.seq}"
        yield VmLine(vm.oid, "VMM", "I", f"Generating deployment file: {path}")


def _ended(effect: Effect, vm: Vm | None, silent: Container[str]) -> Iterator[VmLine]:
    group, _, action = effect.kind.value.partition(".")
    module = _MODULES.get(group)
    if module is None:
        return
    is_told = vm is None or vm.current is None or vm.current.vm_mad not in silent
    if effect.state is not EffectState.SUPERSEDED and module == "VMM" and is_told:
        ended = "Successfully execute" if effect.state is EffectState.DONE else "Failed to execute"
        yield VmLine(effect.subject, module, "I", f"{ended} virtualization driver operation: {action}.")
    if effect.state is EffectState.FAILED:
        yield VmLine(effect.subject, module, "E", failure_of(effect))
    elif effect.state is EffectState.SUPERSEDED:
        yield VmLine(effect.subject, module, "I", f"Driver command for {effect.subject} cancelled")
    elif text := effect.message or _SUCCESSES.get(effect.kind):
        yield VmLine(effect.subject, module, "I", text)
