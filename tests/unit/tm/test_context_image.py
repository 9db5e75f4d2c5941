"""The CD-ROM of a CONTEXT: what is on it, read back from the bytes, and what it is called by others."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from holdfast.drivers.tm.context import LIMIT_BYTES, context_image, read_files
from holdfast.drivers.tm.lines import TransferError
from holdfast.model.context import ContextFile

SECTOR = 2048


def joliet_files(image: bytes) -> dict[str, bytes]:
    """The files of the root directory, as the standard's own words say where they are (ECMA-119, Joliet)."""
    for sector in range(16, 32):
        descriptor = image[sector * SECTOR : (sector + 1) * SECTOR]
        assert descriptor[1:6] == b"CD001"
        if descriptor[0] == 2 and descriptor[88:91] == b"%/E":
            return dict(_entries(image, descriptor[156:190]))
    raise AssertionError("no Joliet descriptor")


def _entries(image: bytes, root: bytes) -> list[tuple[str, bytes]]:
    where, size = struct.unpack("<I", root[2:6])[0] * SECTOR, struct.unpack("<I", root[10:14])[0]
    directory, found, at = image[where : where + size], [], 0
    while at < len(directory) and directory[at]:
        record = directory[at : at + directory[at]]
        name = record[33 : 33 + record[32]]
        if not record[25] & 2:
            start, length = struct.unpack("<I", record[2:6])[0] * SECTOR, struct.unpack("<I", record[10:14])[0]
            found.append((name.decode("utf-16-be"), image[start : start + length]))
        at += directory[at]
    return found


def test_every_file_is_there_under_its_own_name() -> None:
    files = {"context.sh": b"A='1'\n", "start me.sh": b"x" * 5000, "Ümlaut.txt": b"", "UPPER.lower": b"\0\xff"}
    assert joliet_files(context_image(files)) == files


def test_other_programs_take_it_for_a_cdrom_labelled_context(tmp_path: Path) -> None:
    image = tmp_path / "disk.1"
    image.write_bytes(context_image({"context.sh": b"A='1'\n"}))
    told = subprocess.check_output(["blkid", "-p", "-o", "export", image], text=True).splitlines()
    assert {"LABEL=CONTEXT", "TYPE=iso9660"} <= set(told)
    assert int(subprocess.check_output(["isosize", image])) == image.stat().st_size


def test_the_same_files_make_the_same_image_whenever_and_wherever(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"context.sh": b"A='1'\n", "b": b"2"}
    here = context_image(files)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert context_image(dict(reversed(files.items()))) == here
    assert b"1980" in here
    assert context_image({**files, "b": b"3"}) != here


@pytest.mark.parametrize("name", ["a/b", "a:b", "x" * 65, "tab\there", 'say "hi"'])
def test_a_name_that_a_cdrom_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(TransferError, match="a CD-ROM cannot hold a file named"):
        context_image({name: b""})


def test_files_are_read_unless_they_are_protected_too_big_or_no_files(tmp_path: Path) -> None:
    good, secret = tmp_path / "good", tmp_path / "secret"
    secret.mkdir()
    good.write_text("hello")
    (secret / "key").write_text("key")
    (tmp_path / "way").symlink_to(secret / "key")
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", LIMIT_BYTES)

    def read(name: str) -> dict[str, bytes]:
        return read_files("A=1", [ContextFile(str(tmp_path / name), "file")], [secret])

    assert read("good") == {"context.sh": b"A=1", "file": b"hello"}
    for name in ("secret/key", "way"):
        with pytest.raises(TransferError, match="is in a protected directory"):
            read(name)
    with pytest.raises(TransferError, match="64 MB together"):
        read("big")
    with pytest.raises(TransferError, match="is not a file"):
        read(".")
    with pytest.raises(FileNotFoundError):
        read("missing")
