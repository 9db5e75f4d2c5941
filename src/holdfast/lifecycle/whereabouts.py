"""Which hosts have to do with a VM: those that hold its capacity, may run it without holding it, or have its files."""

from __future__ import annotations

from holdfast.lifecycle.positions import FILES_ON_THE_WAY, ON_TWO_HOSTS, PLACED
from holdfast.model.vm import Vm


def holders(vm: Vm) -> tuple[int, ...]:
    """The hosts whose capacity the VM takes: its own, and the one it is leaving while it runs there."""
    if vm.position not in PLACED or vm.is_parked or vm.hid < 0:
        return ()
    if vm.position in ON_TWO_HOSTS and vm.previous_hid != vm.hid:
        return (vm.hid, vm.previous_hid)
    return (vm.hid,)


def strays(vm: Vm) -> tuple[int, ...]:
    """Hosts that may run the VM although they do not list it (it is being removed, is PENDING again, is elsewhere)."""
    if not vm.may_run_on:
        return ()
    holding = holders(vm)
    return tuple(hid for hid in vm.may_run_on if hid not in holding)


def source_of_files(vm: Vm) -> int:
    """The host that the VM's files are leaving for another one; -1 when they are not on such a way."""
    return vm.previous_hid if vm.position in FILES_ON_THE_WAY and vm.previous_hid != vm.hid else -1
