"""Capacity adds up: each host counts exactly the VMs whose leg of life is on it, each once, with its size."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.reference import name_of, position_of
from holdfast.simulation.checkers.violation import Violation

CAPACITY = "capacity adds up on every host"
NOWHERE = frozenset(
    "PENDING HOLD DONE STOPPED UNDEPLOYED CLONING CLONING_FAILURE CLEANUP_RESUBMIT CLEANUP_DELETE "
    "DISK_RESIZE_UNDEPLOYED HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED".split()
)
BOTH = frozenset(("MIGRATE", "SAVE_MIGRATE"))
PARKED = frozenset("STOPPED UNDEPLOYED DISK_RESIZE_UNDEPLOYED HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED".split())
STILL_PARKED = frozenset(("EPILOG", "EPILOG_FAILURE", "PENDING", "HOLD"))
"""A parked VM that waits for a place, or is removed, has still no host."""
FROM_FRONT_END = frozenset("PROLOG_RESUME PROLOG_RESUME_FAILURE PROLOG_UNDEPLOY PROLOG_UNDEPLOY_FAILURE".split())
"""A VM that does not get away from there, because its host dies, is still parked."""
ENDING = frozenset(("EPILOG", "EPILOG_FAILURE"))

Size = tuple[int, int]


class Capacity:
    """Follows every stored VM, and compares the hosts that it concerns."""

    def __init__(self) -> None:
        self._legs: dict[int, tuple[int, ...]] = {}
        self._on: dict[int, dict[int, Size]] = {}
        self._parked: set[int] = set()

    def follow(self, vm: Vm) -> Iterable[int]:
        """The VM has a new version: the hosts that it was and is on."""
        before, after = self._legs.get(vm.oid, ()), self._legs_of(vm)
        for hid in before:
            if hid not in after:
                del self._on[hid][vm.oid]
        size = (vm.cpu_percent, vm.memory_kb)
        for hid in after:
            self._on.setdefault(hid, {})[vm.oid] = size
        self._legs[vm.oid] = after
        return {*before, *after}

    def _legs_of(self, vm: Vm) -> tuple[int, ...]:
        position = position_of(vm)
        back = position == "PENDING" and name_of(vm.prev_state, vm.prev_lcm_state) in FROM_FRONT_END
        if back or position in PARKED or (position == "EPILOG" and name_of(vm.prev_state, vm.prev_lcm_state) in PARKED):
            self._parked.add(vm.oid)
        elif position not in STILL_PARKED:
            self._parked.discard(vm.oid)
        if position in NOWHERE or (position in ENDING and vm.oid in self._parked):
            return ()
        if position in BOTH and vm.previous_hid >= 0:
            return tuple(dict.fromkeys((vm.hid, vm.previous_hid)))
        return (vm.hid,)

    def check(self, host: Host) -> None:
        """The host against the VMs that should be on it."""
        expected = self._on.get(host.oid, {})
        if len(host.vms) != len(expected) or set(host.vms) != expected.keys():
            extra = sorted(set(host.vms) - expected.keys())
            missing = sorted(expected.keys() - set(host.vms))
            raise Violation(CAPACITY, f"host {host.oid} counts VMs {extra} that it has not, and misses {missing}")
        cpu = sum(size[0] for size in expected.values())
        mem = sum(size[1] for size in expected.values())
        if (host.cpu_usage, host.mem_usage) != (cpu, mem):
            raise Violation(
                CAPACITY,
                f"host {host.oid} has {host.cpu_usage} % CPU and {host.mem_usage} KiB given away, its VMs have {cpu} "
                f"and {mem}",
            )
