"""What a guest is made of and how a user asks for one."""

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest import GuestImage, guest_template, make_ledger_image
from holdfast.sandbox.guest.archive import archive, character_device, directory, file, symlink
from holdfast.sandbox.guest.template import serial_console
from holdfast.sandbox.records import records_on_disk


class Home:
    """A rack as far as templates are concerned."""

    guest = GuestImage(Path("/cache/vmlinuz"), Path("/cache/initrd.cpio"))

    def console(self, vm_name: str) -> Path:
        return Path(f"/rack/consoles/{vm_name}.log")


def members(packed: bytes) -> dict[str, tuple[int, bytes]]:
    """Name -> mode and content, read as the kernel's documentation describes the format."""
    found: dict[str, tuple[int, bytes]] = {}
    position = 0
    while True:
        assert packed[position : position + 6] == b"070701"
        numbers = [int(packed[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = packed[position + 110 : position + 110 + name_size - 1].decode()
        start = position + (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, packed[start : start + size])
        position = start + (size + 3) // 4 * 4


def test_an_archive_holds_what_was_put_in() -> None:
    entries = [
        directory("bin"),
        file("bin/tool", b"#!12345", executable=True),
        symlink("bin/sh", "tool"),
        character_device("null", 1, 3),
        file("empty", b""),
    ]
    assert members(archive(entries)) == {
        "bin": (0o040755, b""),
        "bin/tool": (0o100755, b"#!12345"),
        "bin/sh": (0o120777, b"tool"),
        "null": (0o020600, b""),
        "empty": (0o100644, b""),
    }


def test_a_template_names_kernel_disk_and_a_console_that_every_host_appends_to() -> None:
    text = guest_template("web-1", Home(), image_id=3)
    assert 'NAME = "web-1"' in text
    assert 'KERNEL="/cache/vmlinuz", INITRD="/cache/initrd.cpio"' in text
    assert "ha.name=web-1 " in text
    assert 'IMAGE_ID = "3"' in text
    data = re.search(r'RAW = \[ TYPE = "kvm", DATA = "([^"]*)" \]', text)
    assert data
    source = ElementTree.fromstring(data.group(1)).find("serial/source")
    assert source is not None
    assert source.attrib == {"path": "/rack/consoles/web-1.log", "append": "on"}


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "../up", "-x", "x" * 61])
def test_a_guest_name_that_would_break_the_template_or_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(RackError, match="guest name"):
        guest_template(name, Home(), image_id=0)


def test_a_console_path_is_escaped() -> None:
    source = ElementTree.fromstring(serial_console(Path("/a&b's.log"))).find("serial/source")
    assert source is not None
    assert source.attrib["path"] == "/a&b's.log"


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_an_empty_ledger_disk_has_the_size_asked_for_and_no_records(tmp_path: Path, image_format: str) -> None:
    disk = tmp_path / "disk"
    make_ledger_image(disk, 8, image_format)
    told = subprocess.run(
        ["qemu-img", "info", str(disk)], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    assert f"file format: {image_format}" in told
    assert "8388608 bytes" in told
    assert records_on_disk(disk) == {}


def test_a_ledger_disk_never_replaces_a_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        make_ledger_image(disk)
    assert disk.read_bytes() == b"precious"


@pytest.mark.parametrize(("size_mb", "image_format"), [(0, "raw"), (8, "vmdk")])
def test_a_ledger_disk_of_no_size_or_unknown_format_is_refused(tmp_path: Path, size_mb: int, image_format: str) -> None:
    with pytest.raises(RackError, match="ledger disk"):
        make_ledger_image(tmp_path / "disk", size_mb, image_format)
