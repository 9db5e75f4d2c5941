"""The world around the engine: hosts with power, links and boots, real domains, drivers that tell the truth.

Drivers never lie, but they may fail, stay silent, or not know what became of their order.  ``domains`` is what is
really there, whatever the engine believes: a VM that is in it twice has been started twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.engine import commands as c
from holdfast.engine.events import Answered, Event
from holdfast.model.beacon import BeaconReport
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.vm_states import VmState
from tests.unit.engine.rig import SYSTEM, Rig

STOPPING = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP, EffectKind.VMM_SAVE)
STARTING = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)


def hosts_of(order: Effect) -> tuple[int, ...]:
    """The host that the order is about, and the second one if there is one."""
    other = int(order.args.get("OTHER_HID", "-1"))
    two = order.kind in (EffectKind.VMM_CLEANUP, EffectKind.VMM_MIGRATE) and other >= 0
    return (order.host_id, other) if two else (order.host_id,)


class World:
    """A rig whose orders have consequences."""

    def __init__(self, hosts: int) -> None:
        self.rig = Rig()
        self.boots = dict.fromkeys(range(hosts), 1)
        self.powered = set(self.boots)
        self.linked = set(self.boots)
        self.domains: set[tuple[int, int]] = set()
        self.late: set[tuple[int, int]] = set()
        """Starts of unknown outcome that the hypervisor may still carry out."""
        self.performed: set[int] = set()
        self.answered: list[Effect] = []
        self.seq = 0
        for hid in self.boots:
            self.rig.call(c.AllocateHost(f"host{hid}", "qemu", "qemu"))
            self.rig.call(c.UpdateHost(hid, 'FENCE_AGENT="fence_dummy"', append=True))
            self.beacon(hid)

    def try_call(self, command: c.Command) -> bool:
        """A user's call that may be refused."""
        try:
            self.rig.call(command)
        except HoldfastError:
            return False
        self.rig.tick()
        return True

    def reaches(self, hid: int) -> bool:
        """Whether drivers and beacons get through to the host."""
        return hid in self.powered and hid in self.linked

    def reaches_all(self, order: Effect) -> bool:
        """Whether drivers get through to every host that the order is about."""
        return all(map(self.reaches, hosts_of(order)))

    def crash(self, hid: int) -> None:
        """The power fails."""
        self.powered.discard(hid)
        self.domains = {(vm_id, at) for vm_id, at in self.domains if at != hid}
        self.late = {(vm_id, at) for vm_id, at in self.late if at != hid}

    def boot(self, hid: int) -> None:
        """The host comes up with none of its domains."""
        if hid not in self.powered:
            self.powered.add(hid)
            self.boots[hid] += 1

    def beacon(self, hid: int, times: int = 1) -> None:
        """The host's agent reports once a second, if it can."""
        for _ in range(times if self.reaches(hid) else 0):
            self.rig.now += 1
            self.seq += 1
            self.late = {(vm_id, at) for vm_id, at in self.late if at != hid}
            vms = tuple((vm_id, "RUNNING") for vm_id, at in sorted(self.domains) if at == hid)
            boot_id = f"boot-{hid}-{self.boots[hid]}"
            report = BeaconReport(hid, boot_id, self.seq, self.rig.now, vms, "up", SYSTEM, "test")
            self.rig.tell(*self.rig.engine.senses.hear(report, self.rig.now))
            self.rig.tick()

    def perform(self, order: Effect) -> None:
        """A driver carries the order out, if it reaches the host."""
        place = (order.subject, order.host_id)
        if order.kind is EffectKind.FENCE_OFF:
            self.crash(order.host_id)
        elif order.kind in STARTING and self.reaches(order.host_id):
            self.domains.add(place)
            self.late.discard(place)
        elif order.kind in STOPPING:
            for hid in filter(self.reaches, hosts_of(order)):
                self.domains.discard((order.subject, hid))
                self.late.discard((order.subject, hid))
        elif order.kind is EffectKind.VMM_MIGRATE and place in self.domains and self.reaches_all(order):
            self.domains.remove(place)
            self.domains.add((order.subject, hosts_of(order)[1]))
        self.performed.add(order.oid)

    def answer(self, orders: Iterable[Effect], wish: str) -> None:
        """Drivers answer these orders in one batch: as wished (``ok``, ``fail``, ``unsure``) if that is the truth."""
        events: list[Event] = []
        for order in orders:
            events.append(Answered(order.oid, self._truth(order, wish)))
            self.answered.append(order)
        self.rig.tell(*events)
        self.rig.tick()

    def _truth(self, order: Effect, wish: str) -> Answer:
        place = (order.subject, order.host_id)
        there, open_end = place in self.domains, place in self.late
        if order.kind is EffectKind.FENCE_STATUS:
            power = "ON" if order.host_id in self.powered else "OFF"
            return Answer(wish == "ok", "read", values={"POWER": power})
        if order.kind is EffectKind.FENCE_OFF:
            return Answer(wish == "ok" and order.host_id not in self.powered, "fenced")
        if order.kind in STARTING:
            sure = not open_end and self.reaches(order.host_id)
            if wish == "ok" and there and sure:
                return Answer(True)
            if wish == "fail" and not there and sure:
                return Answer(False, "refused by libvirt")
            self.late |= {place} if self.reaches(order.host_id) and not there else set()
            return Answer(False, "timed out", certain=False)
        if order.kind is EffectKind.VMM_MIGRATE:
            return self._truth_of_migration(order, wish)
        if order.kind in STOPPING:
            places = [(order.subject, hid) for hid in hosts_of(order)]
            there = any(at in self.domains for at in places)
            sure = not any(at in self.late for at in places) and self.reaches_all(order)
            if sure and wish == "ok" and not there:
                return Answer(True)
            return Answer(False, "not stopped", certain=sure and wish == "fail" and there)
        return Answer(wish == "ok", "", certain=wish != "unsure")

    def _truth_of_migration(self, order: Effect, wish: str) -> Answer:
        source, destination = hosts_of(order)
        at_source = (order.subject, source) in self.domains
        at_destination = (order.subject, destination) in self.domains
        sure = self.reaches(source) and self.reaches(destination)
        if sure and wish == "ok" and at_destination and not at_source:
            return Answer(True)
        if sure and wish == "fail" and at_source and not at_destination:
            return Answer(False, "refused by libvirt")
        if sure and not at_source and not at_destination:
            return Answer(False, "neither here nor there")
        return Answer(False, "timed out", certain=False)

    def is_true(self, vm_id: int, operation: int) -> bool:
        """Whether an honest operator may say ``recover --success`` (1) of this VM now."""
        vm = self.rig.vm(vm_id)
        there = (vm_id, vm.hid) in self.domains
        if operation != 1 or vm.state is not VmState.ACTIVE:
            return True
        if vm.lcm_state.name == "SAVE_MIGRATE":
            return (vm_id, vm.previous_hid) not in self.domains | self.late
        if vm.lcm_state.name.startswith(("SHUTDOWN", "SAVE")):
            return not there and (vm_id, vm.hid) not in self.late
        if vm.lcm_state.name.startswith(("BOOT", "MIGRATE")) or vm.lcm_state.name == "UNKNOWN":
            return there
        return True
