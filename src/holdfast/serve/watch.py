"""Keeps hosts under observation: their libvirt connections, and investigations of those that fell silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from libvirt import libvirtError

from holdfast.drivers.im.heartbeats import HeartbeatWatch
from holdfast.drivers.im.link import BeaconLink
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.domain_states import DomainReport
from holdfast.engine.engine import Batch
from holdfast.engine.events import Event, VmSeen
from holdfast.engine.senses import LiveSenses
from holdfast.engine.state import State
from holdfast.model.beacon import BeaconReport
from holdfast.model.enums import HostState
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host

ASK_LIMIT_S = 1.0
STOCK_LIMIT_S = 5.0
LIBVIRT_DRIVERS = ("kvm", "qemu")
ENDED = (DomainReport.POWEROFF, DomainReport.FAILURE)
ALIVE = (DomainReport.RUNNING, DomainReport.PAUSED)


class HostWatch:
    """What is done with every host that libvirt serves, and with every host that is suspected."""

    def __init__(
        self,
        state: State,
        senses: LiveSenses,
        report: Callable[[Event], None],
        heartbeats: HeartbeatWatch,
        link: BeaconLink,
        clock: Callable[[], float] = time.time,
        pause_settles_s: float = 2.0,
    ) -> None:
        self._pause_settles_s = pause_settles_s
        self._pauses: set[asyncio.Task[None]] = set()
        self._state = state
        self._senses = senses
        self._report = report
        self._heartbeats = heartbeats
        self._link = link
        self._clock = clock
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self.connections = Connections(self._domain, self._connection)

    def begin(self) -> None:
        """Connects to every host there is."""
        for host in self._state.hosts.values():
            self._attend(host)

    def take(self, batch: Batch) -> None:
        """Keeps the connections in step with the pool."""
        for stored in batch.changes.puts:
            if isinstance(stored, Host):
                self._attend(stored)
        for kind, oid in batch.changes.deletes:
            if kind is Host:
                self._forget(oid)

    def _attend(self, host: Host) -> None:
        if host.vm_mad not in LIBVIRT_DRIVERS:
            return
        if host.state is HostState.OFFLINE:
            self._forget(host.oid)
        else:
            self.connections.watch(host)

    def _forget(self, host_id: int) -> None:
        self.connections.forget(host_id)
        self._link.forget(host_id)
        self._heartbeats.forget(host_id)

    def _domain(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        if what in ENDED:
            self._begin_to(self._confirm_end(host_id, vm_id, what), f"ended VM {vm_id} on host {host_id}")
            return
        self._senses.domain_reported(host_id, vm_id, what)
        if what is DomainReport.RUNNING:
            self._report(VmSeen(host_id, vm_id, what))
        elif what is DomainReport.PAUSED:
            self._begin_to(self._confirm_pause(host_id, vm_id), f"paused VM {vm_id} on host {host_id}")

    def _begin_to(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)

    async def _take_stock(self, host_id: int) -> None:
        """Events that nobody heard are made up for: domains that failed or were paused meanwhile."""
        try:
            reports = await self.connections.domains(host_id, STOCK_LIMIT_S)
        except (HoldfastError, libvirtError):
            return  # the connection is gone again; the next one takes stock
        for vm_id, what in reports.items():
            if what is DomainReport.FAILURE:
                self._end(host_id, vm_id, what)
            elif what is DomainReport.PAUSED:
                self._domain(host_id, vm_id, what)

    async def _confirm_end(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        """An event may be about the domain that was there before: what lives now has not ended."""
        try:
            reports = await self.connections.domains(host_id, ASK_LIMIT_S)
        except (HoldfastError, libvirtError):
            return  # the agent's beacons tell that it is gone, and a new connection takes stock
        if reports.get(vm_id) not in ALIVE:
            self._end(host_id, vm_id, what)

    def _end(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        self._senses.domain_reported(host_id, vm_id, what)
        self._report(VmSeen(host_id, vm_id, what))

    async def _confirm_pause(self, host_id: int, vm_id: int) -> None:
        """A domain is paused for a moment by snapshots and saves; one that stays so was suspended by somebody."""
        await asyncio.sleep(self._pause_settles_s)
        try:
            reports = await self.connections.domains(host_id, ASK_LIMIT_S)
        except (HoldfastError, libvirtError):
            return  # the host cannot be asked now: the next change of the domain is reported again
        if reports.get(vm_id) is DomainReport.PAUSED:
            self._report(VmSeen(host_id, vm_id, "SUSPENDED"))

    def _connection(self, host_id: int, up: bool, text: str) -> None:
        if up:
            self._begin_to(self._take_stock(host_id), f"domains of host {host_id}")
        said = "connected" if up else f"no connection: {text}"
        self._senses.detector.hypervisor_answered(host_id, False, said, self._clock())

    def investigate(self, host_ids: Sequence[int]) -> None:
        """Looks for other signs of life of hosts whose agents fell silent."""
        for host_id in host_ids:
            if host_id not in self._under_way and host_id in self._state.hosts:
                task = asyncio.create_task(self._investigate(host_id), name=f"investigate host {host_id}")
                self._under_way[host_id] = task
                task.add_done_callback(partial(self._ended, host_id))

    def _ended(self, host_id: int, task: asyncio.Task[None]) -> None:
        self._under_way.pop(host_id, None)
        if not task.cancelled():
            task.result()

    async def _investigate(self, host_id: int) -> None:
        host = self._state.hosts[host_id]
        if host.vm_mad in LIBVIRT_DRIVERS:
            await asyncio.gather(self._ask(host_id), self._read(host_id))

    async def _ask(self, host_id: int) -> None:
        try:
            await self.connections.call(host_id, lambda connection: connection.getLibVersion(), ASK_LIMIT_S)
            ok, text = True, "hypervisor answers"
        except Exception as error:  # noqa: BLE001 - whatever went wrong, it is no sign of life
            ok, text = False, f"hypervisor does not answer: {error}"
        self._senses.detector.hypervisor_answered(host_id, ok, text, self._clock())

    async def _read(self, host_id: int) -> None:
        self._senses.detector.heartbeat_read(host_id, await self._heartbeats.observe(host_id))

    async def still_beats(self, host_id: int) -> str:
        """What speaks against the host being off: a heartbeat that moves; one that stood still is not read again."""
        watch = self._senses.detector.watches.get(host_id)
        if watch is None or watch.heartbeat == "stalled":
            return ""
        await self._read(host_id)
        return "its heartbeat on the shared datastore moves on" if watch.heartbeat == "advancing" else ""

    async def close(self) -> None:
        """Lets all hosts go."""
        for task in (*self._under_way.values(), *self._pauses):
            task.cancel()
        await self.connections.close()


class DummyMonitor:
    """Speaks for the agents of hosts with IM_MAD dummy, which have none; ``DUMMY_DEAD=YES`` in a host silences it."""

    def __init__(self, state: State, hear: Callable[[BeaconReport], None], period_s: float) -> None:
        self._state = state
        self._hear = hear
        self._period_s = period_s
        self._seq = 0

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            self._seq += 1
            for host in list(self._state.hosts.values()):
                if host.im_mad == "dummy" and not host.template.flag("DUMMY_DEAD"):
                    self._hear(self._report(host))
            await asyncio.sleep(self._period_s)

    def _report(self, host: Host) -> BeaconReport:
        present = tuple((vm_id, "RUNNING") for vm_id in host.vms if self._is_there(host, vm_id))
        boot = host.template.get("DUMMY_BOOT_ID") or f"dummy-{host.oid}"
        system = {
            "TOTALCPU": host.template.get("DUMMY_CPU") or "800",
            "TOTALMEMORY": host.template.get("DUMMY_MEMORY_KB") or "16777216",
            "HYPERVISOR": "dummy",
        }
        return BeaconReport(host.oid, boot, self._seq, time.time(), present, "up", system, "dummy")

    def _is_there(self, host: Host, vm_id: int) -> bool:
        vm = self._state.vms.get(vm_id)
        return vm is not None and host.oid in vm.may_run_on
