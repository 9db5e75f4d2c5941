"""A VMM driver without hypervisor, for tests and trials: who runs where, with failures and delays by script.

It knows two ways to misbehave.  A :class:`Script` given by a test says, action by action, what happens next; and a VM
may ask for trouble itself with ``DUMMY_FAIL = "deploy,shutdown"`` and ``DUMMY_DELAY_S`` in its user template.  A VM
that runs on two hosts at once is noted in :attr:`DummyDriver.doubles` and stays noted: no test can miss it.
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

_STARTS = (EffectKind.VMM_DEPLOY,)
_STOPS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)
_SIGNALS = (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET)


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
        self.orders: list[Order] = []
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
        if order.vm is None or order.host is None:
            return Answer(ok=False, message=f"Effect {order.effect.oid} is no order for a VM on a host.")
        self.orders.append(order)
        outcome = self._outcome(order.effect.kind, order.vm)
        if order.host.oid in self._unreachable:
            outcome = Outcome(Ending.SILENCE)
        left_s = max(0.0, order.effect.deadline - self._clock())
        await asyncio.sleep(min(outcome.delay_s, left_s))
        if outcome.ending is Ending.SILENCE or outcome.delay_s > left_s:
            if outcome.happens:
                self._happen(order.effect.kind, order.vm, order.host)
            await asyncio.sleep(max(0.0, order.effect.deadline - self._clock()))
            return Answer(ok=False, certain=False, message=f"host {order.host.name} did not answer")
        if outcome.ending is Ending.FAILURE:
            return Answer(ok=False, message=outcome.message or f"{order.effect.kind.value} failed as it was told to")
        return self._happen(order.effect.kind, order.vm, order.host)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: whether the VM is there tells whether the order was carried out."""
        if order.vm is None or order.host is None or order.host.oid in self._unreachable:
            return None
        there = order.vm.oid in self.running.get(order.host.oid, set())
        if order.effect.kind in _SIGNALS:
            return Answer(ok=there)
        if there is not (order.effect.kind in _STARTS):
            return None
        return Answer(ok=True, values={"DEPLOY_ID": domain_name(order.vm.oid)} if there else {})

    def _outcome(self, kind: EffectKind, vm: Vm) -> Outcome:
        planned = self._script.next(kind)
        delay_s = max(planned.delay_s, wished_delay_s(vm))
        if wants_failure(vm, kind.value.rpartition(".")[2]):
            return Outcome(Ending.FAILURE, planned.message, delay_s)
        return Outcome(planned.ending, planned.message, delay_s, planned.happens)

    def _happen(self, kind: EffectKind, vm: Vm, host: Host) -> Answer:
        here = self.running.setdefault(host.oid, set())
        if kind in _STARTS:
            here.add(vm.oid)
            hosts = self.hosts_of(vm.oid)
            if len(hosts) > 1:
                self.doubles.append((vm.oid, frozenset(hosts)))
            return Answer(ok=True, values={"DEPLOY_ID": domain_name(vm.oid)})
        if kind in _STOPS:
            here.discard(vm.oid)
            return Answer(ok=True)
        if vm.oid not in here:
            return Answer(ok=False, message=f"{domain_name(vm.oid)} does not run on {host.name}")
        return Answer(ok=True)


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
