"""Hosts die: how long until every one of their VMs has been handed to a hypervisor's driver again, and runs.

The clock starts when the hosts are declared lost, all at once.  What follows is production's: ERROR, the hook, a
failover each, a reading of the power, the fence, the proof, placement of all VMs, their transfer and their start.  The
devices and drivers answer at once; the agents of the living hosts go on beating.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.figures import Figure, Measurement
from benchmarks.installation import ONEADMIN, controlled, stored
from holdfast.engine.commands import AllocateFailover
from holdfast.engine.engine import Batch
from holdfast.engine.events import HostSilent
from holdfast.engine.ports import Order
from holdfast.model.enums import EffectKind
from holdfast.model.failover import Evidence
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState
from holdfast.serve.controller import Controller
from holdfast.store.sqlite import SqliteStore

VMS_PER_HOST = 10
SIZES = (100, 200, 400)
"""Hosts; a tenth of them dies."""
CROWDS = (250, 500, 1_000)
"""VMs on the one host that dies."""
ROUNDS = 3
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """How it went, in seconds since the hosts were declared lost."""

    dispatch_s: float
    running_s: float


@dataclass(slots=True)
class _Outage:
    """Plays the hook's command, and watches what becomes of the VMs of the dead hosts."""

    silent: set[int] = field(default_factory=set)
    to_start: set[int] = field(default_factory=set)
    to_run: set[int] = field(default_factory=set)
    dispatched_at: float = 0.0
    running_at: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    def ordered(self, order: Order) -> None:
        """A driver got an order: of interest are the hook and the start of a VM."""
        if order.effect.kind is EffectKind.HOOK:
            self.lost.put_nowait(int(order.effect.args["ARGUMENTS"].split()[0]))
        elif order.effect.kind is EffectKind.VMM_DEPLOY:
            self.to_start.discard(order.effect.subject)
            if not self.to_start and not self.dispatched_at:
                self.dispatched_at = time.perf_counter()

    def published(self, batch: Batch) -> None:
        """Notes which VMs run again."""
        for thing in batch.changes.puts:
            if isinstance(thing, Vm) and thing.lcm_state is LcmState.RUNNING:
                self.to_run.discard(thing.oid)
        if not self.to_run and not self.running_at:
            self.running_at = time.perf_counter()
            self.over.set()

    async def open_failovers(self, controller: Controller) -> None:
        """What ft/host_error does for each host that is lost, side by side."""
        async with asyncio.TaskGroup() as hooks:
            while True:
                command = AllocateFailover(await self.lost.get(), "migrate", 'PAUSE="0"')
                hooks.create_task(controller.call(ONEADMIN, command))


async def _nothing(controller: Controller) -> None:
    await asyncio.sleep(0.2)


async def lose(store: SqliteStore, dead: range, before: Callable[[Controller], Awaitable[None]] = _nothing) -> Course:
    """These hosts of the installation die together; ``before`` may do something with the controller until then."""
    outage = _Outage()
    async with controlled(store, outage.ordered, outage.published, outage.silent) as controller:
        outage.to_start.update(vm_id for host_id in dead for vm_id in controller.state.hosts[host_id].vms)
        outage.to_run.update(outage.to_start)
        hook = asyncio.create_task(outage.open_failovers(controller))
        await before(controller)
        outage.silent.update(dead)
        started, now = time.perf_counter(), time.time()
        for host_id in dead:
            evidence = Evidence("agent", now, "silent", "no beacon any more")
            controller.report(HostSilent(host_id, now, False, (evidence,)))
        await _wait(outage, controller)
        hook.cancel()
    return Course(outage.dispatched_at - started, outage.running_at - started)


async def _wait(outage: _Outage, controller: Controller) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await outage.over.wait()
    except TimeoutError:
        failovers = [f"{found.oid} {found.state.name}: {found.reason}" for found in controller.state.failovers.values()]
        raise TimeoutError(
            f"{len(outage.to_run)} VMs do not run after {LIMIT_S:g} s; failovers: {failovers[:3]}"
        ) from None


def figures_of(size: int, courses: list[Course]) -> Iterator[Figure]:
    """The medians; n is the number of VMs in the installation."""
    yield Figure("failover.dispatch_s", size, statistics.median(course.dispatch_s for course in courses), "s")
    yield Figure("failover.running_s", size, statistics.median(course.running_s for course in courses), "s")


def _tenth(quick: bool) -> Iterator[Figure]:
    for hosts in SIZES[:1] if quick else SIZES:
        courses = []
        for _ in range(1 if quick else ROUNDS):
            with stored(hosts, VMS_PER_HOST) as store:
                courses.append(asyncio.run(lose(store, range(hosts // 10))))
        yield from figures_of(hosts * VMS_PER_HOST, courses)


def _crowded(quick: bool) -> Iterator[Figure]:
    """Four hosts, one dies; n is the number of VMs that were on it."""
    for crowd in CROWDS[:1] if quick else CROWDS:
        with stored(4, crowd) as store:
            course = asyncio.run(lose(store, range(1)))
            yield Figure("failover.one_host_dispatch_s", crowd, course.dispatch_s, "s")


MEASUREMENTS = (
    Measurement(("failover.dispatch_s", "failover.running_s"), _tenth),
    Measurement(("failover.one_host_dispatch_s",), _crowded),
)
