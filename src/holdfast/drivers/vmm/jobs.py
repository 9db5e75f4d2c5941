"""One order under way: its VM, its hosts, its time; and :class:`Reach`, how every action gets at the hypervisor.

The actions of the driver are grouped by idea (starts, stops, saves, moves, …); each group is a table of
:class:`Deed`.  What holds for all of them: a look at the end decides what an order achieved, never a call's own word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import libvirt

from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm import order_words
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import deployment_file, domain_name, domain_uuid, vm_directory
from holdfast.drivers.vmm.domain_orders import Domain, Presence
from holdfast.drivers.vmm.flights import Flights
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.drivers.vmm.placed_disks import qcow2_disks, with_layers
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState

if TYPE_CHECKING:
    from holdfast.drivers.vmm.vm_storage import VmStorage

T = TypeVar("T")

SEEN_ABSENT = {"ABSENT": "YES"}
"""Tells the engine that it was seen that there is no domain, so that an earlier start is settled too."""
POLL_S = 0.1
_MARGIN_S = 0.25
"""Kept back of every order's time, for the last look at what it achieved."""
_LOOK_S = 5.0
_ABORT_S = 5.0
STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)
"""Orders after which there is a domain that was not there before."""


class Job:
    """One order, with what every step needs."""

    def __init__(self, order: Order, vm: Vm, host: Host, limit_s: float) -> None:
        self.order, self.vm, self.host = order, vm, host
        self.begun = False
        """Something was done, or may have been: from here on no failure is certain by itself."""
        self.margin_s = min(_MARGIN_S, max(0.0, limit_s) / 4)
        self._until = asyncio.get_running_loop().time() + limit_s - self.margin_s
        self.domain = Domain(domain_name(vm.oid), domain_uuid(vm))

    @property
    def left_s(self) -> float:
        """What remains of the effect's time, without the margin."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    @property
    def hard(self) -> bool:
        """Pull the plug instead of asking the guest."""
        return self.argument("HARD").upper() == "YES"

    def argument(self, name: str) -> str:
        """One of the effect's arguments, empty when it has none of this name."""
        return order_words.argument(self.order, name)

    def number(self, name: str) -> int:
        """An argument that has to be a whole number."""
        return order_words.number(self.order, name)

    @property
    def item(self) -> str:
        """The disk, NIC or snapshot that the operation is about."""
        return str(self.number("ITEM"))

    @property
    def record(self) -> History:
        """The history record that the order works on."""
        return order_words.record_of(self.order, self.vm)

    @property
    def datastore(self) -> Datastore:
        """The system datastore of the record."""
        return order_words.datastore_of(self.order, self.vm)

    def directory(self, config: HypervisorConfig) -> Path:
        """The VM's directory on that datastore."""
        return Path(vm_directory(config.datastore_location, self.record.ds_id, self.vm.oid))


Action = Callable[[Job], Awaitable[Answer]]
Probe = Callable[[Job], Awaitable[Answer | None]]


@dataclass(frozen=True, slots=True)
class Deed:
    """How an order is carried out, and how to tell after a restart whether it was."""

    run: Action
    probe: Probe


Deeds = Mapping[EffectKind, Deed]


class Doubts:
    """Which orders may have been sent although nobody heard of it."""

    def __init__(self) -> None:
        self._begun_before: set[int] = set()
        self._unsettled: set[tuple[int, int]] = set()
        self._flights = Flights()

    def begun_before(self, order: Order) -> None:
        """An earlier run of the controller may have sent it."""
        self._begun_before.add(order.effect.oid)

    def rise(self, job: Job) -> None:
        """A start was sent; its outcome is not known."""
        self._unsettled.add((job.host.oid, job.vm.oid))

    def settle(self, job: Job) -> None:
        """What became of all starts of the VM on the host is known."""
        self._unsettled.discard((job.host.oid, job.vm.oid))

    def followed(self, job: Job, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
        """``work``, which may create the domain, so that :meth:`in_flight` knows while it does."""
        return self._flights.followed(job.host.oid, job.vm.oid, work)

    def in_flight(self, vm_id: int, host_id: int) -> bool:
        """Whether a call may still create the domain: it being absent now tells nothing for certain."""
        return self._flights.are_there(host_id, vm_id)

    def about(self, order: Order) -> bool:
        """Whether something may have happened although this order was not sent now."""
        if order.effect.oid in self._begun_before or order.vm is None or order.host is None:
            return True
        again = order.effect.args.get("AGAIN", "").upper() == "YES" or order.vm.lcm_state is LcmState.BOOT_UNKNOWN
        if order.effect.kind is EffectKind.VMM_MIGRATE:
            return again
        if order.effect.kind not in STARTS:
            return False
        return again or (order.host.oid, order.vm.oid) in self._unsettled


class Reach:
    """Calls to the hosts on behalf of a job, and its VM's files."""

    def __init__(self, connections: Connections, doubts: Doubts, storage: VmStorage) -> None:
        self.connections = connections
        self.doubts = doubts
        self.storage = storage
        self._aborting: set[asyncio.Task[None]] = set()

    async def call(self, job: Job, work: Callable[[Connection], T], limit_s: float | None = None) -> T:
        """``work``, which does something, on the job's host, within the job's time."""
        try:
            result = await self.connections.call(job.host.oid, work, job.left_s if limit_s is None else limit_s)
        except OutcomeUnknown:
            job.begun = True
            raise
        job.begun = True
        return result

    async def look(self, job: Job, host: Host | None = None) -> Presence:
        """The VM's domain on a host; raises when nobody can tell."""
        limit_s = min(_LOOK_S, job.left_s + job.margin_s)
        return await self.connections.call((host or job.host).oid, lambda c: orders.look(c, job.domain), limit_s)

    async def is_gone(self, job: Job, host: Host | None = None) -> bool:
        """Whether there is no domain on the host, and none is on its way; raises when nobody can tell."""
        in_flight = self.doubts.in_flight(
            job.vm.oid, (host or job.host).oid
        )  # first: it may land, and the domain is there
        return await self.look(job, host) is Presence.ABSENT and not in_flight

    async def try_look(self, job: Job, host: Host | None = None) -> Presence | None:
        """None while nobody can tell: a restart of libvirtd must not end what is under way."""
        try:
            return await self.look(job, host)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            return None

    async def is_busy(self, job: Job, host: Host | None = None) -> bool:
        """Whether libvirt is at work on the domain; assumed when nobody can tell."""
        limit_s = min(_LOOK_S, job.left_s + job.margin_s)
        try:
            return await self.connections.call((host or job.host).oid, lambda c: orders.is_busy(c, job.domain), limit_s)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            return True

    async def deployment(self, job: Job, config: HypervisorConfig) -> str:
        """The domain as it would be created now; raises what deployment_file raises, OSError or Overdue."""
        text = deployment_file(job.vm, job.host, job.datastore, config)
        return with_layers(text, await self.storage.layers_to_run(job, qcow2_disks(text)))

    async def running(self, job: Job) -> Answer | None:
        """None when the VM has a domain to work on, else why the order fails."""
        presence = await self.look(job)
        if presence in (Presence.RUNNING, Presence.PAUSED):
            return None
        return Answer(ok=False, message=f"{job.domain.name} is {presence.value} on {job.host.name}")

    async def refused(self, job: Job, message: str) -> Answer:
        """A start that came to nothing: certain if the domain is not there, and none is on its way."""
        absent = not self.doubts.in_flight(job.vm.oid, job.host.oid) and await self.try_look(job) is Presence.ABSENT
        return Answer(ok=False, message=message, certain=absent, values=SEEN_ABSENT if absent else {})

    async def long_call(self, job: Job, call: Awaitable[T]) -> T:
        """Awaits a call that libvirt can abort, and aborts it when its time is up or the job is cancelled."""
        try:
            return await call
        except (OutcomeUnknown, asyncio.CancelledError):
            self._abort(job)
            raise

    def _abort(self, job: Job) -> None:
        """In the background: whoever was cancelled cannot wait."""
        task = asyncio.create_task(self._abort_now(job), name=f"abort {job.domain.name}")
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)

    async def _abort_now(self, job: Job) -> None:
        try:
            await self.connections.call(job.host.oid, lambda c: orders.abort(c, job.domain), _ABORT_S)
        except (HoldfastError, libvirt.libvirtError):
            return  # the host is out of reach: with its connection libvirt loses the job's caller, too


def deployed(job: Job) -> Answer:
    """The VM runs."""
    return Answer(ok=True, values={"DEPLOY_ID": job.domain.uuid})


async def again(_job: Job) -> Answer | None:
    """The probe of an order that the world does not show, or not wholly: doing it again does no harm."""
    return None
