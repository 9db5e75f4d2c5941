"""What QEMU can do, found out once instead of at the first start on every host (some 3.5 seconds of one core each).

libvirt keeps the answer in its cache folder.  The rack's first host is asked before the others are switched on; its
answer goes into our cache under a name made of everything it depends on, and every host gets a copy before it boots.
libvirt checks the copy by itself and asks QEMU again if it is stale, so a wrong one costs time, never correctness.
"""

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from holdfast.sandbox.commands import SEARCH_PATH, run
from holdfast.sandbox.guest.image import cache_dir
from holdfast.sandbox.layout import HostPlace

_IN_HOST = Path("cache/libvirt/qemu/cache/capabilities")
_PROBE_LIMIT_S = 60


def known() -> Path | None:
    """The folder with the answer, None when nobody asked yet."""
    folder = _folder()
    return folder if folder.is_dir() else None


def give(host_folder: Path) -> None:
    """Copies the answer, if there is one, to where a host's libvirtd will look for it."""
    folder = known()
    if folder:
        shutil.copytree(folder, host_folder / _IN_HOST, dirs_exist_ok=True)


def ask(place: HostPlace, host_folder: Path) -> None:
    """Asks the QEMU of a host that is up, and keeps the answer."""
    run(["virsh", "-q", "-c", place.libvirt_uri, "domcapabilities", "--virttype", "qemu"], _PROBE_LIMIT_S)
    folder = _folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        copy = shutil.copytree(host_folder / _IN_HOST, Path(scratch, "copy"))
        if not folder.exists():
            copy.rename(folder)


def _folder() -> Path:
    facts = [platform.release(), str(os.access("/dev/kvm", os.R_OK | os.W_OK))]
    for program in ("qemu-system-x86_64", "libvirtd"):
        path = shutil.which(program, path=SEARCH_PATH)
        if path:
            found = Path(path).resolve().stat()
            facts.append(f"{path} {found.st_mtime_ns} {found.st_size}")
    return cache_dir() / f"qemu-capabilities-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
