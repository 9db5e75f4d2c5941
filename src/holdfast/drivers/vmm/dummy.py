"""A VMM driver without hypervisor, for tests and trials: who runs where, with failures and delays by script.

It knows two ways to misbehave.  A :class:`Script` given by a test says, action by action, what happens next; and a VM
may ask for trouble itself with ``DUMMY_FAIL = "deploy,shutdown"`` and ``DUMMY_DELAY_S`` in its user template.  A VM
that runs on two hosts at once is noted in :attr:`DummyDriver.doubles` and stays noted: no test can miss it.

It keeps nothing over a restart of the controller: of a VM it has not heard of yet, it believes what the order says.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from holdfast.drivers.vmm.deployment import domain_name
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import Vm

_STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)
_STOPS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)
_SIGNALS = (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET)
_OF_BOTH_HOSTS = (EffectKind.VMM_MIGRATE, EffectKind.VMM_CLEANUP)
_NOT_OFFERED = (EffectKind.VMM_UPDATE_CONF, EffectKind.VMM_BACKUP)


class Ending(Enum):
    """How an action ends."""

    SUCCESS = "success"
    FAILURE = "failure"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to one order.  ``happens``: the world changes although no answer comes (SILENCE)."""

    ending: Ending = Ending.SUCCESS
    message: str = ""
    delay_s: float = 0.0
    happens: bool = False


class Script:
    """The outcomes to come, by action; when they are used up, ``otherwise`` goes on for ever."""

    def __init__(
        self, outcomes: Mapping[EffectKind, Iterable[Outcome]] | None = None, otherwise: Outcome | None = None
    ) -> None:
        self._coming = {kind: deque(planned) for kind, planned in (outcomes or {}).items()}
        self._otherwise = otherwise or Outcome()

    def next(self, kind: EffectKind) -> Outcome:
        """What happens to the next order of this kind."""
        coming = self._coming.get(kind)
        return coming.popleft() if coming else self._otherwise


class DummyDriver:
    """Hosts whose VMs are numbers in a set."""

    def __init__(self, script: Script | None = None, clock: Callable[[], float] = time.time) -> None:
        self.running: dict[int, set[int]] = {}
        """VM ids by host id."""
        self.doubles: list[tuple[int, frozenset[int]]] = []
        """Each VM that was started while it ran elsewhere, with the hosts it was on."""
        self.saved: set[int] = set()
        """VMs whose memory is in a checkpoint."""
        self.orders: list[Order] = []
        self._known: set[int] = set()
        self._script = script or Script()
        self._clock = clock
        self._unreachable: set[int] = set()

    def hosts_of(self, vm_id: int) -> set[int]:
        """Where the VM runs."""
        return {host_id for host_id, vms in self.running.items() if vm_id in vms}

    def power_off(self, host_id: int) -> None:
        """The host dies: its VMs are gone and it no longer answers."""
        self.running.pop(host_id, None)
        self._unreachable.add(host_id)

    def cut(self, host_id: int) -> None:
        """The host no longer answers, but its VMs go on."""
        self._unreachable.add(host_id)

    def heal(self, host_id: int) -> None:
        """The host answers again."""
        self._unreachable.discard(host_id)

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        kind = order.effect.kind
        if order.vm is None or order.host is None:
            return Answer(ok=False, message=f"Effect {order.effect.oid} is no order for a VM on a host.")
        if kind in _NOT_OFFERED:
            return Answer(ok=False, message=f"{kind.value} is not offered by this version")
        self.orders.append(order)
        self._believe(kind, order.vm, order.host)
        outcome = self._outcome(kind, order.vm)
        silent = next((host for host in _hosts(order) if host.oid in self._unreachable), None)
        if silent is not None:
            outcome = Outcome(Ending.SILENCE)
        left_s = max(0.0, order.effect.deadline - self._clock())
        await asyncio.sleep(min(outcome.delay_s, left_s))
        if outcome.ending is Ending.SILENCE or outcome.delay_s > left_s:
            if outcome.happens:
                self._happen(order, order.vm, order.host)
            await asyncio.sleep(max(0.0, order.effect.deadline - self._clock()))
            return Answer(ok=False, certain=False, message=f"host {(silent or order.host).name} did not answer")
        if outcome.ending is Ending.FAILURE:
            return Answer(ok=False, message=outcome.message or f"{kind.value} failed as it was told to")
        return self._happen(order, order.vm, order.host)

    def _believe(self, kind: EffectKind, vm: Vm, host: Host) -> None:
        """An order for a VM that was never heard of: it is from before a restart, and the VM is as it presumes."""
        if vm.oid in self._known:
            return
        self._known.add(vm.oid)
        if kind is EffectKind.VMM_RESTORE:
            self.saved.add(vm.oid)
        elif kind not in _STARTS:
            self.running.setdefault(host.oid, set()).add(vm.oid)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: whether the VM is there tells whether the order was carried out."""
        vm, host, kind = order.vm, order.host, order.effect.kind
        if vm is None or host is None or host.oid in self._unreachable:
            return None
        here = vm.oid in self.running.get(host.oid, set())
        there = any(vm.oid in self.running.get(each.oid, set()) for each in _hosts(order)[1:])
        if kind in _SIGNALS:
            return Answer(ok=here or vm.oid not in self._known)
        if kind in _STARTS:
            return self._deployed(vm) if here else None
        if kind in _STOPS:
            return None if here or there else Answer(ok=True)
        if kind is EffectKind.VMM_SAVE:
            return Answer(ok=True) if vm.oid in self.saved and not here else None
        if kind is EffectKind.VMM_MIGRATE:
            return self._deployed(vm) if there and not here else None
        return None  # an operation: repeating it does no harm

    def _outcome(self, kind: EffectKind, vm: Vm) -> Outcome:
        planned = self._script.next(kind)
        delay_s = max(planned.delay_s, wished_delay_s(vm))
        if wants_failure(vm, kind.value.rpartition(".")[2]):
            return Outcome(Ending.FAILURE, planned.message, delay_s)
        return Outcome(planned.ending, planned.message, delay_s, planned.happens)

    def _happen(self, order: Order, vm: Vm, host: Host) -> Answer:
        kind, here = order.effect.kind, self.running.setdefault(host.oid, set())
        if kind in _STARTS:
            return self._start(kind, vm, host)
        if kind in _STOPS:
            for place in _hosts(order):
                self.running.get(place.oid, set()).discard(vm.oid)
            return Answer(ok=True)
        if vm.oid not in here:
            return self._without_domain(order, vm, host)
        if kind is EffectKind.VMM_SAVE:
            here.discard(vm.oid)
            self.saved.add(vm.oid)
        elif kind is EffectKind.VMM_MIGRATE:
            if order.other is None:
                return Answer(ok=False, message=f"Effect {order.effect.oid} does not say where the VM shall go.")
            here.discard(vm.oid)
            return self._appear(vm, order.other)
        elif kind is EffectKind.VMM_SNAPSHOT_CREATE:
            return Answer(ok=True, values={"HYPERVISOR_ID": f"snap-{order.effect.args.get('ITEM', '0')}"})
        return Answer(ok=True)

    def _start(self, kind: EffectKind, vm: Vm, host: Host) -> Answer:
        there = vm.oid in self.running.get(host.oid, set())
        if kind is EffectKind.VMM_RESTORE and not there:
            if vm.oid not in self.saved:
                return Answer(ok=False, message=f"{domain_name(vm.oid)} has no checkpoint")
            self.saved.discard(vm.oid)
        return self._appear(vm, host)

    def _appear(self, vm: Vm, host: Host) -> Answer:
        """The VM runs on the host from now on; whether it runs elsewhere, too, is noted."""
        self.running.setdefault(host.oid, set()).add(vm.oid)
        hosts = self.hosts_of(vm.oid)
        if len(hosts) > 1:
            self.doubles.append((vm.oid, frozenset(hosts)))
        return self._deployed(vm)

    def _without_domain(self, order: Order, vm: Vm, host: Host) -> Answer:
        """What was ordered of a VM that does not run on the host: an order that is repeated may have been done."""
        kind = order.effect.kind
        if kind is EffectKind.VMM_SAVE and vm.oid in self.saved:
            return Answer(ok=True)
        if kind is EffectKind.VMM_MIGRATE and order.other and vm.oid in self.running.get(order.other.oid, set()):
            return self._deployed(vm)
        return Answer(ok=False, message=f"{domain_name(vm.oid)} does not run on {host.name}")

    @staticmethod
    def _deployed(vm: Vm) -> Answer:
        return Answer(ok=True, values={"DEPLOY_ID": domain_name(vm.oid)})


def _hosts(order: Order) -> list[Host]:
    """The hosts that the order is about."""
    other = order.other if order.effect.kind in _OF_BOTH_HOSTS else None
    return [host for host in (order.host, other) if host is not None]


def wants_failure(vm: Vm, action: str) -> bool:
    """DUMMY_FAIL of the VM names this action."""
    wished = f"{vm.user_template.get('DUMMY_FAIL')},{vm.template.get('DUMMY_FAIL')}"
    return action.lower() in (name.strip().lower() for name in wished.split(","))


def wished_delay_s(vm: Vm) -> float:
    """DUMMY_DELAY_S of the VM; what is not a number is no delay."""
    for template in (vm.user_template, vm.template):
        text = template.get("DUMMY_DELAY_S")
        if text.replace(".", "", 1).isdecimal():
            return float(text)
    return 0.0
