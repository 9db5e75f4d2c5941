"""The drivers ``ssh`` and ``local`` between hosts that share nothing, over real ssh."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from holdfast.drivers.tm.account import Progress
from holdfast.drivers.tm.driver import TmDriver
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from tests.unit.tm.site import opened
from tests.unit.tm.ssh_hosts import PERSISTENT, SshSite, ok, placed
from tests.unit.tm.test_context_image import joliet_files
from tests.unit.vmm.objects import a_stay, an_order, elsewhere

K = EffectKind
OK = Answer(ok=True)


@pytest.fixture
def site(ssh_site: SshSite) -> SshSite:
    """Two hosts that hold nothing yet."""
    return ssh_site


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_an_image_is_copied_to_the_host_and_grows_there(site: SshSite, image_format: str) -> None:
    text = site.disk(site.image("aaa", image_format), image_format).replace(", SIZE=4", ", SIZE=8")
    vm = placed(site.vm(text), 1)
    ok(site.run(K.TM_PROLOG, vm))
    disk = site.host1.directory / "disk.0"
    assert site.info(disk)["virtual-size"] == 8 << 20
    assert "backing-filename" not in site.info(disk)
    assert site.holds(disk, image_format, "0xab")
    assert site.host1.files() == ["disk.0"]
    assert not site.directory.exists()
    assert site.leftovers() == []


def test_a_vm_with_all_kinds_of_disks_lives_on_three_machines(site: SshSite) -> None:
    image, kept = site.image("aaa"), site.image("bbb", "raw", pattern="0x01")
    text = site.disk(image) + site.disk(kept, "raw", PERSISTENT, 1)
    text += "DISK=[DISK_ID=2, TYPE=fs, SIZE=4, FORMAT=qcow2]\nDISK=[DISK_ID=3, TYPE=swap, SIZE=4]\n"
    vm = placed(site.vm(text), 1)
    ok(site.run(K.TM_PROLOG, vm))
    site.write(site.host1.directory / "disk.0", "qcow2", "0x22")
    site.write(site.host1.directory / "disk.1", "raw", "0x33")
    ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0))
    site.write(site.host1.directory / "disk.0.snap/1", "qcow2", "0x44")
    vm = placed(vm, 1, 2)
    ok(site.run(K.TM_MIGRATE, vm))
    assert site.host1.files("0") == []
    assert site.host2.files() == ["disk.0", "disk.0.snap", "disk.1", "disk.2", "disk.3"]
    assert site.holds(site.host2.directory / "disk.0", "qcow2", "0x44")
    ok(site.run(K.TM_SNAPSHOT_REVERT, vm, DISK_ID=0, ITEM=0))
    ok(site.run(K.TM_RESIZE, vm, DISK_ID=2, SIZE=8))
    ok(site.run(K.TM_STOP, vm))
    assert site.host2.files("0") == []
    assert site.holds(site.directory / "disk.0", "qcow2", "0x22")
    vm = placed(vm, 1, 2, 1)
    ok(site.run(K.TM_RESUME, vm))
    assert site.info(site.host1.directory / "disk.2")["virtual-size"] == 8 << 20
    ok(site.run(K.TM_EPILOG, vm))
    assert site.holds(kept, "raw", "0x33")
    assert site.host1.files("0") == site.host2.files("0") == site.files("0") == []
    assert site.leftovers() == []


def test_snapshots_of_a_persistent_disk_go_into_the_image_that_comes_back(site: SshSite) -> None:
    image = site.image("aaa")
    vm = placed(site.vm(site.disk(image, extra=PERSISTENT)), 1)
    ok(site.run(K.TM_PROLOG, vm))
    for number, pattern in enumerate(("0x11", "0x22")):
        site.write(site.host1.directory / "disk.0", "qcow2", pattern)
        ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=number))
    vm = replace(vm, snapshots=(DiskSnapshots(0, next_oid=2),))
    ok(site.run(K.TM_EPILOG, vm))
    assert site.holds(image, "qcow2", "0x22")
    assert "backing-filename" not in site.info(image)
    ok(site.run(K.TM_EPILOG, vm))


def test_a_disk_that_the_host_has_lost_does_not_count_as_brought_back(site: SshSite) -> None:
    image = site.image("aaa")
    vm = placed(site.vm(site.disk(image, extra=PERSISTENT)), 1)
    for _ in range(2):  # what the first life of the VM left on the front-end says nothing about the second one
        ok(site.run(K.TM_PROLOG, vm))
        ok(site.run(K.TM_EPILOG, vm))
    ok(site.run(K.TM_PROLOG, vm))
    (site.host1.directory / "disk.0").unlink()
    answer = site.run(K.TM_EPILOG, vm)
    assert not answer.ok
    assert f"host1:{site.root}/0/7/disk.0 does not exist" in answer.message


def test_an_image_of_a_shared_datastore_serves_a_host_with_storage_of_its_own(site: SshSite) -> None:
    image = site.image("aaa")
    text = site.disk(image).replace("TM_MAD=ssh", "TM_MAD=qcow2, TM_MAD_SYSTEM=ssh")
    vm = placed(site.vm(text), 1)
    ok(site.run(K.TM_PROLOG, vm))
    assert (site.vms / "7/transfer.0.prolog").read_text().startswith("CLONE.ssh qcow2 front:")
    ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0))
    assert site.host1.files() == ["disk.0", "disk.0.snap"]
    ok(site.run(K.TM_DELETE, vm))
    assert site.host1.files("0") == []


def test_a_move_between_datastores_of_one_host_stays_there(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    ok(site.run(K.TM_PROLOG, vm))
    vm = elsewhere(vm, a_stay(1, 0, tm_mad="ssh"), a_stay(1, 1, ds_id=100, tm_mad="ssh"))
    ok(site.run(K.TM_MIGRATE, vm))
    assert site.host1.files("100/7") == ["disk.0"]
    assert site.host1.files("0") == []


def test_a_directory_is_not_moved_onto_itself_when_two_names_are_one_machine(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    ok(site.run(K.TM_PROLOG, vm))
    ok(site.line(f"MV ssh host1:{site.root}/0/7 alias1:{site.root}/0/7 7 0"))
    assert site.host1.files() == ["disk.0"]
    assert site.leftovers() == []


def test_a_directory_that_is_not_there_is_missed_when_two_names_are_one_machine_too(site: SshSite) -> None:
    site.image("aaa")
    answer = site.line(f"MV ssh host1:{site.root}/0/7 alias1:{site.root}/0/7 7 0")
    assert not answer.ok
    assert "the directory of the VM, is not there" in answer.message
    assert site.leftovers() == []


def test_what_an_interrupted_move_left_behind_is_not_taken_for_the_last_version(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    ok(site.run(K.TM_PROLOG, vm))
    move = f"MV ssh host1:{site.root}/0/7 host2:{site.root}/0/7 7 0"
    site.cut("set_aside")
    assert not site.line(move).ok
    site.cut("")
    assert site.host1.files() == site.host2.files() == ["disk.0"], "published there, not removed here"
    away = site.host1.datastores / "elsewhere"
    site.host1.directory.rename(away)
    answer = site.line(move)
    assert not answer.ok
    assert f"see whether {site.root}/0 is mounted on host1" in answer.message
    away.rename(site.host1.directory)
    site.write(site.host1.directory / "disk.0", "qcow2", "0x55")
    ok(site.line(move))
    assert site.holds(site.host2.directory / "disk.0", "qcow2", "0x55")
    assert site.host1.files("0") == []


@pytest.mark.parametrize("point", ["receive", "send", "publish_directory", "set_aside", "settle", "drop_set_aside"])
def test_a_move_that_is_cut_anywhere_keeps_a_good_copy_and_is_repeated(site: SshSite, point: str) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    ok(site.run(K.TM_PROLOG, vm))
    site.write(site.host1.directory / "disk.0", "qcow2", "0x66")
    vm = placed(vm, 1, 2)
    site.cut(point)
    assert not site.run(K.TM_MIGRATE, vm).ok
    site.cut("")
    assert site.probe(K.TM_MIGRATE, vm) is None
    ok(site.run(K.TM_MIGRATE, vm))
    assert site.holds(site.host2.directory / "disk.0", "qcow2", "0x66")
    assert site.host1.files("0") == []
    assert site.leftovers() == []
    found = site.probe(K.TM_MIGRATE, vm)
    assert found
    assert found.ok


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_nothing_is_taken_away_from_under_a_domain_that_lives_after_all(site: SshSite, image_format: str) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa", image_format), image_format, PERSISTENT)), 1)
    ok(site.run(K.TM_PROLOG, vm))

    async def work() -> list[Answer]:
        async with opened(site.host1.directory / "disk.0", image_format):
            steps = ((K.TM_MIGRATE, placed(vm, 1, 2)), (K.TM_STOP, vm), (K.TM_EPILOG, vm))
            return [await asyncio.to_thread(site.run, kind, it) for kind, it in steps]

    for answer in asyncio.run(work()):
        assert not answer.ok
        assert f"host host1: {site.root}/0/7/disk.0 is in use" in answer.message
    assert site.host1.files() == ["disk.0"]
    assert site.leftovers() == []
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2)))


def test_after_a_restart_hosts_show_what_was_done(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    assert site.probe(K.TM_PROLOG, vm) is None
    ok(site.run(K.TM_PROLOG, vm))
    assert site.probe(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0) is None
    ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0))
    assert site.probe(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0)
    assert site.probe(K.TM_RESIZE, vm, DISK_ID=0, SIZE=8) is None
    ok(site.run(K.TM_RESIZE, vm, DISK_ID=0, SIZE=8))
    assert site.probe(K.TM_RESIZE, vm, DISK_ID=0, SIZE=8)
    assert site.probe(K.TM_DELETE, vm) is None
    ok(site.run(K.TM_DELETE, vm))
    assert site.probe(K.TM_DELETE, vm)


def test_a_link_that_leads_out_of_the_datastore_is_not_followed(site: SshSite) -> None:
    secret = site.host1.base / "secret"
    secret.write_text("secret")
    vm = placed(site.vm(site.disk(site.image("aaa", "raw"), "raw", PERSISTENT)), 1)
    site.host1.directory.mkdir()
    (site.host1.directory / "disk.0").symlink_to(secret)
    answer = site.run(K.TM_EPILOG, vm)
    assert not answer.ok
    assert "outside the datastores" in answer.message or "leads out" in answer.message


def test_progress_of_a_copy_is_told(site: SshSite) -> None:
    image = site.image("aaa", "raw", "64M")
    image.write_bytes(os.urandom(64 << 20))
    vm = placed(site.vm(site.disk(image, "raw")), 1)
    seen: list[Progress] = []

    async def watched() -> Answer:
        driver = TmDriver(site.root, site.vms, "front", hands=site.hands())
        work = asyncio.create_task(driver.run(an_order(K.TM_PROLOG, vm, None, 20)))
        while not work.done():
            seen.extend(filter(None, [driver.accounts.progress_of(7)]))
            await asyncio.sleep(0.002)
        return await work

    assert asyncio.run(watched()) == OK
    assert {each.total_bytes for each in seen} == {0, 64 << 20}
    assert len({each.percent for each in seen}) > 5
    assert [each.done_bytes for each in seen] == sorted(each.done_bytes for each in seen)


def test_the_context_and_the_kernel_come_to_the_host(site: SshSite) -> None:
    (site.root / "1/kkk").write_bytes(b"a kernel")
    kernel = (
        f'OS=[KERNEL_DS_SOURCE="{site.root}/1/kkk", KERNEL_DS_TM=shared, KERNEL_DS_DSID=1, KERNEL_DS_TM_SYSTEM=ssh]'
    )
    vm = placed(site.vm(f'{kernel}\nCONTEXT=[DISK_ID="1", TARGET="hda", SET_HOSTNAME="web"]'), 1)
    ok(site.run(K.TM_PROLOG, vm))
    for _ in range(2):
        ok(asyncio.run(site.driver.make_context(vm, 20)))
    assert site.host1.files() == ["disk.1", "kernel"]
    assert (site.host1.directory / "kernel").read_bytes() == b"a kernel"
    script = joliet_files((site.host1.directory / "disk.1").read_bytes())["context.sh"]
    assert b"SET_HOSTNAME='web'" in script
