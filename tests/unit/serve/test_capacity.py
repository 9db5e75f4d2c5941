"""When datastores are looked at, and what a look that hangs or fails leads to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.capacity import Figures, measure
from holdfast.engine.engine import Batch
from holdfast.engine.events import DatastoreMeasured, Event
from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.state import State
from holdfast.model.effect import Effect
from holdfast.model.enums import DatastoreType, EffectKind, EffectState, HostState
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import EMPTY, Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.capacity import DatastoreMonitor, is_on_our_mount

LIMIT_S = 10.0


def datastore(oid: int, path: Path | str = "/ds", /, **fields: object) -> Datastore:
    plain = Datastore(oid, f"ds{oid}", DatastoreType.IMAGE_DS, "shared", "fs", f"{path}/{oid}")
    return replace(plain, **fields)  # type: ignore[arg-type]


class Stand:
    """A monitor over some datastores, and what it reported."""

    def __init__(self, *datastores: Datastore, period_s: float = 100, limit_s: float = 5, soon_s: float = 0) -> None:
        self.state = State(Snapshot(1, list(datastores)))
        self.events: list[DatastoreMeasured] = []
        self.looks: list[tuple[str, bool]] = []
        self.look: Callable[[Path, bool], Figures] = lambda path, alone: Figures(100, 40, 60)
        self.monitor = DatastoreMonitor(self.state, self._report, period_s, limit_s, soon_s, self._look)

    def _report(self, event: Event) -> None:
        assert isinstance(event, DatastoreMeasured)
        self.events.append(event)

    def _look(self, path: Path, alone: bool) -> Figures:
        self.looks.append((path.name, alone))
        return self.look(path, alone)

    def publish(self, *stored: Datastore | Effect | Host) -> None:
        changes = Changes(1, stored)
        self.state.publish(changes)
        self.monitor.take(Batch((), changes=changes))

    async def until(self, reported: int) -> list[DatastoreMeasured]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.events) < reported:
                await asyncio.sleep(0.005)
        return self.events


@asynccontextmanager
async def at_work(stand: Stand) -> AsyncIterator[Stand]:
    task = asyncio.create_task(stand.monitor.run())
    try:
        yield stand
    finally:
        task.cancel()
        await asyncio.wait({task})


def test_every_datastore_is_measured_at_the_start_and_each_period(tmp_path: Path) -> None:
    async def scenario() -> None:
        stand = Stand(datastore(1, tmp_path), datastore(100, tmp_path), period_s=0.05)
        stand.look = measure
        async with at_work(stand):
            events = await stand.until(6)
        assert {event.ds_id for event in events} == {1, 100}
        assert all(event.total_mb > 0 and not event.error for event in events)

    asyncio.run(scenario())


def test_what_a_limit_depends_on_is_measured_alone() -> None:
    async def scenario() -> None:
        stand = Stand(datastore(1), datastore(2, template=Template([("LIMIT_MB", "10")])))
        async with at_work(stand):
            await stand.until(2)
        assert sorted(stand.looks) == [("1", False), ("2", True)]

    asyncio.run(scenario())


def test_a_datastore_that_hangs_is_looked_at_once_says_so_and_holds_nobody_up() -> None:
    async def scenario() -> None:
        stand, gate = Stand(datastore(1), datastore(2), period_s=0.05, limit_s=0.02), threading.Event()

        def look(path: Path, alone: bool) -> Figures:
            if path.name == "1":
                gate.wait(LIMIT_S)
            return Figures(100, 40, 60)

        stand.look = look
        async with at_work(stand):
            events = await stand.until(8)
            assert {event.error for event in events if event.ds_id == 2} == {""}
            stuck = {event.error for event in events if event.ds_id == 1}
            assert stuck == {"/ds/1 did not answer within 0.02 s: is its storage reachable?"}
            assert stand.looks.count(("1", False)) == 1
            gate.set()
            async with asyncio.timeout(LIMIT_S):
                while DatastoreMeasured(1, 100, 40, 60) not in stand.events:
                    await asyncio.sleep(0.005)

    asyncio.run(scenario())


def test_a_look_that_fails_says_why() -> None:
    async def scenario() -> None:
        stand = Stand(datastore(1))

        def look(path: Path, alone: bool) -> Figures:
            raise PermissionError(13, "Permission denied")

        stand.look = look
        async with at_work(stand):
            assert (await stand.until(1))[0].error == "/ds/1 cannot be measured: Permission denied"

    asyncio.run(scenario())


def test_a_new_or_changed_datastore_and_the_end_of_a_transfer_are_followed_by_a_look() -> None:
    async def scenario() -> None:
        stand = Stand(datastore(1))
        async with at_work(stand):
            await stand.until(1)
            stand.publish(datastore(100))
            assert (await stand.until(2))[1].ds_id == 100
            effect = Effect(7, EffectKind.IMAGE_DELETE, 3, -1, 0, 9, 1, EffectState.DONE, args={"DATASTORE_ID": "1"})
            stand.publish(replace(effect, state=EffectState.RUNNING))
            stand.publish(effect)
            assert (await stand.until(3))[2].ds_id == 1
            stand.publish(datastore(1))
            assert (await stand.until(4))[3].ds_id == 1
            stand.publish(replace(datastore(1), total_mb=100))
            await asyncio.sleep(0.05)
        assert len(stand.events) == 4

    asyncio.run(scenario())


def test_hosts_with_files_of_their_own_are_asked_one_by_one_and_lost_ones_never() -> None:
    async def scenario() -> None:
        stand, asked = Stand(datastore(100, type=DatastoreType.SYSTEM_DS, ds_mad="-", tm_mad="ssh")), []
        hosts = [Host(number, f"host{number}", HostState.MONITORED, "kvm", "kvm") for number in (1, 2)]
        lost = Host(3, "host3", HostState.ERROR, "kvm", "kvm", error_since=5.0)
        stand.state.publish(Changes(1, [*hosts, lost]))

        async def look(host: str, path: str, limit_s: float) -> Figures:
            asked.append((host, path))
            if host == "host2":
                raise HoldfastError("host host2: Connection refused")
            return Figures(100, 40, 60)

        stand.monitor.on_host = look
        async with at_work(stand):
            events = list(await stand.until(2))
            assert sorted(asked) == [("host1", "/ds/100"), ("host2", "/ds/100")]
            stay = History(0, 1, "host1", 0, 100, "kvm", "ssh")
            stand.state.publish(Changes(1, [Vm(7, 0, 0, "", VmState.ACTIVE, LcmState.RUNNING, EMPTY, history=(stay,))]))
            stand.publish(Effect(9, EffectKind.TM_PROLOG, 7, 1, 0, 9, 1, EffectState.DONE))
            await stand.until(3)
            assert asked[2:] == [("host1", "/ds/100")], "after a transfer only its own host is asked"
        assert sorted(events, key=lambda event: event.host_id) == [
            DatastoreMeasured(100, 100, 40, 60, host_id=1),
            DatastoreMeasured(100, error="host host2: Connection refused", host_id=2),
        ]

    asyncio.run(scenario())


def test_a_host_is_asked_as_soon_as_it_is_heard_and_again_when_it_comes_back() -> None:
    async def scenario() -> None:
        stand, asked = Stand(datastore(100, type=DatastoreType.SYSTEM_DS, ds_mad="-", tm_mad="ssh")), []
        known = Host(1, "host1", HostState.MONITORED, "kvm", "kvm")
        stand.state.publish(Changes(1, [known]))

        async def look(host: str, path: str, limit_s: float) -> Figures:
            asked.append(host)
            return Figures(100, 40, 60)

        stand.monitor.on_host = look
        async with at_work(stand):
            await stand.until(1)
            new = Host(2, "host2", HostState.INIT, "kvm", "kvm")
            heard = replace(new, state=HostState.MONITORED)
            stand.publish(new, replace(known, vms=(7,)))
            stand.publish(heard)
            await stand.until(2)
            stand.publish(replace(heard, vms=(8,)))
            stand.publish(replace(heard, state=HostState.ERROR, error_since=5.0))
            stand.publish(heard)
            await stand.until(3)
            await asyncio.sleep(0.05)
        assert asked == ["host1", "host2", "host2"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, True),
        ({"ds_mad": "ceph"}, False),
        ({"type": DatastoreType.SYSTEM_DS, "ds_mad": "-"}, True),
        ({"type": DatastoreType.SYSTEM_DS, "ds_mad": "-", "tm_mad": "ssh"}, False),
        ({"type": DatastoreType.SYSTEM_DS, "ds_mad": "-", "template": Template([("SHARED", "NO")])}, False),
    ],
)
def test_only_files_that_the_controller_sees_are_measured(fields: dict[str, object], ours: bool) -> None:
    assert is_on_our_mount(replace(datastore(1), **fields)) is ours  # type: ignore[arg-type]
