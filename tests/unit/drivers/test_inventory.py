"""What a look through a datastore's directory finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.drivers.inventory import TooManyFiles, inventory


def test_vm_directories_are_opened_and_all_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "7/disk.1.snap").mkdir(parents=True)
    (tmp_path / "7/disk.0").write_bytes(b"x" * 8192)
    (tmp_path / "7/disk.1.snap/0").write_bytes(b"x" * 4096)
    (tmp_path / "7/disk.1").symlink_to("disk.1.snap/0")
    (tmp_path / "7/disk.2").symlink_to("/nowhere")
    (tmp_path / "image").write_bytes(b"x" * 4096)
    assert [entry[:4] for entry in inventory(tmp_path)] == [
        ["7", 12288, True, False],
        ["7/disk.0", 8192, False, False],
        ["7/disk.1", 0, False, False],
        ["7/disk.1.snap", 4096, True, False],
        ["7/disk.2", 0, False, True],
        ["image", 4096, False, False],
    ]
    assert inventory(tmp_path)[1][4] == (tmp_path / "7/disk.0").stat().st_ino


def test_a_directory_that_was_never_made_is_empty_and_one_that_cannot_be_read_is_not(tmp_path: Path) -> None:
    assert inventory(tmp_path / "none") == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        inventory(tmp_path / "file")


def test_a_link_to_a_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "8").symlink_to(tmp_path)
    assert [entry[:4] for entry in inventory(tmp_path)] == [["8", 0, False, False]]


def test_there_is_an_end_to_what_is_looked_through(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"file{number}").touch()
    assert len(inventory(tmp_path, most=4)) == 4
    with pytest.raises(TooManyFiles, match="it holds more than 3 files"):
        inventory(tmp_path, most=3)
