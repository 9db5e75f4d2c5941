"""What a machine must offer for a rack, checked before anything is built, all of it in one message."""

import os
import shutil
from collections.abc import Iterable
from glob import glob
from pathlib import Path

from holdfast.sandbox.commands import SEARCH_PATH
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.namespaces import require_namespaces

_PACKAGES = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "ipmi_sim": "openipmi",
    "ssh-keygen": "openssh-client",
    "cc": "gcc libc6-dev",
    "dpkg": "dpkg",
    "apt-get": "apt",
}
_QEMU_DRIVER = "/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so"


def require_machine() -> None:
    """RackError when this machine cannot run a rack, with what to do about it."""
    packages = missing_packages(_PACKAGES)
    if not glob(_QEMU_DRIVER):
        packages.append("libvirt-daemon-driver-qemu")
    if packages:
        install = f"apt-get install --no-install-recommends {' '.join(packages)}"
        raise RackError(f"the sandbox needs programs that are not installed; as root: {install}")
    require_namespaces()


def missing_packages(programs: Iterable[str], search_path: str = SEARCH_PATH) -> list[str]:
    """The Debian packages of those programs that are not there, each once."""
    missing = [_PACKAGES[program] for program in programs if shutil.which(program, path=search_path) is None]
    return list(dict.fromkeys(missing))


def require_direct_io(directory: Path) -> None:
    """Refuses a file system without direct I/O, on which guests' disks could not be opened with CACHE=none."""
    probe = directory / ".direct-io"
    try:
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    except OSError as exc:
        raise RackError(
            f"{directory}: {exc.strerror} for direct I/O; choose a directory on a disk with --dir"
        ) from None
    else:
        os.close(descriptor)
    finally:
        probe.unlink(missing_ok=True)
