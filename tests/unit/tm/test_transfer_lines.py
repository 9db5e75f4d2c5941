"""Transfer files, line by line as OpenNebula writes them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.drivers.tm.lines import Line, Places, Request, Step, TransferError, parse, transfer_lines
from tests.unit.vmm.objects import a_stay, a_vm

PLACES = Places("/var/lib/one/datastores", "front")
DISKS = """
DISK=[DISK_ID=1, IMAGE_ID=4, SOURCE="/var/lib/one/datastores/1/bbb", CLONE=NO, SAVE=YES, TM_MAD=qcow2, DATASTORE_ID=1]
DISK=[DISK_ID=0, IMAGE_ID=3, SOURCE="/var/lib/one/datastores/1/aaa", CLONE=YES, SAVE=NO, TM_MAD=shared, DATASTORE_ID=1]
DISK=[DISK_ID=2, TYPE=swap, SIZE=64]
DISK=[DISK_ID=3, TYPE=fs, SIZE=10, FORMAT=qcow2]
DISK=[DISK_ID=4, TYPE=FILESYSTEM, SOURCE="/srv"]
"""
SD = "/var/lib/one/datastores/0/7"


def lines(step: Step, text: str = DISKS, ds_id: int = 0, **more: Any) -> list[str]:
    """The lines of VM 7, which was on host 1 and is now on host 2."""
    vm = a_vm(7, text, (a_stay(1, 0), a_stay(2, 1, ds_id)))
    return [str(line) for line in transfer_lines(Request(step, **more), vm, PLACES)]


def test_the_prolog_clones_links_and_makes_disks_in_order() -> None:
    assert lines(Step.PROLOG) == [
        f"CLONE shared front:/var/lib/one/datastores/1/aaa host2:{SD}/disk.0 7 1",
        f"LN qcow2 front:/var/lib/one/datastores/1/bbb host2:{SD}/disk.1 7 1",
        f"MKSWAP qcow2 64 host2:{SD}/disk.2 7 0",
        f"MKIMAGE qcow2 10 qcow2 host2:{SD}/disk.3 7 0",
    ]


def test_kernel_and_initrd_are_cloned_after_the_disks() -> None:
    kernel = "KERNEL_DS_SOURCE=/var/lib/one/datastores/2/kkk, KERNEL_DS_TM=shared, KERNEL_DS_DSID=2"
    initrd = "INITRD_DS_SOURCE=/var/lib/one/datastores/2/iii, INITRD_DS_TM=qcow2, INITRD_DS_DSID=2"
    swap = "DISK=[DISK_ID=0, TYPE=swap, SIZE=64]"
    assert lines(Step.PROLOG, f"{swap}\nOS=[{kernel}, {initrd}, INITRD_DS_TM_SYSTEM=ssh]") == [
        f"MKSWAP qcow2 64 host2:{SD}/disk.0 7 0",
        f"CLONE shared front:/var/lib/one/datastores/2/kkk host2:{SD}/kernel 7 2",
        f"CLONE.ssh qcow2 front:/var/lib/one/datastores/2/iii host2:{SD}/initrd 7 2",
    ]
    assert lines(Step.PROLOG_ATTACH, f"{swap}\nOS=[{kernel}]", disk_id=0) == [f"MKSWAP qcow2 64 host2:{SD}/disk.0 7 0"]
    assert lines(Step.DELETE, f"OS=[{kernel}]") == [f"DELETE qcow2 host2:{SD} 7 0"]


def test_a_source_that_names_its_host_is_written_as_it_is() -> None:
    text = 'DISK=[DISK_ID=0, SOURCE="ceph:pool/one-3", CLONE=YES, TM_MAD=ceph, DATASTORE_ID=1]'
    assert lines(Step.PROLOG, text) == [f"CLONE ceph ceph:pool/one-3 host2:{SD}/disk.0 7 1"]


def test_a_migration_moves_each_disk_and_then_the_directory_from_the_previous_host() -> None:
    new = SD.replace("/0/", "/100/")
    assert lines(Step.MIGRATE, ds_id=100) == [
        f"MV shared host1:{SD}/disk.0 host2:{new}/disk.0 7 1",
        f"MV qcow2 host1:{SD}/disk.1 host2:{new}/disk.1 7 1",
        f"MV qcow2 host1:{SD}/disk.2 host2:{new}/disk.2 7 100",
        f"MV qcow2 host1:{SD}/disk.3 host2:{new}/disk.3 7 100",
        f"MV qcow2 host1:{SD} host2:{new} 7 100",
    ]


@pytest.mark.parametrize(("local", "host"), [(False, "host2"), (True, "front")])
def test_the_epilog_saves_persistent_disks_and_deletes_the_rest(local: bool, host: str) -> None:
    assert lines(Step.EPILOG, local=local) == [
        f"DELETE shared {host}:{SD}/disk.0 7 1",
        f"MVDS qcow2 {host}:{SD}/disk.1 /var/lib/one/datastores/1/bbb 7 1",
        f"DELETE qcow2 {host}:{SD}/disk.2 7 0",
        f"DELETE qcow2 {host}:{SD}/disk.3 7 0",
        f"DELETE qcow2 {host}:{SD} 7 0",
    ]


def test_a_clean_up_deletes_every_disk_the_persistent_too() -> None:
    assert lines(Step.DELETE)[1] == f"DELETE qcow2 host2:{SD}/disk.1 7 1"
    assert lines(Step.DELETE)[-1] == f"DELETE qcow2 host2:{SD} 7 0"


MIXED = """DISK=[DISK_ID=0, SOURCE="/d/1/a", CLONE=YES, TM_MAD=qcow2, DATASTORE_ID=1]
DISK=[DISK_ID=1, SOURCE="/d/1/b", CLONE=NO, SAVE=YES, TM_MAD=qcow2, DATASTORE_ID=1, TM_MAD_SYSTEM=ssh]
DISK=[DISK_ID=2, TYPE=swap, SIZE=1]"""


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step.PROLOG, ["CLONE", "LN.ssh", "MKSWAP"]),
        (Step.EPILOG, ["DELETE", "MVDS.ssh", "DELETE", "DELETE"]),
        (Step.MIGRATE, ["MV", "MV.ssh", "MV.ssh", "MV"]),
        (Step.RESUME, ["MV", "MV.ssh", "MV.ssh", "MV"]),
        (Step.STOP, ["MV", "MV.ssh", "MV.ssh", "MV"]),
        (Step.DELETE, ["DELETE", "DELETE.ssh", "DELETE.ssh", "DELETE"]),
        (Step.DELETE_BOTH, ["DELETE", "DELETE.ssh", "DELETE.ssh", "DELETE"] * 2),
    ],
)
def test_a_mixed_transfer_mode_is_a_suffix_that_stays_where_all_disks_go_together(step: Step, words: list[str]) -> None:
    assert [line.split()[0] for line in lines(step, MIXED)] == words


def test_a_stopped_vm_is_parked_on_the_front_end_and_comes_back_from_there() -> None:
    assert lines(Step.STOP) == [
        f"MV shared host2:{SD}/disk.0 front:{SD}/disk.0 7 1",
        f"MV qcow2 host2:{SD}/disk.1 front:{SD}/disk.1 7 1",
        f"MV qcow2 host2:{SD}/disk.2 front:{SD}/disk.2 7 0",
        f"MV qcow2 host2:{SD}/disk.3 front:{SD}/disk.3 7 0",
        f"MV qcow2 host2:{SD} front:{SD} 7 0",
    ]
    new = SD.replace("/0/", "/100/")
    with_a_source = DISKS.replace('SOURCE="/srv"', 'SOURCE="/srv", TM_MAD=shared, DATASTORE_ID=1')
    assert lines(Step.RESUME, with_a_source, ds_id=100) == [
        f"MV shared front:{SD}/disk.0 host2:{new}/disk.0 7 1",
        f"MV qcow2 front:{SD}/disk.1 host2:{new}/disk.1 7 1",
        f"MV qcow2 front:{SD}/disk.2 host2:{new}/disk.2 7 100",
        f"MV qcow2 front:{SD}/disk.3 host2:{new}/disk.3 7 100",
        f"MV shared front:{SD}/disk.4 host2:{new}/disk.4 7 1",
        f"MV qcow2 front:{SD} host2:{new} 7 100",
    ]


@pytest.mark.parametrize("step", [Step.PROLOG, Step.MIGRATE, Step.RESUME, Step.STOP])
def test_where_a_vm_was_parked_changes_nothing_about_where_its_files_are_brought(step: Step) -> None:
    text = MIXED.partition("DISK=[DISK_ID=1")[0]
    assert lines(step, text, local=True) == lines(step, text)


def test_a_vm_that_was_being_migrated_is_deleted_in_both_places() -> None:
    new = SD.replace("/0/", "/100/")
    assert lines(Step.DELETE_BOTH, MIXED.partition("DISK=[DISK_ID=1")[0], ds_id=100) == [
        f"DELETE qcow2 host2:{new}/disk.0 7 1",
        f"DELETE qcow2 host2:{new} 7 100",
        f"DELETE qcow2 host1:{SD}/disk.0 7 1",
        f"DELETE qcow2 host1:{SD} 7 0",
    ]


def test_a_vm_half_way_to_the_front_end_is_deleted_there_too() -> None:
    new = SD.replace("/0/", "/100/")
    assert lines(Step.DELETE, MIXED.partition("DISK=[DISK_ID=1")[0], ds_id=100, frontend=True) == [
        f"DELETE qcow2 host2:{new}/disk.0 7 1",
        f"DELETE qcow2 host2:{new} 7 100",
        f"DELETE qcow2 front:{SD}/disk.0 7 1",
        f"DELETE qcow2 front:{SD} 7 0",
        f"DELETE qcow2 front:{new}/disk.0 7 1",
        f"DELETE qcow2 front:{new} 7 100",
    ]


def test_a_step_may_be_about_an_earlier_history_record() -> None:
    assert lines(Step.EPILOG, ds_id=100, seq=0)[-1] == f"DELETE qcow2 host1:{SD} 7 0"
    assert lines(Step.EPILOG, ds_id=100, seq=1)[-1] == f"DELETE qcow2 host2:{SD.replace('/0/', '/100/')} 7 100"
    with pytest.raises(TransferError, match="no history record 9; the newest is 1"):
        lines(Step.EPILOG, seq=9)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Request(Step.PROLOG_ATTACH, disk_id=1), f"LN qcow2 front:/d/1/b host2:{SD}/disk.1 7 1"),
        (Request(Step.PROLOG_ATTACH, disk_id=2), f"MKSWAP qcow2 1 host2:{SD}/disk.2 7 0"),
        (Request(Step.EPILOG_DETACH, disk_id=0), f"DELETE qcow2 host2:{SD}/disk.0 7 1"),
        (Request(Step.EPILOG_DETACH, disk_id=1), f"MVDS qcow2 host2:{SD}/disk.1 /d/1/b 7 1"),
        (Request(Step.DISK_RESIZE, disk_id=0, size_mb=9), f"RESIZE qcow2 host2:{SD}/disk.0 9 7 1"),
        (Request(Step.DISK_RESIZE, disk_id=2, size_mb=9, local=True), f"RESIZE qcow2 front:{SD}/disk.2 9 7 0"),
        (
            Request(Step.DISK_SNAPSHOT, disk_id=0, snapshot="SNAP_CREATE", snapshot_id=3),
            f"SNAP_CREATE qcow2 host2:{SD}/disk.0 3 7 1",
        ),
    ],
)
def test_a_step_about_one_disk_has_its_line_only(request_: Request, line: str) -> None:
    vm = a_vm(7, MIXED.replace(", TM_MAD_SYSTEM=ssh", ""), (a_stay(1, 0), a_stay(2, 1)))
    assert [str(written) for written in transfer_lines(request_, vm, PLACES)] == [line]


def test_a_step_about_a_disk_that_the_vm_has_not_is_refused() -> None:
    with pytest.raises(TransferError, match="VM 7 has no DISK with DISK_ID 9"):
        lines(Step.EPILOG_DETACH, disk_id=9)


@pytest.mark.parametrize(
    ("step", "text", "words"),
    [
        (Step.PROLOG, "DISK=[DISK_ID=0, CLONE=YES, TM_MAD=x, DATASTORE_ID=1]", "DISK 0 has no SOURCE"),
        (Step.PROLOG, 'DISK=[DISK_ID=0, CLONE=YES, SOURCE="/a", TM_MAD=x]', "DISK 0 has no DATASTORE_ID"),
        (Step.PROLOG, 'DISK=[DISK_ID=0, SOURCE="/a", TM_MAD=x, DATASTORE_ID=1]', "DISK 0 has no CLONE"),
        (Step.PROLOG, "DISK=[DISK_ID=0, TYPE=swap]", "DISK 0 has no SIZE"),
        (Step.DELETE, "DISK=[DISK_ID=0, DATASTORE_ID=1]", "DISK 0 has no TM_MAD"),
        (Step.PROLOG, 'DISK=[DISK_ID=0, CLONE=YES, SOURCE="/a b", TM_MAD=x, DATASTORE_ID=1]', "holds a blank"),
        (Step.DELETE, "DISK=[IMAGE_ID=0]", "must be a number"),
    ],
)
def test_what_cannot_be_written_is_named(step: Step, text: str, words: str) -> None:
    with pytest.raises(TransferError, match=words):
        lines(step, text)


def test_a_vm_that_was_on_one_host_only_cannot_be_moved() -> None:
    with pytest.raises(TransferError, match="never been on another host"):
        transfer_lines(Request(Step.MIGRATE), a_vm(7, DISKS), PLACES)


def test_a_file_is_read_as_it_was_written_without_comments_and_empty_lines() -> None:
    text = "\n# by hand\n  CLONE qcow2  a:/x   b:/y 7 1\n\n"
    assert parse(text) == [Line("CLONE", "qcow2", ("a:/x", "b:/y", "7", "1"))]
    written = transfer_lines(Request(Step.EPILOG), a_vm(7, DISKS), PLACES)
    assert parse("".join(f"{line}\n" for line in written)) == written
    with pytest.raises(TransferError, match="lacks the name of a transfer driver"):
        parse("CLONE")
