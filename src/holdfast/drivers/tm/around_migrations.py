"""What the site's transfer drivers do around a live migration: premigrate, then postmigrate or failmigrate.

A driver of block devices makes them known to the destination there.  The built-in drivers need nothing of the kind.
The driver of the system datastore is asked, and passes it on to those of the disks; where it is a built-in one, those
of the disks are asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from holdfast.drivers.tm.driver import TmDriver, VmLog
from holdfast.drivers.tm.lines import Line, Places
from holdfast.engine.ports import Driver, Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm

_LEAST_S = 30.0
"""What comes after a migration has this much time even when the migration took all of its own."""


class AroundMigrations:
    """A hypervisor's driver, with the transfer drivers' actions around its migrations.

    ``is_external`` says whether the site brings the driver of this name; ``location``: the datastores on the hosts.
    """

    def __init__(
        self,
        driver: Driver,
        tm: TmDriver,
        is_external: Callable[[str], bool],
        location: str,
        log: VmLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._driver, self._tm, self._is_external = driver, tm, is_external
        self._places, self._log, self._clock = Places(location, ""), log, clock

    async def run(self, order: Order) -> Answer:
        """As :class:`Driver` says."""
        vm = order.vm
        drivers = self._asked(vm) if vm and order.effect.kind is EffectKind.VMM_MIGRATE else ()
        if vm is None or not drivers:
            return await self._driver.run(order)
        prepared = await self._act("PREMIGRATE", order, vm, drivers)
        if prepared is not None:
            await self._act("FAILMIGRATE", order, vm, drivers)
            return prepared
        answer = await self._driver.run(order)
        if answer.ok or answer.certain:
            await self._act("POSTMIGRATE" if answer.ok else "FAILMIGRATE", order, vm, drivers)
        return answer

    async def probe(self, order: Order) -> Answer | None:
        """As :class:`Driver` says."""
        return await self._driver.probe(order)

    def _asked(self, vm: Vm) -> tuple[tuple[str, str], ...]:
        """The drivers, each with the word that tells it who passes the action on."""
        system = vm.history[-1].tm_mad if vm.history else ""
        if self._is_external(system):
            return ((system, ""),)
        disks = {disk.get("TM_MAD", "") for disk in vm.template.sections("DISK")}
        return tuple((name, system) for name in sorted(disks) if name and self._is_external(name))

    async def _act(self, action: str, order: Order, vm: Vm, drivers: Sequence[tuple[str, str]]) -> Answer | None:
        """The first failure.  What fails after the migration undoes nothing: it goes to the VM's log."""
        for driver, caller in drivers:
            line = self._line(action, order, vm, driver, caller)
            answer = await self._tm.run_line(vm, str(line), max(_LEAST_S, order.effect.deadline - self._clock()))
            if not answer.ok:
                if action == "PREMIGRATE":
                    return Answer(ok=False, certain=answer.certain, message=f"premigrate: {answer.message}")
                self._log(vm.oid, "E", f"{action} failed: {answer.message}")
        return None

    def _line(self, action: str, order: Order, vm: Vm, driver: str, caller: str) -> Line:
        record = vm.history[-1]
        source, target = (host.name if host else "-" for host in (order.host, order.other))
        words = (source, target, self._places.directory(record, vm), str(vm.oid), str(record.ds_id))
        return Line(action, driver, (*words, caller) if caller else words)
