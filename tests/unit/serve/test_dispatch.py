"""Effects on their way to drivers: choice, pace, reconciliation, cancellation, and drivers that break their promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from holdfast.engine.engine import Batch
from holdfast.engine.events import Answered, Event
from holdfast.engine.ports import Changes, Order, Snapshot
from holdfast.engine.state import State
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, EffectState, HostState
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.template import EMPTY
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.dispatch import AT_ONCE, Dispatcher, chooser

LIMIT_S = 10.0
NOW = 1_000_000.0


class Recorded:
    """A driver that obeys when it is let, and remembers what it was asked."""

    def __init__(self, found: Answer | None = None) -> None:
        self.found = found
        self.ran: list[Order] = []
        self.probed: list[Order] = []
        self.cancelled: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, order: Order) -> Answer:
        self.ran.append(order)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(order.effect.oid)
            raise
        return Answer(True, f"did {order.effect.oid}")

    async def probe(self, order: Order) -> Answer | None:
        self.probed.append(order)
        return self.found


class Broken(Recorded):
    """A driver that raises, which none may."""

    async def run(self, order: Order) -> Answer:
        raise ZeroDivisionError("a bug")


class Reluctant(Recorded):
    """Its transfers need a while to end when they are cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.lets_go = asyncio.Event()

    async def run(self, order: Order) -> Answer:
        self.ran.append(order)
        if order.effect.kind is EffectKind.TM_PROLOG:
            try:
                await asyncio.Event().wait()
            finally:
                await self.lets_go.wait()
        return Answer(True, f"did {order.effect.oid}")


def effect(oid: int, kind: EffectKind = EffectKind.VMM_DEPLOY, subject: int = 0, host_id: int = 0) -> Effect:
    return Effect(oid, kind, subject, host_id, NOW, NOW + 60, 1, EffectState.RUNNING)


def batch_of(*effects: Effect) -> Batch:
    """A committed batch that hands out the open ones and has closed the others."""
    return Batch((), effects=[one for one in effects if one.state.is_open], changes=Changes(1, list(effects)))


def closed(one: Effect, state: EffectState) -> Effect:
    return Effect(one.oid, one.kind, one.subject, one.host_id, NOW, NOW + 60, 1, state)


class Stand:
    """A dispatcher over two hosts, a VM and a hook."""

    def __init__(self, driver: Recorded, starts_per_host: int = 16) -> None:
        self.driver = driver
        self.now = NOW
        self.events: list[Event] = []
        vm = Vm(0, 0, 0, "vm", VmState.ACTIVE, LcmState.BOOT, EMPTY)
        hosts = [Host(oid, f"host{oid}", HostState.MONITORED, "qemu", "qemu") for oid in (0, 1)]
        self.state = State(Snapshot(1, [vm, *hosts, Hook(0, "hook", "state")]))
        self.dispatcher = Dispatcher(
            self.state, lambda order: driver, self.events.append, starts_per_host, lambda: self.now
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.002)

    @property
    def answered(self) -> list[int]:
        return sorted(event.effect_id for event in self.events if isinstance(event, Answered))


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_an_order_carries_the_objects_it_speaks_of_and_its_answer_comes_back() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded())
        stand.dispatcher.take(batch_of(effect(7), effect(8, EffectKind.HOOK, 0, -1)))
        await stand.until(lambda: stand.answered == [7, 8])
        deploy, hook = sorted(stand.driver.ran, key=lambda order: order.effect.oid)
        assert (deploy.vm, deploy.host, deploy.hook) == (stand.state.vms[0], stand.state.hosts[0], None)
        assert (hook.vm, hook.host, hook.hook) == (None, None, stand.state.hooks[0])
        assert Answered(7, Answer(True, "did 7")) in stand.events
        assert stand.driver.probed == []

    play(scenario)


def test_starts_are_paced_for_each_host_and_nothing_else_is() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded(), starts_per_host=2)
        stand.driver.gate.clear()
        starts = [effect(number, host_id=0) for number in range(5)] + [effect(5, host_id=1)]
        others = [effect(number, EffectKind.VMM_CANCEL) for number in range(6, 9)]
        stand.dispatcher.take(batch_of(*starts, *others))
        await stand.until(lambda: len(stand.driver.ran) == 6)
        await asyncio.sleep(0.02)
        assert sorted(order.effect.oid for order in stand.driver.ran) == [0, 1, 5, 6, 7, 8]
        stand.driver.gate.set()
        await stand.until(lambda: stand.answered == list(range(9)))

    play(scenario)


def test_a_datastore_that_hangs_holds_up_only_its_own_transfers() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded())
        stand.driver.gate.clear()
        limit = AT_ONCE[EffectKind.TM_PROLOG]
        for vm_id, datastore in ((1, 0), (2, 100)):
            stay = History(0, 0, "host0", 0, datastore, "qemu", "shared")
            stand.state.vms[vm_id] = Vm(vm_id, 0, 0, "vm", VmState.ACTIVE, LcmState.PROLOG, EMPTY, history=(stay,))
        hanging = [effect(number, EffectKind.TM_PROLOG, subject=1) for number in range(limit + 5)]
        stand.dispatcher.take(batch_of(*hanging, effect(900, EffectKind.TM_PROLOG, subject=2)))
        await stand.until(lambda: len(stand.driver.ran) == limit + 1)
        await asyncio.sleep(0.02)
        assert [order.effect.oid for order in stand.driver.ran] == [*range(limit), 900]
        stand.driver.gate.set()
        await stand.until(lambda: len(stand.answered) == limit + 6)

    play(scenario)


def test_a_start_whose_turn_does_not_come_in_time_was_never_sent_and_says_so() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded(), starts_per_host=1)
        stand.driver.gate.clear()
        stand.now = NOW + 60 - 0.05
        stand.dispatcher.take(batch_of(effect(0), effect(1)))
        await stand.until(lambda: stand.answered == [1])
        [event] = stand.events
        assert isinstance(event, Answered)
        assert (event.answer.ok, event.answer.certain) == (False, True)
        assert event.answer.message == "vmm.deploy: never sent, too many others were before it"
        stand.driver.gate.set()
        await stand.until(lambda: stand.answered == [0, 1])
        assert [order.effect.oid for order in stand.driver.ran] == [0]

    play(scenario)


@pytest.mark.parametrize("ending", [EffectState.SUPERSEDED, EffectState.FAILED])
def test_an_effect_that_the_engine_closed_is_cancelled_and_answers_nothing(ending: EffectState) -> None:
    async def scenario() -> None:
        stand = Stand(Recorded(), starts_per_host=1)
        stand.driver.gate.clear()
        running, waiting, kept = effect(0), effect(1), effect(2, host_id=1)
        stand.dispatcher.take(batch_of(running, waiting, kept))
        await stand.until(lambda: len(stand.driver.ran) == 2)
        stand.dispatcher.take(batch_of(closed(running, ending), closed(waiting, ending)))
        await stand.until(lambda: stand.driver.cancelled == [0])
        stand.driver.gate.set()
        await stand.until(lambda: stand.answered == [2])
        assert [order.effect.oid for order in stand.driver.ran] == [0, 2], "the one that waited never began"

    play(scenario)


def test_the_next_order_of_a_vm_waits_until_a_cancelled_one_has_let_go_and_others_do_not() -> None:
    async def scenario() -> None:
        driver = Reluctant()
        stand = Stand(driver)
        prolog = effect(0, EffectKind.TM_PROLOG)
        stand.dispatcher.take(batch_of(prolog))
        await stand.until(lambda: len(driver.ran) == 1)
        stand.dispatcher.take(batch_of(closed(prolog, EffectState.SUPERSEDED), effect(1), effect(2, subject=5)))
        await stand.until(lambda: stand.answered == [2])
        assert [order.effect.oid for order in driver.ran] == [0, 2]
        driver.lets_go.set()
        await stand.until(lambda: stand.answered == [1, 2])

    play(scenario)


def test_after_a_restart_what_is_done_is_not_done_again() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded(found=Answer(True, "it is there")))
        stand.dispatcher.reconcile([effect(3)])
        await stand.until(lambda: stand.answered == [3])
        assert stand.events == [Answered(3, Answer(True, "it is there"))]
        assert stand.driver.ran == []

    play(scenario)


def test_after_a_restart_what_is_not_done_is_done_now() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded())
        stand.dispatcher.reconcile([effect(3)])
        await stand.until(lambda: stand.answered == [3])
        assert len(stand.driver.probed) == len(stand.driver.ran) == 1

    play(scenario)


def test_a_driver_that_raises_has_failed_without_certainty(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        stand = Stand(Broken())
        stand.dispatcher.take(batch_of(effect(4)))
        await stand.until(lambda: stand.answered == [4])
        [event] = stand.events
        assert isinstance(event, Answered)
        assert (event.answer.ok, event.answer.certain) == (False, False)
        assert event.answer.message == "vmm.deploy: the driver failed: a bug"

    play(scenario)
    assert "ZeroDivisionError" in caplog.text


def test_on_closing_everything_is_cancelled_within_the_limit_and_nothing_is_answered() -> None:
    async def scenario() -> None:
        stand = Stand(Recorded())
        stand.driver.gate.clear()
        stand.dispatcher.take(batch_of(effect(0), effect(1, host_id=1)))
        await stand.until(lambda: len(stand.driver.ran) == 2)
        async with asyncio.timeout(LIMIT_S):
            await stand.dispatcher.close()
        assert sorted(stand.driver.cancelled) == [0, 1]
        assert stand.events == []

    play(scenario)


def test_the_driver_is_chosen_by_kind_then_by_the_hosts_vm_mad() -> None:
    async def scenario() -> None:
        fence, dummy, default = Recorded(), Recorded(), Recorded()
        driver_of = chooser({EffectKind.FENCE_OFF: fence}, {"dummy": dummy}, default)

        def chosen(kind: EffectKind, hosts: Sequence[Host]) -> object:
            return driver_of(Order(effect(0, kind), host=hosts[0] if hosts else None))

        on_dummy = [Host(0, "a", HostState.MONITORED, "dummy", "dummy")]
        on_qemu = [Host(0, "a", HostState.MONITORED, "qemu", "qemu")]
        assert chosen(EffectKind.FENCE_OFF, on_dummy) is fence
        assert chosen(EffectKind.VMM_DEPLOY, on_dummy) is dummy
        assert chosen(EffectKind.VMM_DEPLOY, on_qemu) is default
        assert chosen(EffectKind.VMM_DEPLOY, []) is default

    play(scenario)
