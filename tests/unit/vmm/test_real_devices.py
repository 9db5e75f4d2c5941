"""Disks and network interfaces that come and go while a real guest runs, and sizes that change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from holdfast.model.enums import EffectKind
from holdfast.sandbox.guest import make_ledger_image
from holdfast.sandbox.rack import Rack
from tests.unit.vmm.racked import Racked, racked, running_rack, with_extra

pytestmark = pytest.mark.rack


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """One host, for all tests."""
    with running_rack(1) as built:
        yield built


def tell(rack: Rack, story: Callable[[Racked], Awaitable[None]]) -> None:
    """Runs a story on the rack."""

    async def whole() -> None:
        async with racked(rack) as here:
            await story(here)
            print(here.took_s)

    asyncio.run(whole())


def image(here: Racked, name: str, extra: str = "CLONE=YES, SAVE=NO") -> str:
    """A DISK 1 that is attached."""
    path = here.rack.datastores_path / "1" / name
    make_ledger_image(path, 16, "qcow2")
    return (
        f'DISK=[DISK_ID=1, TARGET=vdb, ATTACH=YES, SOURCE="{path}", TM_MAD=qcow2, DATASTORE_ID=1, FORMAT=qcow2, '
        f"DRIVER=qcow2, SIZE=16, ORIGINAL_SIZE=16, {extra}]"
    )


@pytest.mark.parametrize("target", ["vdb", "sdb"])
def test_a_disk_is_plugged_into_a_running_guest_and_out_again(rack: Rack, target: str) -> None:
    async def story(here: Racked) -> None:
        oid = 811 if target == "vdb" else 812
        bare, host = here.vm(oid), here.host(1)
        vm = with_extra(bare, image(here, target).replace("vdb", target))
        assert (await here.do(EffectKind.VMM_DEPLOY, bare, host)).ok
        await here.booted(bare)
        answer = await here.do(EffectKind.VMM_ATTACH_DISK, vm, host, ITEM="1")
        assert answer.ok, answer
        taken = await here.do(EffectKind.VMM_ATTACH_DISK, vm, host, ITEM="1")
        assert (taken.ok, taken.certain) == (False, True), "another order, so another disk"
        assert f"still has another disk at {target}" in taken.message
        order = here.order(EffectKind.VMM_ATTACH_DISK, vm, host, None, 30, {"ITEM": "1"})
        here.driver = here.new_driver()
        assert await here.driver.probe(order) is not None
        assert (await here.driver.run(order)).ok
        here.driver = here.new_driver()
        source = (await here.description(vm, host)).find(f"devices/disk/target[@dev='{target}']/../source")
        assert source.get("file") == str(here.directory(oid) / "disk.1.snap/0")
        for _ in range(2):
            answer = await here.do(EffectKind.VMM_DETACH_DISK, vm, host, ITEM="1")
            assert answer.ok, answer
        assert (await here.description(vm, host)).find(f"devices/disk/target[@dev='{target}']") is None
        assert not (here.directory(oid) / "disk.1").exists()
        assert (await here.goes_on(bare)).ok

    tell(rack, story)


def test_a_disk_that_the_hypervisor_refuses_leaves_no_file(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        bare, host = here.vm(813), here.host(1)
        vm = with_extra(bare, image(here, "refused", "CLONE=YES, SAVE=NO, CACHE=imaginary"))
        assert (await here.do(EffectKind.VMM_DEPLOY, bare, host)).ok
        answer = await here.do(EffectKind.VMM_ATTACH_DISK, vm, host, ITEM="1")
        assert (answer.ok, answer.certain) == (False, True)
        assert "imaginary" in answer.message
        assert not (here.directory(813) / "disk.1").exists()

    tell(rack, story)


def test_an_interface_is_plugged_in_and_out(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        bare, host = here.vm(814), here.host(1)
        vm = with_extra(bare, 'NIC=[NIC_ID=0, NETWORK_MODE=dummy, MAC="02:00:0a:4d:00:01", ATTACH=YES]')
        assert (await here.do(EffectKind.VMM_DEPLOY, bare, host)).ok
        await here.booted(bare)
        for _ in range(2):
            answer = await here.do(EffectKind.VMM_ATTACH_NIC, vm, host, ITEM="0")
            assert answer.ok, answer
        assert (await here.description(vm, host)).find(
            "devices/interface/mac[@address='02:00:0a:4d:00:01']"
        ) is not None
        for _ in range(2):
            answer = await here.do(EffectKind.VMM_DETACH_NIC, vm, host, ITEM="0")
            assert answer.ok, answer
        assert (await here.description(vm, host)).find("devices/interface") is None

    tell(rack, story)


def test_a_raw_and_a_qcow2_disk_grow_while_they_are_written(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        host = here.host(1)
        for oid, image_format in ((815, "raw"), (816, "qcow2")):
            vm = here.vm(oid, image_format)
            order = here.order(EffectKind.VMM_RESIZE_DISK, vm, host, None, 9, {"DISK_ID": "0", "SIZE": "24"})
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
            await here.booted(vm)
            assert await here.driver.probe(order) is None
            assert (await here.do(EffectKind.VMM_RESIZE_DISK, vm, host, DISK_ID="0", SIZE="24")).ok
            assert (await here.driver.probe(order)) is not None
            shrink = await here.do(EffectKind.VMM_RESIZE_DISK, vm, host, DISK_ID="0", SIZE="20")
            assert "cannot shrink" in shrink.message
            assert (await here.goes_on(vm)).ok
            assert (await here.do(EffectKind.VMM_SHUTDOWN, vm, host)).ok

    tell(rack, story)


def test_a_vm_grows_as_far_as_it_was_started_for(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host = here.vm(817, extra="VCPU_MAX=2\nMEMORY_MAX=128"), here.host(1)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await here.booted(vm)
        assert (await here.do(EffectKind.VMM_RESIZE, vm, host, CPU="0.1", VCPU="2", MEMORY="128")).ok
        described = await here.description(vm, host)
        assert described.find("vcpu").get("current", described.findtext("vcpu")) == "2"
        assert described.findtext("currentMemory") == str(128 * 1024)
        refused = await here.do(EffectKind.VMM_RESIZE, vm, host, CPU="0.1", VCPU="3", MEMORY="96")
        assert "VCPU_MAX" in refused.message
        refused = await here.do(EffectKind.VMM_RESIZE, vm, host, CPU="0.1", VCPU="2", MEMORY="256")
        assert "MEMORY_MAX" in refused.message
        assert (await here.description(vm, host)).findtext("currentMemory") == str(128 * 1024)

    tell(rack, story)


def test_memory_comes_as_further_dimms_where_the_vm_asks_for_that(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host = here.vm(818, extra="MEMORY_MAX=512\nMEMORY_RESIZE_MODE=HOTPLUG"), here.host(1)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await here.booted(vm)
        assert (await here.do(EffectKind.VMM_RESIZE, vm, host, MEMORY="224")).ok
        assert (await here.description(vm, host)).findtext("memory") == str(224 * 1024)
        refused = await here.do(EffectKind.VMM_RESIZE, vm, host, MEMORY="96")
        assert "cannot be taken away" in refused.message
        assert (await here.goes_on(vm)).ok

    tell(rack, story)


def test_a_guest_that_is_still_booting_is_asked_again_to_let_go_of_a_device(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, host = here.vm(819, extra='NIC=[NIC_ID=0, NETWORK_MODE=dummy, MAC="02:00:0a:4d:00:02"]'), here.host(1)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        early = await here.do(EffectKind.VMM_DETACH_NIC, vm, host, limit_s=0.6, ITEM="0")
        assert (early.ok, early.certain) == (False, True)
        assert "did not let go of 02:00:0a:4d:00:02" in early.message
        answer = await here.do(EffectKind.VMM_DETACH_NIC, vm, host, ITEM="0")
        assert answer.ok, answer
        assert (await here.description(vm, host)).find("devices/interface") is None

    tell(rack, story)
