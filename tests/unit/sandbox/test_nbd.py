"""Which files are offered by NBD, and when they are offered anew."""

import os
from pathlib import Path

from holdfast.sandbox.nbd import Change, DiskFile, ExportTable, disks


def disk_file(path: str = "/d", inode: int = 1, size: int = 512) -> DiskFile:
    return DiskFile(path, 1, inode, size)


def make(path: Path, size: int = 512) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_disks_of_vms_are_found_and_everything_else_is_not(tmp_path: Path) -> None:
    make(tmp_path / "0/5/disk.0")
    make(tmp_path / "0/5/disk.12")
    make(tmp_path / "100/7/disk.1", 1024)
    for other in ("0/5/disk.0.snap", "0/5/deployment.0", "0/5/disk.x", "0/.monitor", "1/0a1b", "files/5/disk.0"):
        make(tmp_path / other)
    make(tmp_path / "0/6/disk.0", 0)
    found = disks(tmp_path)
    assert sorted(found) == ["one-5-disk-0", "one-5-disk-12", "one-7-disk-1"]
    assert found["one-7-disk-1"].size == 1024


def test_links_are_followed_and_broken_links_are_no_disks(tmp_path: Path) -> None:
    image = make(tmp_path / "1/abcdef")
    (tmp_path / "0/5").mkdir(parents=True)
    os.symlink(image, tmp_path / "0/5/disk.0")
    os.symlink(tmp_path / "1/gone", tmp_path / "0/5/disk.1")
    found = disks(tmp_path)
    assert list(found) == ["one-5-disk-0"]
    assert found["one-5-disk-0"].path == str(image.resolve())


def test_no_datastores_no_disks(tmp_path: Path) -> None:
    assert disks(tmp_path / "none") == {}


def test_a_new_file_is_offered_once() -> None:
    table = ExportTable()
    wanted = {"one-5-disk-0": disk_file()}
    assert table.changes(wanted) == [Change("one-5-disk-0", None, disk_file())]
    table.note("one-5-disk-0", table.new_node(), disk_file())
    assert table.changes(wanted) == []


def test_a_file_that_grew_or_was_replaced_is_offered_anew_under_a_new_node() -> None:
    table = ExportTable()
    node = table.new_node()
    table.note("one-5-disk-0", node, disk_file())
    for other in (disk_file(size=1024), disk_file(inode=2), disk_file(path="/e")):
        assert table.changes({"one-5-disk-0": other}) == [Change("one-5-disk-0", node, other)]
    assert table.new_node() != node


def test_a_file_that_is_gone_is_withdrawn_and_forgotten() -> None:
    table = ExportTable()
    node = table.new_node()
    table.note("one-5-disk-0", node, disk_file())
    assert table.changes({}) == [Change("one-5-disk-0", node, None)]
    table.forget("one-5-disk-0")
    assert table.changes({}) == []


def test_a_file_that_cannot_be_offered_is_tried_again_only_when_it_changes() -> None:
    table = ExportTable()
    table.note("one-5-disk-0", None, disk_file())
    assert table.changes({"one-5-disk-0": disk_file()}) == []
    assert table.changes({"one-5-disk-0": disk_file(size=1024)}) == [
        Change("one-5-disk-0", None, disk_file(size=1024)),
    ]
