"""What is done to a disk that is there: snapshots, size, attaching and detaching, with real images."""

from __future__ import annotations

import asyncio
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.drivers.tm.layers import newest_layer
from holdfast.drivers.tm.lines import Request, Step, TransferError
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site, opened
from tests.unit.vmm.objects import a_stay, an_order

K = EffectKind
PERSISTENT = "CLONE=NO, SAVE=YES, PERSISTENT=YES"
CLONED = "CLONE=YES, SAVE=NO"
OK = Answer(ok=True)
FORMATS = pytest.mark.parametrize("image_format", ["raw", "qcow2"])
ON_THE_DISK: tuple[tuple[EffectKind, dict[str, Any]], ...] = (
    (K.TM_RESIZE, {"SIZE": 9}),
    (K.TM_SNAPSHOT_CREATE, {"ITEM": 0}),
)
KINDS = pytest.mark.parametrize("kind", [CLONED, PERSISTENT])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Empty datastores."""
    return Site(tmp_path)


def started(site: Site, image_format: str = "qcow2", kind: str = CLONED) -> Vm:
    """VM 7 after its prolog; its image holds 0xab."""
    vm = site.vm(site.disk(site.image("aaa", image_format), image_format, kind))
    assert site.run(K.TM_PROLOG, vm) == OK
    return vm


def snapshot(site: Site, kind: EffectKind, vm: Vm, snapshot_id: int) -> Answer:
    return site.run(kind, vm, DISK_ID=0, ITEM=snapshot_id)


def snapshot_probe(site: Site, kind: EffectKind, vm: Vm, snapshot_id: int) -> bool:
    return site.probe(kind, vm, DISK_ID=0, ITEM=snapshot_id) is not None


@FORMATS
@KINDS
def test_a_disk_goes_back_to_each_of_its_snapshots(site: Site, image_format: str, kind: str) -> None:
    vm = started(site, image_format, kind)
    disk = site.directory / "disk.0"
    for number, pattern in enumerate(("0x11", "0x22", "0x33")):
        site.write(disk, image_format, pattern)
        assert not snapshot_probe(site, K.TM_SNAPSHOT_CREATE, vm, number)
        assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, number) == OK
        assert snapshot_probe(site, K.TM_SNAPSHOT_CREATE, vm, number)
        assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, number) == OK, "again"
    for number, pattern in ((0, "0x11"), (2, "0x33"), (1, "0x22")):
        site.write(disk, image_format, "0xee")
        assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, number) == OK
        assert site.holds(disk, image_format, pattern)
        assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, number) == OK, "again"
        assert site.holds(disk, image_format, pattern)
        assert not snapshot_probe(site, K.TM_SNAPSHOT_REVERT, vm, number), "what was written since cannot be seen"
    assert site.leftovers() == []
    assert (site.directory / "transfer.0.disk_snapshot").exists() is False
    assert site.driver.transfer_file(vm, Step.DISK_SNAPSHOT).read_text() == (
        f"SNAP_REVERT qcow2 host1:{disk} 1 7 1\n"
    )  # fmt: skip


def test_the_layers_of_a_disk_are_opennebulas(site: Site) -> None:
    vm = started(site)
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    assert os.readlink(site.directory / "disk.0") == "disk.0.snap/1"
    assert site.info(site.directory / "disk.0.snap/1")["backing-filename"] == "disk.0.snap/0"
    assert site.files("0/7/disk.0.snap") == ["0", "1", "disk.0.snap"]


def test_the_layers_of_a_persistent_image_lie_beside_it(site: Site) -> None:
    vm = started(site, kind=PERSISTENT)
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    layer = site.root / "1/aaa.snap/1"
    assert os.readlink(site.directory / "disk.0") == str(layer)
    assert site.info(layer)["full-backing-filename"] == str(site.root / "1/aaa.snap/0")
    assert site.files() == ["disk.0"]


def test_layers_stay_whole_when_the_directory_moves(site: Site) -> None:
    vm = started(site)
    site.write(site.directory / "disk.0", "qcow2", "0x11")
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    moved = replace(vm, history=(a_stay(1, 0), a_stay(2, 1, ds_id=100)))
    assert site.run(K.TM_MIGRATE, moved) == OK
    assert site.holds(site.root / "100/7/disk.0", "qcow2", "0x11")
    site.write(site.root / "100/7/disk.0", "qcow2", "0x22")
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, moved, 0) == OK
    assert site.holds(site.root / "100/7/disk.0", "qcow2", "0x11")


@KINDS
def test_ids_of_snapshots_that_never_came_to_be_are_left_out(site: Site, kind: str) -> None:
    vm = started(site, kind=kind)
    disk = site.directory / "disk.0"
    site.write(disk, "qcow2", "0x33")
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 3) == OK
    site.write(disk, "qcow2", "0x44")
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 4) == OK
    site.write(disk, "qcow2", "0x55")
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, 3) == OK
    assert site.holds(disk, "qcow2", "0x33")
    assert snapshot(site, K.TM_SNAPSHOT_DELETE, vm, 4) == OK
    assert site.holds(disk, "qcow2", "0x33")


def left_by_another(site: Site) -> Vm:
    """A persistent image with the layers of a VM that was removed without its epilog; a VM without any snapshot."""
    vm = started(site, kind=PERSISTENT)
    for number in (0, 1):
        assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, number) == OK
    site.write(site.directory / "disk.0", "qcow2", "0x77")
    assert site.run(K.TM_DELETE, vm) == OK
    return vm


@pytest.mark.parametrize("way", [K.TM_PROLOG, K.TM_ATTACH])
def test_layers_that_an_earlier_vm_left_go_into_the_image_before_the_next_gets_it(site: Site, way: EffectKind) -> None:
    vm = left_by_another(site)
    disk, image = site.directory / "disk.0", site.root / "1/aaa"
    assert site.run(way, vm, ITEM=0) == OK
    assert site.files("1/aaa.snap") == ["0", "aaa.snap"]
    assert site.holds(image, "qcow2", "0x77")
    assert not snapshot_probe(site, K.TM_SNAPSHOT_CREATE, vm, 0)
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    site.write(disk, "qcow2", "0x88")
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, 0) == OK
    assert site.holds(disk, "qcow2", "0x77"), "back at its own snapshot, not at the image of the earlier VM"


def test_layers_that_another_program_still_writes_are_not_merged(site: Site) -> None:
    vm = left_by_another(site)

    async def story() -> Answer:
        async with opened(site.root / "1/aaa.snap/2"):
            return await site.driver.run(an_order(K.TM_PROLOG, vm, None, 2))

    answer = asyncio.run(story())
    assert not answer.ok
    assert "lock" in answer.message
    assert site.run(K.TM_PROLOG, vm) == OK
    assert site.holds(site.directory / "disk.0", "qcow2", "0x77")


@pytest.mark.parametrize("number", [0, 1])
def test_somebody_elses_layer_is_not_taken_for_the_snapshot_that_is_wanted(site: Site, number: int) -> None:
    vm = left_by_another(site)
    kept = replace(vm, snapshots=(DiskSnapshots(0, next_oid=number + 1),))
    assert site.run(K.TM_PROLOG, kept) == OK
    answer = snapshot(site, K.TM_SNAPSHOT_CREATE, kept, number)
    assert (answer.ok, answer.certain) == (False, True)
    assert f"is on layer 2 already, which is no base for snapshot {number}; merge" in answer.message
    assert site.holds(site.directory / "disk.0", "qcow2", "0x77")


def test_a_snapshot_that_this_very_order_made_is_done(site: Site) -> None:
    vm = started(site, kind=PERSISTENT)
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    assert not snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0).ok
    assert snapshot_probe(site, K.TM_SNAPSHOT_CREATE, vm, 0), "the controller was restarted"
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK


@FORMATS
def test_a_snapshot_is_deleted_unless_something_lies_on_it(site: Site, image_format: str) -> None:
    vm = started(site, image_format)
    disk = site.directory / "disk.0"
    for number in (0, 1):
        site.write(disk, image_format, f"0x{number + 1}{number + 1}")
        assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, number) == OK
    if image_format == "qcow2":
        for number in (0, 1):
            refused = snapshot(site, K.TM_SNAPSHOT_DELETE, vm, number)
            assert (refused.ok, refused.certain) == (False, True)
            assert f"cannot be deleted: {disk}.snap/{number + 1} is based on it" in refused.message
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, 0) == OK
    assert not snapshot_probe(site, K.TM_SNAPSHOT_DELETE, vm, 1)
    assert snapshot(site, K.TM_SNAPSHOT_DELETE, vm, 1) == OK
    assert snapshot_probe(site, K.TM_SNAPSHOT_DELETE, vm, 1)
    assert snapshot(site, K.TM_SNAPSHOT_DELETE, vm, 1) == OK, "again"
    assert site.holds(disk, image_format, "0x11")
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 2) == OK
    assert site.holds(disk, image_format, "0x11")
    gone = snapshot(site, K.TM_SNAPSHOT_REVERT, vm, 1)
    assert "snapshot 1 of" in gone.message
    assert "does not exist" in gone.message


def test_a_volatile_disk_gets_its_layers_with_the_first_snapshot(site: Site) -> None:
    vm = site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=3, FORMAT=qcow2]")
    assert site.run(K.TM_PROLOG, vm) == OK
    disk = site.directory / "disk.0"
    site.write(disk, "qcow2", "0x11")
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    site.write(disk, "qcow2", "0x22")
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, vm, 0) == OK
    assert site.holds(disk, "qcow2", "0x11")
    assert site.run(K.TM_PROLOG, vm) == OK
    assert site.files() == ["disk.0"], "made anew, without snapshots"


@FORMATS
@KINDS
def test_a_disk_grows_and_never_shrinks(site: Site, image_format: str, kind: str) -> None:
    vm = started(site, image_format, kind)
    disk = site.directory / "disk.0"
    assert site.probe(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9) is None
    assert site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9) == OK
    assert site.info(disk)["virtual-size"] == 9 << 20
    assert site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9) == OK, "again"
    done = site.probe(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9)
    assert done
    assert done.ok
    refused = site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=8)
    assert (refused.ok, refused.certain) == (False, True)
    assert "disk.0 has 9 MB: it cannot shrink to 8 MB (line 1: RESIZE " in refused.message
    assert site.holds(disk, image_format, "0xab")


def test_what_a_guest_writes_over_its_raw_disk_is_not_taken_for_the_disks_format(site: Site, tmp_path: Path) -> None:
    vm = started(site, "raw")
    claimed = tmp_path / "claimed"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", claimed, "100M"], check=True)
    with (site.directory / "disk.0").open("r+b") as disk:
        disk.write(claimed.read_bytes())
    assert site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9) == OK
    assert (site.directory / "disk.0").stat().st_size == 9 << 20
    done = site.probe(K.TM_RESIZE, vm, DISK_ID=0, SIZE=9)
    assert done
    assert done.ok


def test_layers_of_an_image_that_many_vms_link_at_once_are_begun_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            image = tmp_path / f"image{number}"
            image.touch()
            assert set(pool.map(newest_layer, [image] * 8)) == {tmp_path / f"image{number}.snap" / "0"}


@FORMATS
def test_a_disk_that_grew_keeps_its_size_when_it_is_reverted(site: Site, image_format: str) -> None:
    vm = started(site, image_format)
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK
    grown = replace(vm, template=site.vm(site.disk(site.root / "1/aaa", image_format)
                                         .replace(" SIZE=4,", " SIZE=9,")).template)  # fmt: skip
    assert site.run(K.TM_RESIZE, grown, DISK_ID=0, SIZE=9, LOCAL="YES") == OK
    assert site.driver.transfer_file(vm, Step.DISK_RESIZE).read_text() == (
        f"RESIZE qcow2 front:{site.directory}/disk.0 9 7 1\n"
    )
    assert snapshot(site, K.TM_SNAPSHOT_REVERT, grown, 0) == OK
    assert site.info(site.directory / "disk.0")["virtual-size"] == 9 << 20
    assert site.holds(site.directory / "disk.0", image_format, "0xab")


@FORMATS
@KINDS
def test_a_disk_is_attached_and_detached_without_a_trace(site: Site, image_format: str, kind: str) -> None:
    alone = started(site)
    image = site.image("bbb", image_format, pattern="0x5b")
    text = site.disk(site.root / "1/aaa") + site.disk(image, image_format, kind, disk_id=2)
    vm = replace(alone, template=site.vm(text).template)
    before = site.files()
    assert site.probe(K.TM_ATTACH, vm, ITEM=2) is None
    assert site.run(K.TM_ATTACH, vm, ITEM=2) == OK
    assert site.holds(site.directory / "disk.2", image_format, "0x5b")
    assert (site.probe(K.TM_ATTACH, vm, ITEM=2) is None) is (kind == CLONED and image_format == "raw")
    assert site.probe(K.TM_DETACH, vm, ITEM=2) is None
    assert site.run(K.TM_ATTACH, vm, ITEM=2) == OK, "again"
    site.write(site.directory / "disk.2", image_format, "0x6c")
    assert site.run(K.TM_DETACH, vm, ITEM=2) == OK
    assert site.files() == before
    assert site.probe(K.TM_ATTACH, vm, ITEM=2) is None
    done = site.probe(K.TM_DETACH, vm, ITEM=2)
    assert done
    assert done.ok
    assert site.run(K.TM_DETACH, vm, ITEM=2) == OK, "again"
    assert site.holds(image, image_format, "0x6c" if kind == PERSISTENT else "0x5b")
    assert (site.vms / "7/transfer.0.prolog_attach").exists()
    assert (site.vms / "7/transfer.0.epilog_detach").exists()


def test_a_disk_of_another_image_under_the_same_number_is_not_taken_for_the_one_wanted(site: Site) -> None:
    for kind in (CLONED, PERSISTENT):
        old = site.vm(site.disk(site.image("aaa"), "qcow2", kind))
        assert site.run(K.TM_ATTACH, old, ITEM=0) == OK
        assert site.probe(K.TM_ATTACH, old, ITEM=0) is not None
        new = site.vm(site.disk(site.image("bbb"), "qcow2", kind))
        assert site.probe(K.TM_ATTACH, new, ITEM=0) is None


@pytest.mark.parametrize("way", [K.TM_EPILOG, K.TM_DETACH])
def test_a_persistent_image_takes_its_layers_in_when_the_vm_lets_go_of_it(site: Site, way: EffectKind) -> None:
    vm = started(site, kind=PERSISTENT)
    disk = site.directory / "disk.0"
    for number, size in ((0, 6), (1, 8)):
        assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, number) == OK
        assert site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=size) == OK
        site.write(disk, "qcow2", f"0x{size}{size}")
    ended = replace(vm, snapshots=(DiskSnapshots(0, next_oid=2),))
    assert site.run(way, ended, ITEM=0) == OK
    assert site.files("1") == ["aaa"]
    image = site.root / "1/aaa"
    assert site.holds(image, "qcow2", "0x88")
    assert site.info(image)["virtual-size"] == 8 << 20
    assert "backing-filename" not in site.info(image)
    assert site.run(way, ended, ITEM=0) == OK, "again"
    assert site.run(K.TM_PROLOG, vm) == OK
    assert snapshot(site, K.TM_SNAPSHOT_CREATE, vm, 0) == OK, "the next VM starts its snapshots anew"


def test_a_disk_that_should_be_a_link_to_its_image_but_is_a_file_is_not_thrown_away(site: Site) -> None:
    vm = started(site, kind=PERSISTENT)
    disk = site.directory / "disk.0"
    disk.unlink()
    disk.write_text("the only copy")
    answer = site.run(K.TM_EPILOG, vm)
    assert (answer.ok, answer.certain) == (False, True)
    assert "is a file of its own instead of a link to its image: copy it there by hand" in answer.message
    assert disk.read_text() == "the only copy"


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        (K.TM_SNAPSHOT_CREATE, {"DISK_ID": "0"}, 'ITEM of the order is ""'),
        (K.TM_SNAPSHOT_REVERT, {"DISK_ID": "0", "ITEM": "5"}, "snapshot 5 of"),
        (K.TM_SNAPSHOT_DELETE, {"DISK_ID": "4", "ITEM": "5"}, "no DISK with DISK_ID 4"),
        (K.TM_RESIZE, {"DISK_ID": "0", "SIZE": "x"}, 'SIZE of the order is "x"'),
        (K.TM_RESIZE, {"DISK_ID": "0", "SIZE": "0"}, "SIZE is 0"),
        (K.TM_ATTACH, {"ITEM": "3"}, "no DISK with DISK_ID 3"),
        (K.TM_DETACH, {"ITEM": ""}, 'ITEM of the order is ""'),
        (K.TM_EPILOG, {"SEQ": "4"}, "no history record 4"),
        (K.TM_EPILOG, {"SEQ": "x"}, 'SEQ of the order is "x"'),
        (K.TM_SAVEAS, {"DISK_ID": "0"}, "tm.saveas is not offered by this version"),
        (K.TM_RESTORE, {}, "tm.restore is not offered by this version"),
    ],
)
def test_an_order_that_cannot_be_carried_out_says_why(
    site: Site, kind: EffectKind, args: dict[str, Any], why: str
) -> None:
    vm = started(site)
    answer = site.run(kind, vm, **args)
    assert (answer.ok, answer.certain) == (False, True)
    assert why in answer.message
    assert site.probe(kind, vm, **args) is None


def test_a_disk_that_is_not_there_is_named(site: Site) -> None:
    vm = site.vm(site.disk(site.image("aaa")))
    for kind, args in ON_THE_DISK:
        answer = site.run(kind, vm, DISK_ID=0, **args)
        assert (answer.ok, answer.certain) == (False, True)
        assert answer.message.startswith(f"{site.directory}/disk.0 does not exist (line 1: ")


def test_a_disk_whose_link_leads_out_of_the_datastores_is_not_touched(site: Site, tmp_path: Path) -> None:
    vm = started(site)
    outside = site.image("bbb").rename(tmp_path / "outside")
    disk = site.directory / "disk.0"
    disk.unlink()
    disk.symlink_to(outside)
    for kind, args in ON_THE_DISK:
        assert "is outside the datastores" in site.run(kind, vm, DISK_ID=0, **args).message
    assert site.info(outside)["virtual-size"] == 4 << 20


def test_a_live_snapshot_prepares_a_layer_points_the_disk_there_and_can_be_withdrawn(site: Site) -> None:
    vm = started(site)
    disk = site.directory / "disk.0"

    async def story() -> None:
        tm = site.driver
        below = await tm.active_layer(vm, 0, 10)
        assert (below.number, below.path) == (0, site.directory / "disk.0.snap/0")
        async with opened(below.path):
            layer = await tm.prepare_layer(vm, 0, 0, 10)
            assert (layer.number, layer.path) == (1, site.directory / "disk.0.snap/1")
            assert os.readlink(disk) == "disk.0.snap/0"
            assert await tm.prepare_layer(vm, 0, 0, 10) == layer
            await tm.point_at_layer(vm, 0, layer, 10)
            assert await tm.active_layer(vm, 0, 10) == layer
            assert await tm.prepare_layer(vm, 0, 0, 10) == layer
            await tm.withdraw_layer(vm, 0, layer, below, 10)
            assert await tm.active_layer(vm, 0, 10) == below
            assert not layer.path.exists()
            with pytest.raises(TransferError, match="was left as it is"):
                await tm.point_at_layer(vm, 0, layer, 10)
        again = await tm.prepare_layer(vm, 0, 1, 10)
        await tm.point_at_layer(vm, 0, again, 10)

    asyncio.run(story())
    assert os.readlink(disk) == "disk.0.snap/2"
    assert site.holds(disk, "qcow2", "0xab")


def test_a_raw_disk_of_a_paused_vm_is_snapshotted_as_part_of_another_drivers_work(site: Site) -> None:
    vm = started(site, "raw")
    request = Request(Step.DISK_SNAPSHOT, disk_id=0, snapshot="SNAP_CREATE", snapshot_id=0)
    assert asyncio.run(site.driver.run_request(vm, request, 10)) == OK
    assert site.holds(site.directory / "disk.0.snap/0", "raw", "0xab")


def test_only_a_qcow2_disk_on_shared_storage_has_layers(site: Site) -> None:
    for text in (
        site.disk(site.image("aaa", "raw"), "raw"),
        site.disk(site.image("bbb")).replace("TM_MAD=qcow2", "TM_MAD=dummy"),
    ):
        with pytest.raises(TransferError, match="live snapshots need a qcow2 disk"):
            asyncio.run(site.driver.prepare_layer(site.vm(text), 0, 0, 10))


def test_a_step_runs_as_part_of_another_drivers_work_without_a_file(site: Site) -> None:
    vm = site.vm(site.disk(site.image("aaa")) + site.disk(site.root / "1/missing", disk_id=1))
    assert asyncio.run(site.driver.run_step(vm, Step.PROLOG_ATTACH, 10, 0)) == OK
    assert site.holds(site.directory / "disk.0", "qcow2", "0xab")
    failed = asyncio.run(site.driver.run_step(vm, Step.PROLOG_ATTACH, 10, 1))
    assert (failed.ok, failed.certain) == (False, True)
    assert "missing does not exist" in failed.message
    for _ in range(2):
        assert asyncio.run(site.driver.run_step(vm, Step.EPILOG_DETACH, 10, 0)) == OK
    assert site.files() == []
    assert not site.vms.exists()
