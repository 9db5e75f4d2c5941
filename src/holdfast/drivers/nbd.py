"""Disks behind a network block device server: ``NBD_SERVER = "host:port"`` of the system datastore.

Disk ``n`` of VM ``v`` is the export ``one-<v>-disk-<n>``.  The server presents the contents of the disk, so it must
know the format of the file (``qemu-nbd -f qcow2``); for the guest the disk is raw.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.errors import HoldfastError

RECONNECT_S = 10
"""After a lost connection QEMU tries again for so long before it reports an error to the guest.

libvirt up to 9.0 ignores it: there, requests wait as long as TCP does, and fail at once when the server is restarted.
"""


@dataclass(frozen=True, slots=True)
class NbdServer:
    """Where the exports of a system datastore are served."""

    host: str
    port: str

    @classmethod
    def parse(cls, text: str) -> NbdServer | None:
        """``host:port`` or ``[v6]:port``; None when there is no server."""
        if not text:
            return None
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise HoldfastError(f'NBD_SERVER is "{text}", it must be host:port.')
        return cls(host.strip("[]"), port)

    def uri(self, export: str) -> str:
        """The export as QEMU's tools want it."""
        return f"nbd://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{export}"


def export_name(vm_id: int, disk_id: str) -> str:
    """The export that carries a disk."""
    return f"one-{vm_id}-disk-{disk_id}"
