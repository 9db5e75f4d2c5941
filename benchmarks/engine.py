"""The controller at work on VMs: changes of state per second under load, and how long one call takes alone.

Under load a few hundred callers power their VMs off and on again, each change stored and synced before it is answered;
what arrives together is committed together.  An event is a call that changes a VM's state, or the driver's answer that
changes it again; a state change is a VM that went through the journal in another state than before.  The VMs are taken
from all over the pool.  Each size has a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from benchmarks.figures import Figure, Measurement
from benchmarks.installation import ONEADMIN, controlled, stored
from benchmarks.process import figures_of_process, resident_mib
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
SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (1_000, 10_000)
WARM_UP_S = 0.5
SECONDS = 3.0
QUICK_SECONDS = 1.0
SINGLE_CALLS = 200
LIMIT_S = 60.0


def _events(quick: bool) -> Iterator[Figure]:
    for size in QUICK_SIZES if quick else SIZES:
        yield from figures_of_process(_load, size, QUICK_SECONDS if quick else SECONDS)


def _load(results: Connection, size: int, seconds: float) -> None:
    """The process; sends its figures, and None when it is through."""
    with stored(size // VMS_PER_HOST, VMS_PER_HOST) as store:
        gc.collect()
        rates, resident_mib = asyncio.run(_under_load(store, seconds))
    results.send(Figure("engine.events_per_s", size, rates.events, "events/s"))
    results.send(Figure("journal.state_changes_per_s", size, rates.changes, "changes/s"))
    results.send(Figure("journal.changes_per_commit", size, rates.changes / rates.commits, "changes"))
    results.send(Figure("journal.resident_mib", size, resident_mib, "MiB"))
    results.send(None)


def _single(quick: bool) -> Iterator[Figure]:
    for size in QUICK_SIZES:
        with stored(size // VMS_PER_HOST, VMS_PER_HOST) as store:
            times = asyncio.run(_alone(store))
            yield Figure("engine.single_ms", size, statistics.median(times) * 1000, "ms")


MEASUREMENTS = (
    Measurement(
        (
            *("engine.events_per_s", "journal.state_changes_per_s"),
            *("journal.changes_per_commit", "journal.resident_mib"),
        ),
        _events,
    ),
    Measurement(("engine.single_ms",), _single),
)


class _Callers:
    """Powers VMs off and on, and knows when the drivers are through with one."""

    def __init__(self) -> None:
        self.events = self.changes = self.commits = 0
        self._at_rest: dict[int, asyncio.Event] = {}

    def ordered(self, order: Order) -> None:
        """A driver got an order."""

    def published(self, batch: Batch) -> None:
        """Counts the events that changed something, and wakes whoever waits for the VM."""
        self.events += sum(1 for event in batch.events if isinstance(event, Called | Answered))
        self.commits += not batch.is_empty
        self.changes += sum(1 for thing in batch.changes.puts if isinstance(thing, Vm))
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


class _Rates(NamedTuple):
    """Per second."""

    events: float
    changes: float
    commits: float


async def _under_load(store: SqliteStore, seconds: float) -> tuple[_Rates, float]:
    """The rates, and the resident memory in MiB."""
    callers = _Callers()
    async with asyncio.timeout(LIMIT_S), controlled(store, callers.ordered, callers.published) as controller:
        tasks = [asyncio.create_task(_keep_changing(callers, controller, number)) for number in range(CALLERS)]
        await asyncio.sleep(WARM_UP_S)
        before, started = (callers.events, callers.changes, callers.commits), time.perf_counter()
        await asyncio.sleep(seconds)
        taken = time.perf_counter() - started
        after = (callers.events, callers.changes, callers.commits)
        rates = _Rates(*((now - then) / taken for now, then in zip(after, before, strict=True)))
        memory_mib = resident_mib()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
    return rates, memory_mib


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
