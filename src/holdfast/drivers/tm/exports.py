"""Waits until a server of disks (``NBD_SERVER`` of the system datastore) shows what was done to their files.

It follows the files by itself, a moment later: a disk that was made must be offered before a domain asks for it, one
that was grown must be offered with its new size.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping

from holdfast.drivers.nbd import NbdServer, export_name
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.model.storage import Datastore
from holdfast.model.template import Section

_POLL_S = 0.05
_TRY_S = 2.0
_MIB = 1 << 20


async def await_exports(
    datastore: Datastore | None, vm_id: int, disks: Iterable[Section], size_mb: int, clockwork: Clockwork
) -> None:
    """Returns when each of these disks is offered with at least this size; at once if nothing serves them."""
    server = NbdServer.parse(datastore.template.get("NBD_SERVER")) if datastore else None
    if server is None:
        return
    for disk in disks:
        if disk.get("TYPE", "").upper() != "BLOCK":
            await _await_export(server.uri(export_name(vm_id, disk["DISK_ID"])), size_mb, clockwork)


async def _await_export(uri: str, size_mb: int, clockwork: Clockwork) -> None:
    reason = "no time was left"
    while True:
        try:
            info = ("qemu-img", "info", "-f", "raw", "--output=json")
            about: Mapping[str, int] = json.loads(await Clockwork(min(_TRY_S, clockwork.left_s)).run(*info, uri))
            if about["virtual-size"] >= size_mb * _MIB:
                return
            reason = f"it is offered with {about['virtual-size'] // _MIB} MB, not {size_mb}"
        except TransferOverdue:
            pass  # what was found before says more
        except TransferError as error:
            reason = error.message
        if clockwork.left_s <= _POLL_S:
            raise TransferOverdue(f"{uri} was not served in time: {reason}")
        await asyncio.sleep(_POLL_S)
