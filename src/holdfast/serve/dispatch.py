"""Takes committed effects to their drivers and brings the answers back as events.

Starts are paced per destination host.  After a restart every open effect is *reconciled*: the driver looks at the world
first and does only what is not done.  When the engine supersedes or expires an effect, its task is cancelled; what is
next for the same VM waits until that one has let go: a killed program may need a moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from holdfast.engine.engine import Batch
from holdfast.engine.events import Answered, Event
from holdfast.engine.ports import Driver, Order
from holdfast.engine.state import State
from holdfast.engine.vm_work import STARTS
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind

LOG = logging.getLogger("holdfast.dispatch")
_VM_KINDS = frozenset(kind for kind in EffectKind if kind.value.startswith(("tm.", "vmm.")))
_IMAGE_KINDS = tuple(kind for kind in EffectKind if kind.value.startswith("image."))
DriverOf = Callable[[Order], Driver]
AT_ONCE = {
    EffectKind.HOOK: 16,
    EffectKind.FENCE_STATUS: 64,
    EffectKind.FENCE_OFF: 64,
    **{kind: 32 for kind in EffectKind if kind.value.startswith("tm.")},
    **dict.fromkeys(_IMAGE_KINDS, 8),
}
"""How many effects of a kind are carried out at once: each may cost a process and several descriptors.

Those that touch storage have these turns on each datastore, so that one that hangs holds up nobody else's.
"""


LETS_GO_S = 10.0
"""How long the next effect of a VM waits for a cancelled one; on a storage that hangs nothing ends by itself."""


class Dispatcher:
    """Runs one task for each open effect; ``driver_of`` chooses the driver by effect and host.

    What is ordered again at once until it is certain (clean-ups, live migrations) is answered ``again_after_s`` late.
    """

    def __init__(
        self,
        state: State,
        driver_of: DriverOf,
        report: Callable[[Event], None],
        starts_per_host: int,
        clock: Callable[[], float] = time.time,
        again_after_s: float = 5.0,
    ) -> None:
        self._again_after_s = again_after_s
        self._clock = clock
        self._state = state
        self._driver_of = driver_of
        self._report = report
        self._starts_per_host = starts_per_host
        self._pace: dict[int, asyncio.Semaphore] = {}
        self._turns: dict[tuple[EffectKind, int], asyncio.Semaphore] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: dict[int, set[asyncio.Task[None]]] = {}

    def take(self, batch: Batch) -> None:
        """Hands out the batch's effects, and cancels those that it closed without their driver: superseded, expired."""
        for stored in batch.changes.puts:
            if isinstance(stored, Effect) and not stored.state.is_open:
                task = self._tasks.pop(stored.oid, None)
                if task is not None:
                    self._cancel(task, stored)
        self._start(batch.effects, again=False)

    def _cancel(self, task: asyncio.Task[None], effect: Effect) -> None:
        task.cancel()
        if effect.kind in _VM_KINDS and not task.done():
            self._ending.setdefault(effect.subject, set()).add(task)
            task.add_done_callback(partial(self._ended, effect.subject))

    def _ended(self, vm_id: int, task: asyncio.Task[None]) -> None:
        ending = self._ending.get(vm_id, set())
        ending.discard(task)
        if not ending:
            self._ending.pop(vm_id, None)

    def reconcile(self, effects: Iterable[Effect]) -> None:
        """Effects that were under way when the controller stopped."""
        self._start(effects, again=True)

    def _start(self, effects: Iterable[Effect], again: bool) -> None:
        for effect in effects:
            task = asyncio.create_task(self._carry_out(effect, again), name=f"effect {effect.oid} {effect.kind.value}")
            self._tasks[effect.oid] = task

    async def _carry_out(self, effect: Effect, again: bool) -> None:
        if effect.kind in _VM_KINDS and (before := self._ending.get(effect.subject)):
            await asyncio.wait(set(before), timeout=LETS_GO_S)
        order = self._order(effect)
        try:
            answer = await self._answer(order, again)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            LOG.exception("driver of effect %d (%s) raised", effect.oid, effect.kind.value)
            answer = Answer(False, f"{effect.kind.value}: the driver failed: {error}", certain=False)
        if _is_repeated(effect.kind, answer):
            await asyncio.sleep(self._again_after_s)
        self._tasks.pop(effect.oid, None)
        self._report(Answered(effect.oid, answer))

    async def _answer(self, order: Order, again: bool) -> Answer:
        driver = self._driver_of(order)
        if again:
            found = await driver.probe(order)
            if found is not None:
                return found
        turn = self._turn_of(order)
        if turn is None:
            return await driver.run(order)
        try:
            async with asyncio.timeout(order.effect.deadline - self._clock()):
                await turn.acquire()
        except TimeoutError:
            return Answer(False, f"{order.effect.kind.value}: never sent, too many others were before it")
        try:
            return await driver.run(order)
        finally:
            turn.release()

    def _turn_of(self, order: Order) -> asyncio.Semaphore | None:
        effect = order.effect
        if effect.kind in STARTS:
            return self._pace.setdefault(effect.host_id, asyncio.Semaphore(self._starts_per_host))
        if effect.kind not in AT_ONCE:
            return None
        return self._turns.setdefault((effect.kind, _datastore_of(order)), asyncio.Semaphore(AT_ONCE[effect.kind]))

    def _order(self, effect: Effect) -> Order:
        state, kind = self._state, effect.kind
        return Order(
            effect,
            vm=state.vms.get(effect.subject) if kind in _VM_KINDS else None,
            host=state.hosts.get(effect.host_id),
            other=state.hosts.get(int(effect.args.get("OTHER_HID", "-1"))),
            image=state.images.get(effect.subject) if kind in _IMAGE_KINDS else None,
            hook=state.hooks.get(effect.subject) if kind is EffectKind.HOOK else None,
            datastores=state.datastores,
        )

    async def close(self, limit_s: float = 5.0) -> None:
        """Stops all tasks; what they were doing is reconciled at the next start."""
        tasks = [*self._tasks.values(), *(task for ending in self._ending.values() for task in ending)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)


def _datastore_of(order: Order) -> int:
    """The datastore that is worked on: an image's own, a VM's system datastore; -1 of what touches no storage."""
    if order.image is not None:
        return order.image.datastore_id
    if order.vm is not None and order.vm.history:
        return order.vm.history[-1].ds_id
    return -1


def _is_repeated(kind: EffectKind, answer: Answer) -> bool:
    """The engine orders it once more, until it is certain."""
    if kind is EffectKind.VMM_CLEANUP:
        return not answer.ok
    return kind is EffectKind.VMM_MIGRATE and not (answer.ok or answer.certain)


def chooser(by_kind: Mapping[EffectKind, Driver], vmm: Mapping[str, Driver], default_vmm: Driver) -> DriverOf:
    """Chooses by the effect's kind; hypervisor effects by the host's VM_MAD."""

    def driver_of(order: Order) -> Driver:
        chosen = by_kind.get(order.effect.kind)
        if chosen is not None:
            return chosen
        return vmm.get(order.host.vm_mad, default_vmm) if order.host else default_vmm

    return driver_of
