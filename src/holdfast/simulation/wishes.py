"""What the users want of their VMs, as far as they were told that they get it."""

from __future__ import annotations

from enum import Enum

from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

OFF = (
    "poweroff",
    "poweroff-hard",
    "suspend",
    "stop",
    "undeploy",
    "undeploy-hard",
    "terminate",
    "terminate-hard",
    "hold",
)
GONE = ("terminate", "terminate-hard", "recover-delete", "recover-delete-db")
CLEANED = ("recover-delete", "recover-recreate", *GONE)
ON = ("resume", "deploy", "release", "recover-recreate")


class Wish(Enum):
    """What a VM is to be."""

    ON = "on"
    OFF = "off"
    GONE = "gone"


class Wishes:
    """The last wish for each VM, and whose domain an operator has given up."""

    def __init__(self) -> None:
        self.of: dict[int, Wish] = {}
        self.by: dict[int, str] = {}
        self.abandoned: set[int] = set()
        """VMs whose record was removed, or whose clean-up was ended, by an operator's word: a domain may be left."""

        self.vouched: set[int] = set()
        """VMs of which an operator has said how a step ended; the word may have been wrong."""

        self.doubted: set[int] = set()
        """VMs whose user does not know whether the last call was carried out."""
        self.refused: set[int] = set()
        """VMs that do not run, of which their user was told: a start failed, or something else was done with them."""
        self._last: dict[int, str] = {}
        """What was asked of a VM last."""

    def unsure(self, vm: Vm, action: str) -> None:
        """Whether the call was carried out, its user was not told."""
        self.doubted.add(vm.oid)
        self._given_up(vm, action)

    def asked(self, vm: Vm, action: str) -> None:
        """The call was accepted."""
        if action in GONE:
            self._set(vm.oid, Wish.GONE, action)
        elif action in OFF:
            self._set(vm.oid, Wish.OFF, action)
        elif action in ON:
            self._set(vm.oid, Wish.ON, action)
        self._given_up(vm, action)
        if action in ("recover-success", "recover-failure"):
            self.vouched.add(vm.oid)
        if vm.state is VmState.POWEROFF:
            self.refused.add(vm.oid)

    def _given_up(self, vm: Vm, action: str) -> None:
        cleaning = vm.lcm_state.name.startswith("CLEANUP") or self._last.get(vm.oid) in CLEANED
        if action == "recover-delete-db" or (cleaning and action.startswith("recover-")):
            self.abandoned.add(vm.oid)
        self._last[vm.oid] = action

    def _set(self, vm_id: int, wish: Wish, action: str) -> None:
        self.doubted.discard(vm_id)
        self.of[vm_id] = wish
        self.by[vm_id] = action

    def runs(self, vm_id: int) -> None:
        """The VM was stored as RUNNING: what was wanted before has been answered, well or badly."""
        self.refused.discard(vm_id)
        if self.of.get(vm_id) in (Wish.OFF, Wish.GONE):
            self.of.pop(vm_id)

    def starts_anew(self, vm_id: int) -> None:
        """A start from the disks was ordered: what was said of earlier steps is history."""
        self.vouched.discard(vm_id)

    def recreated(self, vm_id: int) -> None:
        """A failover was told to make even parked VMs anew (-r -f)."""
        self.of.pop(vm_id, None)
