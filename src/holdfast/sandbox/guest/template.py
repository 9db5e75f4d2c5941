"""How a user asks for a ledger guest: the VM template for OpenNebula's API, and an empty disk for it.

The serial console is one file per VM, appended by every hypervisor that ever runs it, at the same path on every host:
what two live copies print lands in the same place, in the order it happened.
"""

import re
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest.image import GuestImage

GUEST_MEMORY_MB = 96
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class GuestHome(Protocol):
    """What is asked of a rack: what its guests boot, and where their consoles go."""

    @property
    def guest(self) -> GuestImage:
        """The kernel and initial RAM file system."""
        ...

    def console(self, vm_name: str) -> Path:
        """The file of this VM's serial console."""
        ...


def guest_template(name: str, rack: GuestHome, *, image_id: int, cpu: float = 0.1, period_ms: int = 200) -> str:
    """The template of a VM that keeps a ledger on this image, one record every `period_ms`."""
    if not _NAME.fullmatch(name):
        raise RackError(
            f"guest name {name!r}: use 1 to 60 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    guest = rack.guest
    cmdline = f"console=ttyS0 quiet panic=1 ha.name={name} ha.period_ms={period_ms}"
    system = f'ARCH="x86_64", MACHINE="pc", KERNEL="{guest.kernel}", INITRD="{guest.initrd}", KERNEL_CMD="{cmdline}"'
    lines = [
        f'NAME = "{name}"',
        f'CPU = "{cpu:g}"',
        'VCPU = "1"',
        f'MEMORY = "{GUEST_MEMORY_MB}"',
        f"OS = [ {system} ]",
        f'DISK = [ IMAGE_ID = "{image_id}", DEV_PREFIX = "vd", CACHE = "none" ]',
        f'RAW = [ TYPE = "kvm", DATA = "{serial_console(rack.console(name))}" ]',
    ]
    return "\n".join(lines) + "\n"


def serial_console(log: Path) -> str:
    """The piece of a libvirt domain that appends the serial console to this file."""
    path = escape(str(log), {"'": "&apos;", '"': "&quot;"})
    source = f"<source path='{path}' append='on'/>"
    return f"<devices><serial type='file'>{source}<target port='0'/></serial></devices>"


def make_ledger_image(path: Path, size_mb: int = 64, image_format: str = "raw") -> None:
    """An empty, sparse disk for a ledger guest; a megabyte holds 2048 records, some seven minutes of five a second."""
    if image_format not in ("raw", "qcow2"):
        raise RackError(f"image format {image_format!r}: a ledger disk is raw or qcow2")
    if size_mb < 1:
        raise RackError(f"size {size_mb} MB: a ledger disk needs at least 1 MB")
    if image_format == "qcow2":
        run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), f"{size_mb}M"], 30)
        return
    with path.open("xb") as file:
        file.truncate(size_mb << 20)
