"""The controller at work on VMs: changes of state per second under load, and how long one call takes alone.

Under load a few hundred callers power their VMs off and on again, each change stored and synced before it is answered;
what arrives together is committed together.  An event is a call that changes a VM's state, or the driver's answer that
changes it again.  The VMs are taken from all over the pool.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, Measurement
from benchmarks.installation import ONEADMIN, controlled, stored
from holdfast.engine.commands import VmAction
from holdfast.engine.engine import Batch
from holdfast.engine.events import Answered, Called
from holdfast.engine.ports import Order
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.controller import Controller
from holdfast.store.sqlite import SqliteStore

CALLERS = 500
VMS_PER_HOST = 10
SIZES = (1_000, 10_000, 20_000, 40_000)
QUICK_SIZES = (1_000, 10_000)
WARM_UP_S = 0.5
SECONDS = 3.0
QUICK_SECONDS = 1.0
SINGLE_CALLS = 200
LIMIT_S = 60.0


def _events(quick: bool) -> Iterator[Figure]:
    for size in QUICK_SIZES if quick else SIZES:
        with stored(size // VMS_PER_HOST, VMS_PER_HOST) as store:
            events = asyncio.run(_under_load(store, QUICK_SECONDS if quick else SECONDS))
            yield Figure("engine.events_per_s", size, events, "events/s")


def _single(quick: bool) -> Iterator[Figure]:
    for size in QUICK_SIZES:
        with stored(size // VMS_PER_HOST, VMS_PER_HOST) as store:
            times = asyncio.run(_alone(store))
            yield Figure("engine.single_ms", size, statistics.median(times) * 1000, "ms")


MEASUREMENTS = (
    Measurement(("engine.events_per_s",), _events),
    Measurement(("engine.single_ms",), _single),
)


class _Callers:
    """Powers VMs off and on, and knows when the drivers are through with one."""

    def __init__(self) -> None:
        self.events = 0
        self._at_rest: dict[int, asyncio.Event] = {}

    def ordered(self, order: Order) -> None:
        """A driver got an order."""

    def published(self, batch: Batch) -> None:
        """Counts the events that changed something, and wakes whoever waits for the VM."""
        self.events += sum(1 for event in batch.events if isinstance(event, Called | Answered))
        for thing in batch.changes.puts:
            if isinstance(thing, Vm) and thing.effect_id < 0 and thing.oid in self._at_rest:
                self._at_rest[thing.oid].set()

    async def change(self, controller: Controller, vm_id: int) -> float:
        """Powers the VM off, or on if it is off; answers how long the call itself took."""
        vm = controller.state.vms[vm_id]
        action = "poweroff-hard" if vm.lcm_state is LcmState.RUNNING else "resume"
        if action == "resume" and vm.state is not VmState.POWEROFF:
            raise RuntimeError(f"VM {vm_id} is {vm.state_name}")
        at_rest = self._at_rest[vm_id] = asyncio.Event()
        started = time.perf_counter()
        await controller.call(ONEADMIN, VmAction(vm_id, action))
        taken = time.perf_counter() - started
        await at_rest.wait()
        return taken


async def _under_load(store: SqliteStore, seconds: float) -> float:
    callers = _Callers()
    async with asyncio.timeout(LIMIT_S), controlled(store, callers.ordered, callers.published) as controller:
        tasks = [asyncio.create_task(_keep_changing(callers, controller, number)) for number in range(CALLERS)]
        await asyncio.sleep(WARM_UP_S)
        before, started = callers.events, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (callers.events - before) / (time.perf_counter() - started)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
    return rate


async def _keep_changing(callers: _Callers, controller: Controller, number: int) -> None:
    """Goes through the VMs that are this caller's, again and again."""
    own = sorted(controller.state.vms)[number::CALLERS]
    while True:
        for vm_id in own:
            await callers.change(controller, vm_id)


async def _alone(store: SqliteStore) -> list[float]:
    callers = _Callers()
    async with asyncio.timeout(LIMIT_S), controlled(store, callers.ordered, callers.published) as controller:
        return [await callers.change(controller, vm_id) for vm_id in range(SINGLE_CALLS)]
