"""Builds the guest once: Debian's cloud kernel, busybox for whoever wants a look inside, and init.c as PID 1.

The packages are only downloaded and unpacked, never installed, so this needs no root.  The result is kept in the cache
under a name derived from the sources, and appears there in one step: whoever finds the folder finds it complete.
To look around in a guest, boot it with `rdinit=/bin/sh` on its kernel command line.
"""

import hashlib
import lzma
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest.archive import Entry, archive, character_device, directory, file, symlink
from holdfast.sandbox.packages import unpack

_SOURCES = ("init.c", "image.py", "archive.py")
_KERNEL = "linux-image-cloud-amd64"
_BUSYBOX = "busybox-static"
_MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "evdev",
    "button",
)


@dataclass(frozen=True)
class GuestImage:
    """What a VM boots."""

    kernel: Path
    initrd: Path


def cache_dir() -> Path:
    """Where things are kept that are costly to make and the same for every rack of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "holdfast"


def ensure_guest() -> GuestImage:
    """The guest, built now if it never was."""
    folder = cache_dir() / f"guest-{_source_hash()}"
    guest = GuestImage(folder / "vmlinuz", folder / "initrd.cpio")
    if not guest.initrd.exists():
        _build(folder)
    return guest


def _source_hash() -> str:
    sources = [(Path(__file__).parent / name).read_bytes() for name in _SOURCES]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]


def _build(folder: Path) -> None:
    if platform.machine() != "x86_64":
        raise RackError(f"the sandbox's guest is built for x86_64 only, this machine is {platform.machine()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        packages, result = Path(scratch, "packages"), Path(scratch, "result")
        result.mkdir()
        versions = unpack([_kernel_package(), _BUSYBOX], Path(scratch), packages)
        shutil.copyfile(_only(packages, "boot/vmlinuz-*"), result / "vmlinuz")
        (result / "initrd.cpio").write_bytes(archive(list(_contents(packages, _compiled_init(Path(scratch))))))
        (result / "built-from.txt").write_text("\n".join(versions) + "\n", encoding="utf-8")
        _publish(result, folder)


def _publish(result: Path, folder: Path) -> None:
    try:
        result.rename(folder)
    except OSError:
        if not (folder / "initrd.cpio").exists():  # else another rack was quicker, and its guest is as good as ours
            raise


def _kernel_package() -> str:
    for line in run(["apt-cache", "depends", _KERNEL], 60).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise RackError(f"apt does not know {_KERNEL}; run `apt-get update`, or add a Debian archive to its sources")


def _compiled_init(scratch: Path) -> bytes:
    program = scratch / "init"
    source = Path(__file__).parent / "init.c"
    run(["cc", "-O2", "-static", "-s", "-o", str(program), str(source)], 120)
    return program.read_bytes()


def _contents(packages: Path, init: bytes) -> Iterator[Entry]:
    yield from (directory(path) for path in ("bin", "dev", "modules", "proc", "sys"))
    yield character_device("dev/console", 5, 1)
    yield character_device("dev/null", 1, 3)
    yield file("bin/busybox", _only(packages, "**/bin/busybox").read_bytes(), executable=True)
    yield symlink("bin/sh", "busybox")
    for module in _MODULES:
        for found in sorted(packages.rglob(f"{module}.ko*"))[:1]:
            data = found.read_bytes()
            yield file(f"modules/{module}.ko", lzma.decompress(data) if found.suffix == ".xz" else data)
    yield file("init", init, executable=True)


def _only(packages: Path, pattern: str) -> Path:
    found = sorted(packages.glob(pattern))
    if not found:
        raise RackError(f"the packages {_KERNEL} and {_BUSYBOX} have no {pattern}; the guest cannot be built")
    return found[0]
