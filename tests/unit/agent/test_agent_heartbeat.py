"""The heartbeat file that the agent writes."""

import time
from pathlib import Path

import pytest

from holdfast.agent.heartbeat import HeartbeatWriter
from holdfast.model.beacon import Heartbeat, seal_heartbeat, unseal_heartbeat

KEY = bytes(32)
VMS = ((5, "RUNNING"),)


def writer(file: Path, boot_id: str = "boot-a") -> HeartbeatWriter:
    return HeartbeatWriter(file, KEY, 1, boot_id, lambda: VMS)


def read(file: Path) -> Heartbeat:
    return unseal_heartbeat(file.read_bytes(), KEY, 1)


def test_each_write_replaces_the_file_and_raises_the_sequence_number(tmp_path: Path) -> None:
    file = tmp_path / "1"
    writing = writer(file)
    seen = []
    for _ in range(5):
        writing.write()
        seen.append(read(file))
    assert sorted({beat.seq for beat in seen}) == [beat.seq for beat in seen]
    assert seen[0].boot_id == "boot-a"
    assert seen[0].vms == VMS
    assert abs(seen[0].at - time.time()) < 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_the_sequence_goes_on_rising_after_the_clock_was_set_back(tmp_path: Path) -> None:
    file = tmp_path / "1"
    future = int(time.time() * 1000) + 3_600_000
    file.write_bytes(seal_heartbeat(KEY, Heartbeat(1, "boot-a", future, 1.0, ())))
    writer(file).write()
    assert read(file).seq == future + 1


def test_a_file_that_is_not_ours_is_simply_replaced(tmp_path: Path) -> None:
    file = tmp_path / "1"
    file.write_bytes(b"half a heartb")
    writer(file).write()
    assert read(file).vms == VMS


def test_the_folder_is_not_made_up_when_the_datastore_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        writer(tmp_path / "heartbeats" / "1").write()
    assert list(tmp_path.iterdir()) == []
