"""The transfers of shared storage, with real images: the layout, whole or not at all, again and again."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.tm.lines import Step
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_datastore, a_stay, an_order

PROLOG, MIGRATE, EPILOG, DELETE = (
    EffectKind.TM_PROLOG, EffectKind.TM_MIGRATE, EffectKind.TM_EPILOG, EffectKind.TM_DELETE,
)  # fmt: skip
PERSISTENT = "CLONE=NO, SAVE=YES, PERSISTENT=YES"
OK = Answer(ok=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Empty datastores."""
    return Site(tmp_path)


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    """A directory to which nothing can be renamed from here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def test_a_qcow2_clone_is_an_overlay_in_opennebulas_layout(site: Site) -> None:
    image = site.image("aaa")
    vm = site.vm(site.disk(image))
    assert site.run(PROLOG, vm) == OK
    disk = site.directory / "disk.0"
    assert os.readlink(disk) == "disk.0.snap/0"
    assert os.readlink(site.directory / "disk.0.snap/disk.0.snap") == "."
    assert site.files() == ["disk.0", "disk.0.snap"]
    about = site.info(disk)
    assert about["full-backing-filename"] == str(image)
    assert about["backing-filename-format"] == "qcow2"
    assert site.holds(disk, "qcow2", "0xab")
    site.write(disk, "qcow2", "0xcd")
    assert site.holds(image, "qcow2", "0xab"), "the image must not change"
    transfer_file = site.driver.transfer_file(vm, Step.PROLOG)
    assert transfer_file == site.vms / "7/transfer.0.prolog"
    assert transfer_file.read_text() == f"CLONE qcow2 front:{image} host1:{disk} 7 1\n"


def test_a_raw_clone_is_a_copy_whose_holes_stay_holes(site: Site) -> None:
    image = site.image("aaa", "raw", "64M")
    assert site.run(PROLOG, site.vm(site.disk(image, "raw"))) == OK
    disk = site.directory / "disk.0"
    assert not disk.is_symlink()
    assert disk.stat().st_size == 64 << 20
    assert disk.stat().st_blocks * 512 < 4 << 20
    assert site.holds(disk, "raw", "0xab")


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_disk_that_is_larger_than_its_image_is_grown(site: Site, image_format: str) -> None:
    image = site.image("aaa", image_format)
    text = site.disk(image, image_format).replace("SIZE=4, CLONE", "SIZE=9, CLONE")
    assert site.run(PROLOG, site.vm(text)) == OK
    assert site.info(site.directory / "disk.0")["virtual-size"] == 9 << 20
    assert site.holds(site.directory / "disk.0", image_format, "0xab")


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_persistent_image_is_used_in_place(site: Site, image_format: str) -> None:
    image = site.image("aaa", image_format)
    vm = site.vm(site.disk(image, image_format, PERSISTENT))
    assert site.run(PROLOG, vm) == OK
    assert site.run(PROLOG, vm) == OK
    disk = site.directory / "disk.0"
    assert disk.is_symlink()
    assert os.readlink(disk) == str(image) + ("" if image_format == "raw" else ".snap/0")
    site.write(disk, image_format, "0xcd")
    assert site.run(EPILOG, vm) == OK
    assert not site.directory.exists()
    assert site.holds(image, image_format, "0xcd")


def test_the_newest_snapshot_of_a_persistent_image_is_used(site: Site) -> None:
    image = site.image("aaa")
    folder = site.root / "1/aaa.snap"
    folder.mkdir()
    for name in ("1", "2", "10"):
        (folder / name).touch()
    vm = replace(site.vm(site.disk(image, "qcow2", PERSISTENT)), snapshots=(DiskSnapshots(0, next_oid=10),))
    assert site.run(PROLOG, vm) == OK
    assert os.readlink(site.directory / "disk.0") == str(folder / "10")


def test_volatile_disks_are_made(site: Site) -> None:
    text = "DISK=[DISK_ID=0, TYPE=swap, SIZE=2]\nDISK=[DISK_ID=1, TYPE=fs, SIZE=3, FORMAT=qcow2]"
    assert site.run(PROLOG, site.vm(text)) == OK
    swap = site.directory / "disk.0"
    assert swap.stat().st_size == 2 << 20
    assert swap.read_bytes()[4086:4096] == b"SWAPSPACE2"
    about = site.info(site.directory / "disk.1")
    assert (about["format"], about["virtual-size"]) == ("qcow2", 3 << 20)


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_repeated_prolog_replaces_what_a_crash_or_an_earlier_life_left(site: Site, image_format: str) -> None:
    image = site.image("aaa", image_format)
    folder = site.directory / "disk.0.snap"
    folder.mkdir(parents=True)
    (folder / "0").write_text("half")
    (site.directory / "disk.0").write_text("half")
    (site.directory / "disk.0.draft.old").write_text("half")
    (site.directory / "disk.0.snap.draft.old").mkdir()
    vm = site.vm(site.disk(image, image_format))
    assert site.run(PROLOG, vm) == OK
    assert site.run(PROLOG, vm) == OK
    assert site.holds(site.directory / "disk.0", image_format, "0xab")
    assert site.files() == (["disk.0"] if image_format == "raw" else ["disk.0", "disk.0.snap"])


def test_a_clone_that_fails_leaves_no_disk(site: Site) -> None:
    image = site.root / "1/aaa"
    image.write_text("this is no qcow2 image")
    answer = site.run(PROLOG, site.vm(site.disk(image)))
    assert (answer.ok, answer.certain) == (False, True)
    assert "not in qcow2 format" in answer.message
    assert "disk.0" not in site.files()


def test_a_move_within_the_same_directory_touches_nothing(site: Site) -> None:
    vm = site.vm(site.disk(site.root / "1/aaa"), a_stay(1, 0), a_stay(2, 1))
    assert site.run(MIGRATE, vm) == OK
    assert not site.directory.exists()
    assert site.driver.transfer_file(vm, Step.MIGRATE).name == "transfer.1.migrate"


def test_a_move_to_another_datastore_takes_the_directory_along(site: Site) -> None:
    text = site.disk(site.image("aaa"))
    assert site.run(PROLOG, site.vm(text)) == OK
    moved = site.vm(text, a_stay(1, 0), a_stay(2, 1, ds_id=100))
    assert site.run(MIGRATE, moved) == OK
    assert site.run(MIGRATE, moved) == OK
    assert not site.directory.exists()
    assert site.holds(site.root / "100/7/disk.0", "qcow2", "0xab")


def test_a_move_to_another_file_system_is_repeated_after_a_crash(site: Site, other_file_system: Path) -> None:
    text = site.disk(site.image("aaa"))
    assert site.run(PROLOG, site.vm(text)) == OK
    (site.root / "100").rmdir()
    (site.root / "100").symlink_to(other_file_system)
    remnant = other_file_system / "7"
    remnant.mkdir()
    (remnant / "disk.0").write_text("half")
    moved = site.vm(text, a_stay(1, 0), a_stay(2, 1, ds_id=100))
    assert site.run(MIGRATE, moved) == OK
    assert site.files("0") == []
    assert site.files("100") == ["7"]
    assert os.readlink(remnant / "disk.0") == "disk.0.snap/0"
    assert site.holds(remnant / "disk.0", "qcow2", "0xab")
    (site.root / "0/7.moved").mkdir()
    assert site.run(MIGRATE, moved) == OK, "the controller died while it removed the origin"
    assert site.files("0") == []


def test_a_move_of_what_is_nowhere_fails(site: Site) -> None:
    moved = site.vm("CPU=1", a_stay(1, 0), a_stay(2, 1, ds_id=100))
    answer = site.run(MIGRATE, moved)
    assert not answer.ok
    assert "neither" in answer.message


@pytest.mark.parametrize("kind", [EPILOG, DELETE])
def test_the_end_removes_the_vms_files_and_can_be_repeated(site: Site, kind: EffectKind) -> None:
    vm = site.vm(site.disk(site.image("aaa")) + site.disk(site.image("bbb"), "qcow2", PERSISTENT, 1))
    assert site.run(PROLOG, vm) == OK
    assert site.probe(kind, vm) is None
    assert site.run(kind, vm) == OK
    assert not site.directory.exists()
    assert site.files("1") == ["aaa", "bbb", "bbb.snap"]
    assert site.run(kind, vm) == OK
    done = site.probe(kind, vm)
    assert done
    assert done.ok
    assert site.probe(PROLOG, vm) is None


def test_the_first_line_that_fails_stops_the_step_and_is_named(site: Site) -> None:
    text = site.disk(site.root / "1/missing") + "DISK=[DISK_ID=1, TYPE=swap, SIZE=2]"
    answer = site.run(PROLOG, site.vm(text))
    assert (answer.ok, answer.certain) == (False, True)
    assert answer.message.startswith(f"image {site.root}/1/missing does not exist (line 1: CLONE qcow2 front:")
    assert not site.directory.exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("h:/etc", "outside the datastores"),
        ("h:{root}", "not in the directory of VM 7"),
        ("h:{root}/0", "not in the directory of VM 7"),
        ("h:{root}/0/8", "not in the directory of VM 7"),
        ("h:{root}/0/8/disk.0", "not in the directory of VM 7"),
        ("h:{root}/0/7/../8", "outside the datastores"),
        ("h:{root}/0/7/disk.0/x", "not in the directory of VM 7"),
        ("h:{root}-other/0/7", "outside the datastores"),
        ("h:0/7", "outside the datastores"),
        ("7", "outside the datastores"),
    ],
)
def test_nothing_but_the_vms_own_files_is_deleted(site: Site, path: str, why: str) -> None:
    answer = site.line(f"DELETE qcow2 {path.format(root=site.root)} 7 0")
    assert not answer.ok
    assert why in answer.message


def test_a_link_cannot_lead_an_action_out_of_its_datastore(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "disk.0").write_text("precious")
    site.directory.symlink_to(outside)
    site.image("aaa")
    (site.root / "1/bbb").symlink_to("/etc/hostname")
    for line in (
        f"DELETE qcow2 h:{site.directory}/disk.0 7 0",
        f"CLONE qcow2 f:{site.root}/1/aaa h:{site.directory}/disk.0 7 1",
        f"LN qcow2 f:{site.root}/1/aaa h:{site.directory}/disk.0 7 1",
        f"LN qcow2 f:{site.root}/1/bbb h:{site.root}/100/7/disk.0 7 1",
    ):
        answer = site.line(line)
        assert "leads out of its datastore" in answer.message, line
    assert (outside / "disk.0").read_text() == "precious"
    assert site.line(f"DELETE qcow2 h:{site.directory} 7 0").ok
    assert (outside / "disk.0").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("CLONE ceph f:/a h:/b 7 1", "Transfer Driver 'ceph' not available"),
        ("FLY qcow2 f:/a h:/b 7 1", "action FLY is not one of CLONE, LN, MV"),
        ("DELETE qcow2 h:/a", "takes 3 arguments"),
        ("MKIMAGE qcow2 5 vmdk h:{root}/0/7/disk.0 7 0", "FORMAT is vmdk"),
        ("MKSWAP qcow2 five h:{root}/0/7/disk.0 7 0", "SIZE is five"),
        ("LN qcow2 f:{root}/1/.. h:{root}/0/7/disk.0 7 1", "outside the datastores"),
        ("LN qcow2 f:{root}/1 h:{root}/0/7/disk.0 7 1", "not the path of an image"),
        ("CLONE qcow2 f:{root}/1/aaa h:{root}/0/7/disk.9 7 1", "no DISK with DISK_ID 9"),
    ],
)
def test_a_line_that_cannot_be_carried_out_says_why(site: Site, line: str, why: str) -> None:
    site.image("aaa")
    answer = site.line(line.format(root=site.root))
    assert not answer.ok
    assert why in answer.message


def test_a_single_line_runs_for_an_interactive_retry(site: Site) -> None:
    site.image("aaa")
    assert site.line(f"CLONE.ssh qcow2 front:{site.root}/1/aaa host1:{site.directory}/disk.0 7 1") == OK
    assert site.holds(site.directory / "disk.0", "qcow2", "0xab")


def test_when_the_time_is_up_the_answer_is_uncertain(site: Site) -> None:
    answer = site.run(PROLOG, site.vm(site.disk(site.image("aaa"))), limit_s=0)
    assert (answer.ok, answer.certain) == (False, False)


def test_the_dummy_driver_does_nothing_but_what_the_vm_wishes(site: Site) -> None:
    text = 'DISK=[DISK_ID=0, SOURCE="/a", CLONE=YES, TM_MAD=dummy, DATASTORE_ID=1]'
    assert site.run(PROLOG, site.vm(text)) == OK
    failed = site.run(PROLOG, site.vm(text, user="DUMMY_FAIL=clone"))
    assert "failed as it was told to" in failed.message
    started = time.monotonic()
    assert site.run(PROLOG, site.vm(text, user="DUMMY_DELAY_S=0.2")) == OK
    assert time.monotonic() - started >= 0.2


def test_the_prolog_waits_until_the_nbd_server_serves_the_disk(site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    datastore = a_datastore(text=f'NBD_SERVER="127.0.0.1:{port}"')
    vm = site.vm(site.disk(site.image("aaa")))
    unserved = site.run(PROLOG, vm, 1, datastore)
    assert (unserved.ok, unserved.certain) == (False, False)
    assert f"nbd://127.0.0.1:{port}/one-7-disk-0 was not served in time" in unserved.message

    async def story() -> None:
        prolog = asyncio.create_task(site.driver.run(an_order(PROLOG, vm, datastore=datastore)))
        await asyncio.sleep(0.5)
        assert not prolog.done()
        serve = ["qemu-nbd", "-t", "-r", "-f", "qcow2", "-b", "127.0.0.1", "-p", str(port), "-x", "one-7-disk-0"]
        server = subprocess.Popen([*serve, str(site.directory / "disk.0")])
        try:
            assert await prolog == OK
        finally:
            server.terminate()
            server.wait(10)

    asyncio.run(story())


def test_a_resize_waits_until_the_nbd_server_offers_the_new_size(site: Site) -> None:
    vm = site.vm(site.disk(site.image("aaa", "raw"), "raw"))
    assert site.run(PROLOG, vm) == OK
    disk, image = site.directory / "disk.0", site.root / "1/aaa"
    for shown, expected, limit_s in ((image, False, 3), (disk, True, 20)):
        assert site.run(EffectKind.TM_RESIZE, vm, DISK_ID=0, SIZE=9) == OK
        with serving(shown, "raw") as port:
            datastore = a_datastore(text=f'NBD_SERVER="127.0.0.1:{port}"')
            answer = site.run(EffectKind.TM_RESIZE, vm, limit_s, datastore, DISK_ID=0, SIZE=9)
        assert answer.ok is expected
        if not expected:
            assert not answer.certain
            assert answer.message.endswith("it is offered with 4 MB, not 9")


@contextmanager
def serving(image: Path, image_format: str) -> Iterator[int]:
    """An NBD server of disk 0, on the port that is given."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    serve = ["qemu-nbd", "-t", "-r", "-f", image_format, "-b", "127.0.0.1", "-p", str(port), "-x", "one-7-disk-0"]
    server = subprocess.Popen([*serve, str(image)])
    try:
        yield port
    finally:
        server.terminate()
        server.wait(10)


def test_an_order_that_is_no_transfer_is_answered_not_raised(site: Site) -> None:
    assert not site.run(EffectKind.VMM_DEPLOY, site.vm("CPU=1")).ok
    assert not asyncio.run(site.driver.run(an_order(PROLOG))).ok


def test_a_disk_and_its_layers_are_closed_to_other_users(site: Site) -> None:
    disks = (site.disk(site.image("aaa"), "qcow2"), site.disk(site.image("bbb", "raw"), "raw", disk_id=1))
    volatile = "DISK=[DISK_ID=2, TYPE=fs, SIZE=1, FORMAT=raw]\nDISK=[DISK_ID=3, TYPE=swap, SIZE=1]\n"
    vm = site.vm("".join(disks) + volatile + 'CONTEXT=[DISK_ID="4", TARGET="hda", PASSWORD="secret"]')
    assert site.run(PROLOG, vm) == OK
    assert asyncio.run(site.driver.make_context(vm, 20)) == OK
    for number in (0, 1):
        assert site.run(EffectKind.TM_SNAPSHOT_CREATE, vm, DISK_ID=number, ITEM=0) == OK
    files = [path for path in site.directory.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.relative_to(site.directory).as_posix() for path in files} >= {
        "disk.0.snap/0", "disk.0.snap/1", "disk.1", "disk.1.snap/0", "disk.2", "disk.3", "disk.4",
    }  # fmt: skip
    assert {path: oct(path.stat().st_mode & 0o7) for path in files} == dict.fromkeys(files, "0o0")


def test_a_datastore_that_leads_to_a_storage_which_is_not_mounted_is_named(site: Site) -> None:
    vm = site.vm(site.disk(site.image("aaa")))
    (site.root / "0").rmdir()
    (site.root / "0").symlink_to("/mnt/nothing-is-mounted-here")
    answer = site.run(EffectKind.TM_PROLOG, vm)
    assert not answer.ok
    assert (
        f"{site.root}/0 leads to /mnt/nothing-is-mounted-here, which is not there: is its storage mounted?"
        in answer.message
    )
