"""What is measured of a directory: its file system, or its own files."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drivers.capacity import measure


def test_the_file_system_is_measured_also_before_the_directory_is_made(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    found = os.statvfs(tmp_path)
    for name in ("1", "not made yet"):
        figures = measure(tmp_path / name, alone=False)
        assert figures.total_mb == found.f_blocks * found.f_frsize >> 20
        assert 0 <= figures.free_mb <= figures.total_mb
        assert 0 <= figures.used_mb <= figures.total_mb


def test_a_directory_alone_counts_blocks_on_disk_once_and_no_links(tmp_path: Path) -> None:
    store = tmp_path / "100"
    (store / "7").mkdir(parents=True)
    (store / "7/disk.0").write_bytes(b"x" * (3 << 20))
    os.link(store / "7/disk.0", store / "again")
    (store / "7/disk.1").symlink_to("/usr/bin/env")
    with (store / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert measure(store, alone=True).used_mb in (3, 4)
    assert measure(tmp_path / "not made yet", alone=True).used_mb == 0


def test_a_directory_with_too_many_files_is_not_walked_to_its_end(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    whole = measure(tmp_path, alone=False).used_mb
    assert abs(measure(tmp_path, alone=True, most_files=4).used_mb - whole) < 512
    assert measure(tmp_path, alone=True, most_files=5).used_mb == 0
