"""The layers of a VM's disks, wherever they are: on storage that the controller sees too, or on a host's own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from holdfast.drivers.tm.layers import DiskLayers, Layer
from holdfast.drivers.tm.tools import Clockwork


class LayerDoors(Protocol):
    """What can be done to layers below a running VM; :class:`holdfast.drivers.tm.host_files.HostFiles` is one."""

    async def active_layer(self, disk: Path, limit_s: float) -> Layer:
        """The layer that the guest writes."""

    async def prepare_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> Layer:
        """The next layer, complete and empty."""

    async def insist_on_new_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> None:
        """Raises TransferError when there is such a layer already."""

    async def point_at_layer(self, disk: Path, layer: Layer, limit_s: float) -> None:
        """The disk leads to this layer from now on."""

    async def withdraw_layer(self, disk: Path, layer: Layer, below: Layer, limit_s: float) -> None:
        """The disk leads to ``below`` again, the layer goes."""


class LocalLayers:
    """Of disks that the controller sees."""

    def __init__(self) -> None:
        self._layers = DiskLayers()

    async def active_layer(self, disk: Path, limit_s: float) -> Layer:
        """As :meth:`DiskLayers.active`."""
        return await self._layers.active(disk, Clockwork(limit_s))

    async def prepare_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> Layer:
        """As :meth:`DiskLayers.prepare`."""
        return await self._layers.prepare(disk, snapshot_id, Clockwork(limit_s))

    async def insist_on_new_layer(self, disk: Path, snapshot_id: int, limit_s: float) -> None:
        """As :meth:`DiskLayers.insist_on_new`."""
        await self._layers.insist_on_new(disk, snapshot_id, Clockwork(limit_s))

    async def point_at_layer(self, disk: Path, layer: Layer, limit_s: float) -> None:
        """As :meth:`DiskLayers.point`."""
        await self._layers.point(disk, layer, Clockwork(limit_s))

    async def withdraw_layer(self, disk: Path, layer: Layer, below: Layer, limit_s: float) -> None:
        """As :meth:`DiskLayers.withdraw`."""
        await self._layers.withdraw(disk, layer, below, Clockwork(limit_s))
