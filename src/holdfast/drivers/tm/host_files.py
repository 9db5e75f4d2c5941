"""A VM's files on one machine, for those who work with them beside the transfer lines: the hypervisor drivers.

The same questions and changes as on shared storage, carried out where the files are.  Every call is limited by the
caller and raises TransferError, which names the host, or TransferOverdue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.layers import Layer
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.tools import Clockwork


class HostFiles:
    """The files of one VM on one machine; every path is below the VM's directory on a datastore."""

    def __init__(self, hands: Hands, host: str, vm_id: int) -> None:
        self._hands, self._host, self._vm_id = hands, host, vm_id

    async def checkpoint(self, directory: Path, name: str, limit_s: float, *arguments: float) -> Any:
        """The method ``name`` of :class:`holdfast.drivers.vmm.checkpoint.Checkpoint`, there."""
        return await self._call(f"checkpoint.{name}", limit_s, path=str(directory), arguments=arguments)

    async def layers_to_run(self, disks: Sequence[Path], limit_s: float) -> list[Path | None]:
        """As :func:`holdfast.drivers.tm.layers.layer_to_run`, of each of these qcow2 disks."""
        found = await self._call("layers.to_run", limit_s, paths=[str(disk) for disk in disks])
        return [Path(path) if path else None for path in found]

    async def snapshots_in(self, file: Path, limit_s: float) -> list[str]:
        """The names of the snapshots inside a qcow2 file, in use or not."""
        return [str(name) for name in await self._call("snapshots", limit_s, path=str(file))]

    async def active_layer(self, disk: Path, limit_s: float) -> Layer:
        """As :meth:`holdfast.drivers.tm.layers.DiskLayers.active`."""
        return _layer(await self._call("layers.active", limit_s, path=str(disk)))

    async def prepare_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> Layer:
        """As :meth:`holdfast.drivers.tm.layers.DiskLayers.prepare`."""
        return _layer(await self._call("layers.prepare", limit_s, path=str(disk), snapshot_id=snapshot_id))

    async def insist_on_new_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> None:
        """As :meth:`holdfast.drivers.tm.layers.DiskLayers.insist_on_new`."""
        await self._call("layers.insist_on_new", limit_s, path=str(disk), snapshot_id=snapshot_id)

    async def point_at_layer(self, disk: Path, layer: Layer, limit_s: float) -> None:
        """As :meth:`holdfast.drivers.tm.layers.DiskLayers.point`."""
        await self._call("layers.point", limit_s, path=str(disk), layer=_data(layer))

    async def withdraw_layer(self, disk: Path, layer: Layer, below: Layer, limit_s: float) -> None:
        """As :meth:`holdfast.drivers.tm.layers.DiskLayers.withdraw`."""
        await self._call("layers.withdraw", limit_s, path=str(disk), layer=_data(layer), below=_data(below))

    async def _call(self, call: str, limit_s: float, **values: Any) -> Any:
        return await self._hands.call(self._host, call, self._vm_id, Clockwork(limit_s), **values)


def _layer(data: dict[str, Any]) -> Layer:
    return Layer(data["number"], Path(data["path"]))


def _data(layer: Layer) -> dict[str, Any]:
    return {**asdict(layer), "path": str(layer.path)}
