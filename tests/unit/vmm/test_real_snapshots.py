"""System snapshots and disk snapshots of real guests that go on writing meanwhile."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.drivers.vmm.deployment import deployment_file
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.sandbox.rack import Rack
from tests.unit.vmm.racked import Racked, racked, running_rack, with_extra

pytestmark = pytest.mark.rack


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """Two hosts, for all tests."""
    with running_rack(2) as built:
        yield built


def tell(rack: Rack, story: Callable[[Racked], Awaitable[None]]) -> None:
    """Runs a story on the rack."""

    async def whole() -> None:
        async with racked(rack) as here:
            await story(here)
            print(here.took_s)

    asyncio.run(whole())


def test_a_guest_goes_back_to_its_snapshot_even_after_it_moved(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        bare, host, other = here.vm(821, "qcow2"), here.host(1), here.host(2)
        vm = with_extra(bare, 'SNAPSHOT=[SNAPSHOT_ID=0, NAME=before, HYPERVISOR_ID="snap-0", ACTION=CREATE]')
        assert (await here.do(EffectKind.VMM_DEPLOY, bare, host)).ok
        await here.booted(bare)
        created = await here.do(EffectKind.VMM_SNAPSHOT_CREATE, vm, host, ITEM="0")
        assert (created.ok, created.values) == (True, {"HYPERVISOR_ID": "snap-0"})
        assert (await here.do(EffectKind.VMM_SNAPSHOT_CREATE, vm, host, ITEM="0")).ok
        before = here.ledger(vm)
        later = await here.goes_on(vm)
        assert (await here.do(EffectKind.VMM_MIGRATE, vm, host, other)).ok
        answer = await here.do(EffectKind.VMM_SNAPSHOT_REVERT, vm, other, ITEM="0")
        assert answer.ok, answer
        back = here.ledger(vm).writers[0].last_seq
        assert before.writers[0].last_seq - 5 <= here.on_disk(vm) < later.writers[0].last_seq, back
        answer = await here.do(EffectKind.VMM_SNAPSHOT_DELETE, vm, other, ITEM="0")
        assert answer.ok, answer
        assert (await here.do(EffectKind.VMM_SNAPSHOT_DELETE, vm, other, ITEM="0")).ok
        gone = await here.do(EffectKind.VMM_SNAPSHOT_REVERT, vm, other, ITEM="0")
        assert not gone.ok
        assert await here.is_on(vm) == [2]
        written = here.on_disk(vm)
        async with asyncio.timeout(10):
            while here.on_disk(vm) <= written:
                await asyncio.sleep(0.1)

    tell(rack, story)


def test_a_raw_disk_cannot_be_snapshotted_and_libvirt_says_so(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host = here.vm(822), here.host(1)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        answer = await here.do(EffectKind.VMM_SNAPSHOT_CREATE, vm, host, ITEM="0")
        assert (answer.ok, answer.certain) == (False, True)
        assert "raw" in answer.message
        answer = await here.do(EffectKind.VMM_DISK_SNAPSHOT_CREATE, vm, host, DISK_ID="0", ITEM="0")
        assert (answer.ok, answer.certain) == (False, True)
        assert "qcow2" in answer.message

    tell(rack, story)


async def started_by_name(here: Racked, vm: Vm, host: Host, disk: Path) -> None:
    """The domain as somebody else would start it: its disk is known by a name that will be a link to layers."""
    datastore = here.order(EffectKind.VMM_DEPLOY, vm, host, None, 30, {}).datastores[0]
    text = deployment_file(vm, host, datastore, here.config)
    assert f'"{disk}"' in text
    await here.connections.call(1, lambda connection: connection.createXML(text).name(), 30)


def test_a_disk_snapshot_of_a_running_guest_keeps_every_write_over_moves_and_restarts(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host, other = here.vm(823, "qcow2"), here.host(1), here.host(2)
        disk = here.directory(823) / "disk.0"
        disk.with_name("disk.0.snap").joinpath("0").replace(disk)
        shutil.rmtree(disk.with_name("disk.0.snap"))  # one plain file, as a copy from elsewhere is
        await started_by_name(here, vm, host, disk)
        refused = await here.do(EffectKind.VMM_DISK_SNAPSHOT_CREATE, vm, host, DISK_ID="0", ITEM="0")
        assert (refused.ok, refused.certain) == (False, True)
        assert f"was started with vda as {disk}, a name that leads elsewhere" in refused.message
        assert (await here.do(EffectKind.VMM_CANCEL, vm, host)).ok
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await here.booted(vm)
        for number in ("0", "1"):
            answer = await here.do(EffectKind.VMM_DISK_SNAPSHOT_CREATE, vm, host, DISK_ID="0", ITEM=number)
            assert answer.ok, answer
            taken = await here.do(EffectKind.VMM_DISK_SNAPSHOT_CREATE, vm, host, DISK_ID="0", ITEM=number)
            assert (taken.ok, taken.certain) == (False, True), "another order's layer"
            source = (await here.description(vm, host)).find("devices/disk/source").get("file")
            assert source == str(disk.with_name("disk.0.snap") / str(int(number) + 1))
            assert disk.resolve() == disk.with_name("disk.0.snap").resolve() / str(int(number) + 1)
            assert (await here.goes_on(vm)).ok
        assert (await here.do(EffectKind.VMM_MIGRATE, vm, host, other)).ok
        assert (await here.goes_on(vm)).ok
        assert (await here.do(EffectKind.VMM_SAVE, vm, other)).ok
        assert (await here.do(EffectKind.VMM_RESTORE, vm, host)).ok
        read = await here.goes_on(vm)
        assert len(read.writers) == 1
        assert (await here.do(EffectKind.VMM_CANCEL, vm, host)).ok
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, other)).ok
        async with asyncio.timeout(30):
            while len((read := here.ledger(vm)).writers) < 2:
                await asyncio.sleep(0.1)
        assert read.ok, read.to_json()

    tell(rack, story)


def test_snapshots_are_carried_on_from_wherever_the_controller_was_killed(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host, other = here.vm(824, "qcow2"), here.host(1), here.host(2)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await here.booted(vm)

        def create(connection: Any, name: str) -> str:
            domain = connection.lookupByName("one-824")
            return str(domain.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>").getName())

        for name in ("snap-7", "snap-0"):
            assert await here.connections.call(1, partial(create, name=name), 30) == name
        order = here.order(EffectKind.VMM_SNAPSHOT_CREATE, vm, host, None, 30, {"ITEM": "0"})
        assert await here.driver.probe(order) is None
        assert (await here.driver.run(order)).ok
        assert await here.new_driver().probe(order) is not None

        layer = await here.tm.prepare_layer(vm, 0, 0, 10)
        await here.tm.point_at_layer(vm, 0, layer, 10)
        order = here.order(EffectKind.VMM_DISK_SNAPSHOT_CREATE, vm, host, None, 30, {"DISK_ID": "0", "ITEM": "0"})
        assert await here.driver.probe(order) is None
        assert (await here.driver.run(order)).ok
        assert await here.new_driver().probe(order) is not None
        assert (await here.description(vm, host)).find("devices/disk/source").get("file") == str(layer.path)

        refused = await here.do(EffectKind.VMM_SNAPSHOT_REVERT, vm, host, ITEM="0")
        assert (refused.ok, refused.certain) == (False, True)
        assert "snap-0 is not in" in refused.message, "its disk has another layer since: going back would lose the VM"
        assert await here.connections.call(1, partial(create, name="snap-8"), 30) == "snap-8"
        assert (await here.do(EffectKind.VMM_MIGRATE, vm, host, other)).ok, "libvirt knows of no snapshot"
        assert (await here.goes_on(vm)).ok

    tell(rack, story)
