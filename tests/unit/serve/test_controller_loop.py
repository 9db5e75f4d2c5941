"""The asyncio shell of the engine: batches, answers, a store that refuses, and bugs that must not spread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.engine import commands as c
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import HostAlive
from holdfast.engine.ports import Changes
from holdfast.engine.settings import Settings
from holdfast.failover.detection import Patience
from holdfast.model.beacon import BeaconReport
from holdfast.model.enums import HostState
from holdfast.model.errors import AllocateError, HoldfastError, NoSuchObject, StoreError
from holdfast.serve.controller import Controller
from holdfast.store.memory import MemoryStore
from tests.unit.engine.rig import ONEADMIN, SYSTEM, NoHooks

LIMIT_S = 10.0
QUICK = Settings(patience=Patience(0.05, 0.1, 0.2, look_every_s=0.02))


class SlowStore(MemoryStore):
    """A store whose commits can be held up, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self._loop = asyncio.get_running_loop()

    def commit(self, changes: Changes) -> None:
        asyncio.run_coroutine_threadsafe(self.open_gate.wait(), self._loop).result(LIMIT_S)
        self.commits += 1
        super().commit(changes)


class Rigged:
    """A controller that runs, what it published, and whom it suspected."""

    def __init__(self, settings: Settings) -> None:
        self.store = SlowStore()
        self.published: list[Batch] = []
        self.suspects: list[Sequence[int]] = []
        engine = Engine(self.store, settings, NoHooks(), 0.0)
        self.controller = Controller(engine, self.published.append, self.suspects.append)

    async def host(self, name: str) -> int:
        return await self.controller.call(ONEADMIN, c.AllocateHost(name, "qemu", "qemu"))

    def state_of(self, host_id: int) -> HostState:
        return self.controller.state.hosts[host_id].state

    def beat(self, host_id: int, seq: int = 1) -> None:
        self.controller.hear(BeaconReport(host_id, "boot-1", seq, 0.0, (), "up", SYSTEM, "test"))


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Rigged]:
    rigged = Rigged(settings or Settings())
    task = asyncio.create_task(rigged.controller.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            yield rigged
    finally:
        rigged.store.open_gate.set()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rigged.controller.close()


async def until(condition: object, limit_s: float = LIMIT_S) -> None:
    assert callable(condition)
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_call_is_answered_with_the_id_once_it_is_stored() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            assert await rigged.host("a") == 0
            assert rigged.store.load().counters["Host"] == 1
            assert [stored.oid for batch in rigged.published for stored in batch.changes.puts] == [0]
            with pytest.raises(AllocateError, match="NAME is already taken by HOST 0"):
                await rigged.host("a")
            with pytest.raises(NoSuchObject):
                await rigged.controller.call(ONEADMIN, c.DeleteHost(9))

    asyncio.run(scenario())


def test_what_arrives_during_a_commit_is_stored_with_the_next_one() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            rigged.store.open_gate.clear()
            calls = [asyncio.create_task(rigged.host("h0"))]
            await asyncio.sleep(0.05)
            calls += [asyncio.create_task(rigged.host(f"h{number}")) for number in range(1, 51)]
            await asyncio.sleep(0.05)
            assert not any(call.done() for call in calls), "nothing is answered before it is stored"
            assert rigged.controller.state.hosts == {}, "nothing is shown before it is stored"
            rigged.store.open_gate.set()
            assert sorted(await asyncio.gather(*calls)) == list(range(51))
            assert rigged.store.commits == 2

    asyncio.run(scenario())


def test_a_refused_event_of_a_batch_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            rigged.store.open_gate.clear()
            first = asyncio.create_task(rigged.host("first"))
            await asyncio.sleep(0.05)
            batch = [asyncio.create_task(rigged.host(name)) for name in ("x", "x", "y")]
            await asyncio.sleep(0.05)
            rigged.store.open_gate.set()
            done = await asyncio.gather(first, *batch, return_exceptions=True)
            assert [item if isinstance(item, int) else type(item) for item in done] == [0, 1, AllocateError, 2]

    asyncio.run(scenario())


def test_while_the_store_refuses_callers_are_told_at_once_and_observations_are_kept() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            host_id = await rigged.host("a")
            for _ in range(3):
                rigged.store.fail_next("the disk is full")
            rigged.beat(host_id)
            with pytest.raises(StoreError, match="the disk is full"):
                await rigged.host("b")
            assert rigged.state_of(host_id) is HostState.INIT
            await until(lambda: rigged.state_of(host_id) is HostState.MONITORED)
            assert await rigged.host("b") == 1

    asyncio.run(scenario())


def test_beacons_do_not_pile_up_while_the_store_refuses_and_the_first_after_it_counts() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            hosts = [await rigged.host(name) for name in ("a", "b")]
            rigged.store.fail_next("the disk is full")
            with pytest.raises(StoreError):
                await rigged.host("c")
            for seq in range(1, 200):
                rigged.beat(hosts[0], seq)
                rigged.beat(hosts[1], seq)
            published = len(rigged.published)
            await until(lambda: rigged.state_of(hosts[0]) is HostState.MONITORED)
            assert sum(len(batch.events) for batch in rigged.published[published:]) == 1
            rigged.beat(hosts[1], 200)
            await until(lambda: rigged.state_of(hosts[1]) is HostState.MONITORED)

    asyncio.run(scenario())


def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    async def scenario() -> None:
        async with running() as rigged:
            rigged.store.open_gate.clear()
            impatient = asyncio.create_task(rigged.host("a"))
            await asyncio.sleep(0.05)
            impatient.cancel()
            rigged.store.fail_next("the disk is full")
            rigged.store.open_gate.set()
            assert await rigged.host("b") in (0, 1)

    asyncio.run(scenario())


class Poison(Mapping[str, str]):
    """Attributes on which the engine stumbles."""

    def __getitem__(self, key: str) -> str:
        raise ZeroDivisionError("a bug")

    def __iter__(self) -> Iterator[str]:
        raise ZeroDivisionError("a bug")

    def __len__(self) -> int:
        return 1


def test_an_event_on_which_the_engine_stumbles_is_dropped_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with running() as rigged:
            host_id = await rigged.host("a")
            rigged.store.open_gate.clear()
            held = asyncio.create_task(rigged.host("b"))
            await asyncio.sleep(0.05)
            rigged.controller.report(HostAlive(host_id, "boot-1", (), Poison()))
            call = asyncio.create_task(rigged.host("c"))
            rigged.controller.report(HostAlive(host_id, "boot-1", (), SYSTEM))
            rigged.store.open_gate.set()
            assert (await held, await call) == (1, 2)
            await until(lambda: rigged.state_of(host_id) is HostState.MONITORED)

    asyncio.run(scenario())
    assert "cannot handle" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_call_on_which_the_engine_stumbles_is_answered_as_an_internal_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with running() as rigged:
            with pytest.raises(HoldfastError, match="Internal error: see the controller's log"):
                await rigged.controller.call(ONEADMIN, c.Command())

    asyncio.run(scenario())
    assert "cannot handle" in caplog.text


def test_a_host_that_falls_silent_is_investigated_then_lost_without_any_other_event() -> None:
    async def scenario() -> None:
        async with running(QUICK) as rigged:
            host_id = await rigged.host("a")
            rigged.beat(host_id)
            await until(lambda: rigged.state_of(host_id) is HostState.MONITORED)
            await until(lambda: rigged.state_of(host_id) is HostState.ERROR)
            assert [host_id] in rigged.suspects
            rigged.beat(host_id, 2)
            await until(lambda: rigged.state_of(host_id) is HostState.MONITORED)

    asyncio.run(scenario())


def test_a_silence_that_could_not_be_stored_at_once_is_stored_later() -> None:
    async def scenario() -> None:
        async with running(QUICK) as rigged:
            host_id = await rigged.host("a")
            rigged.beat(host_id)
            await until(lambda: rigged.state_of(host_id) is HostState.MONITORED)
            rigged.store.fail_next("the disk is full")
            await until(lambda: rigged.state_of(host_id) is HostState.ERROR)

    asyncio.run(scenario())
