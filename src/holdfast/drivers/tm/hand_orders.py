"""The orders that a hand knows: lines, looks, both ends of a copy, layers, checkpoints.  Each works on local files.

Every path comes as text and is checked here, against the datastores' directory and the VM.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.drivers.capacity import measure
from holdfast.drivers.inventory import Entry, inventory
from holdfast.drivers.tm import arrivals, home, layout
from holdfast.drivers.tm.disks import file_of
from holdfast.drivers.tm.inspection import insist_on_own_layers, insist_on_plain_tree, insist_on_whole_image
from holdfast.drivers.tm.layers import DiskLayers, Layer, described, insist_on_whole, layer_to_run
from holdfast.drivers.tm.lines import Places, TransferError, parse
from holdfast.drivers.tm.orders import request_from_data, vm_from_data
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.probes import Probe
from holdfast.drivers.tm.shared import SharedTransfers
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.tm.use import disks_in, insist_unused
from holdfast.drivers.vmm.checkpoint import Checkpoint

Order = Mapping[str, Any]
LOOKS = ("probe", "gone", "standing", "begin_move", "end_move", "image", "send", "receive", "checkpoint.trouble",
         "checkpoint.is_gone", "snapshots", "inventory", "capacity")  # fmt: skip
"""Orders that change nothing another could mind; all others have the VM to themselves."""


class HandOrders:
    """Carries out orders on the files below ``root``; answers with what JSON can hold."""

    def __init__(self, root: Path) -> None:
        self._area = DatastoreArea(root)
        self._transfers = SharedTransfers(self._area)
        self._layers = DiskLayers()
        self._orders: dict[str, Callable[[Order, Clockwork], Awaitable[Any]]] = {
            "line": self._line,
            "home": self._home,
            "probe": self._probe,
            "gone": self._gone,
            "begin_move": self._begin_move,
            "end_move": self._end_move,
            "standing": self._standing,
            "publish_disk": self._publish_disk,
            "publish_directory": self._publish_directory,
            "publish_image": self._publish_image,
            "set_aside": self._set_aside,
            "settle": self._settle,
            "drop_set_aside": self._drop_set_aside,
            "image": self._image,
            "hand_out": self._hand_out,
            "flatten": self._flatten,
            "brought_back": self._brought_back,
            "drop": self._drop,
            "snapshots": self._snapshots,
            "inventory": self._inventory,
            "capacity": self._capacity,
            "layers.active": self._active_layer,
            "layers.to_run": self._layers_to_run,
            "layers.prepare": self._prepare_layer,
            "layers.insist_on_new": self._insist_on_new_layer,
            "layers.point": self._point_at_layer,
            "layers.withdraw": self._withdraw_layer,
            **{f"checkpoint.{name}": partial(self._checkpoint, name)
               for name in ("prepare", "complete", "trouble", "is_gone", "use", "discard")},
        }  # fmt: skip

    async def carry_out(self, order: Order, clockwork: Clockwork) -> Any:
        """One order; raises TransferError."""
        work = self._orders.get(order["call"])
        if work is None:
            raise TransferError(f"{order['call']} is no order for a hand")
        return await work(order, clockwork)

    async def insist_unused(self, order: Order, clockwork: Clockwork) -> None:
        """Raises TransferError when somebody writes to what is to be sent: a domain that lives after all."""
        path = self._area.vm_path(order["path"], order["vm_id"]) if "path" in order else None
        disks = await clockwork.touch(lambda: disks_in(path), f"looking at {path}") if path else []
        for disk in disks:
            await insist_unused(disk, clockwork)

    def sent_from(self, order: Order) -> tuple[Path, list[str]]:
        """The directory and the names in it that an order ``send`` is about."""
        if "image" in order:
            path = self._area.confine(self._area.image_path(order["image"]))
        elif "file" in order:
            path = self._area.confine(self._file(order, "file"))
        else:
            path = self._area.confine(self._vm_path(order))
            return path, sorted(entry.name for entry in path.iterdir())
        if not stat.S_ISREG(path.lstat().st_mode):
            raise TransferError(f"{path} is not a file")
        return path.parent, [path.name]

    def begin_arrival(self, order: Order) -> Path:
        """The draft that an order ``receive`` is to fill."""
        target = self._target(order)
        self._area.confine(target.parent)
        if "makes" in order:
            home.enter(target.parent, order["makes"])
        return arrivals.begin_arrival(self._area.root, target, order["size"])

    def _vm_path(self, order: Order, key: str = "path") -> Path:
        return self._area.vm_path(order[key], order["vm_id"])

    def _file(self, order: Order, key: str = "path") -> Path:
        return self._area.vm_file(order[key], order["vm_id"])

    def _target(self, order: Order) -> Path:
        return self._area.image_path(order["image"]) if "image" in order else self._vm_path(order)

    async def _line(self, order: Order, clockwork: Clockwork) -> None:
        for line in parse(order["line"]):
            await self._transfers.perform(line, vm_from_data(order["vm"]), clockwork)

    async def _probe(self, order: Order, clockwork: Clockwork) -> str:
        places = Places(str(self._area.root), order["frontend"])
        request = request_from_data(order["request"])
        return await Probe(self._area, places).finding(request, vm_from_data(order["vm"]), clockwork)

    async def _gone(self, order: Order, clockwork: Clockwork) -> bool:
        path = self._vm_path(order)
        return await clockwork.touch(partial(layout.is_gone, path), f"looking at {path}")

    async def _home(self, order: Order, clockwork: Clockwork) -> None:
        """The VM's directory is there, or if it is not ``needed`` at least no move keeps it from there."""
        path = self._vm_path(order)
        work = partial(home.enter, path, makes=False) if order["needed"] else partial(home.take_back, path)
        await clockwork.touch(work, f"looking for {path}")

    async def _begin_move(self, order: Order, clockwork: Clockwork) -> dict[str, Any]:
        path = self._vm_path(order)
        found = await clockwork.touch(
            lambda: arrivals.begin_move(path, order["move"], order["disks"]), f"preparing {path}"
        )
        return asdict(found)

    async def _end_move(self, order: Order, clockwork: Clockwork) -> None:
        path = self._vm_path(order)
        await clockwork.touch(lambda: arrivals.end_move(path), f"looking at {path}")

    async def _standing(self, order: Order, clockwork: Clockwork) -> dict[str, Any]:
        path = self._vm_path(order)
        found = await clockwork.touch(
            lambda: arrivals.standing(self._area.confine(path), order["move"], order["disks"], order["token"]),
            f"looking at {path}",
        )
        return asdict(found)

    async def _publish_disk(self, order: Order, clockwork: Clockwork) -> None:
        target = self._vm_path(order)
        draft = arrivals.confined_draft(self._area, order["draft"], target)
        await arrivals.publish_disk(draft, target, order["format"], order["grown_mb"], clockwork)

    async def _publish_directory(self, order: Order, clockwork: Clockwork) -> None:
        target = self._vm_path(order)
        draft = arrivals.confined_draft(self._area, order["draft"], target)
        origin: str = order["origin"]
        await clockwork.touch(lambda: insist_on_plain_tree(draft, origin), f"looking at {draft}")
        await insist_on_own_layers(draft, order["in_layers"], origin, clockwork)
        await clockwork.touch(
            lambda: arrivals.publish_directory(draft, target, order["move"], clockwork.insist),
            f"putting {target} in place",
        )

    async def _publish_image(self, order: Order, clockwork: Clockwork) -> None:
        image = self._area.image_path(order["image"])
        draft = arrivals.confined_draft(self._area, order["draft"], image)
        arrived = await clockwork.touch(lambda: arrivals.arrived_file(draft), f"looking at {draft}")
        await insist_on_whole_image(arrived, order["format"], order["origin"], clockwork)
        await clockwork.touch(
            lambda: arrivals.publish_image(draft, image, order["disk"], clockwork.insist), f"putting {image} in place"
        )

    async def _set_aside(self, order: Order, clockwork: Clockwork) -> None:
        path = self._vm_path(order)
        await self.insist_unused(order, clockwork)
        await clockwork.touch(lambda: home.insist_on_one(path), f"looking at {path}")
        await clockwork.touch(lambda: layout.set_aside(path, clockwork.insist), f"removing {path}")

    async def _settle(self, order: Order, clockwork: Clockwork) -> None:
        path = self._vm_path(order)
        await clockwork.touch(lambda: arrivals.settle(path), f"putting {path} in place")

    async def _drop_set_aside(self, order: Order, clockwork: Clockwork) -> None:
        path = self._vm_path(order)
        await clockwork.touch(lambda: layout.drop_set_aside(path), f"removing {path}")

    async def _image(self, order: Order, clockwork: Clockwork) -> int:
        """Bytes on disk of an image that is there."""
        image = self._area.image_path(order["image"])

        def look() -> int:
            if not self._area.confine(image).exists():
                raise TransferError(f"image {image} does not exist")
            insist_on_whole(image)
            return arrivals.allocated(image)

        return await clockwork.touch(look, f"looking at {image}")

    async def _hand_out(self, order: Order, clockwork: Clockwork) -> None:
        """A persistent image goes to a VM; with ``merge``, what an earlier VM left above it goes in first."""
        image = self._area.image_path(order["image"])
        if order["merge"]:
            await self._layers.merge_left_over(image, clockwork)
        await clockwork.touch(lambda: arrivals.hand_out(image), f"preparing {image}")

    async def _flatten(self, order: Order, clockwork: Clockwork) -> dict[str, Any] | None:
        """The one file that holds all of a disk; None when there is no disk."""
        disk = self._vm_path(order)

        def look() -> bool:
            home.take_back(disk.parent)
            home.insist_on_one(disk.parent)
            self._area.confine(disk.parent)
            if not layout.is_there(disk):
                return False
            if not self._area.confine(file_of(disk)).exists():
                raise TransferError(f"{disk} does not exist")
            return True

        if not await clockwork.touch(look, f"looking at {disk}"):
            return None
        await insist_unused(await clockwork.touch(lambda: file_of(disk), f"looking at {disk}"), clockwork)
        file = await self._layers.flatten(disk, clockwork)
        size = await clockwork.touch(lambda: arrivals.allocated(file), f"looking at {file}")
        return {"path": str(file), "size": size}

    async def _brought_back(self, order: Order, clockwork: Clockwork) -> bool:
        image = self._area.image_path(order["image"])
        return await clockwork.touch(lambda: arrivals.is_brought_back(image, order["disk"]), f"looking at {image}")

    async def _drop(self, order: Order, clockwork: Clockwork) -> None:
        target = self._target(order)
        draft = arrivals.confined_draft(self._area, order["draft"], target)
        await clockwork.touch(lambda: layout.remove(draft), f"removing {draft}")

    async def _inventory(self, order: Order, clockwork: Clockwork) -> list[Entry]:
        """What a datastore's directory holds; ``path`` is that of the datastore."""
        directory = self._area.datastore_path(order["path"])
        return await clockwork.touch(lambda: inventory(directory), f"looking through {directory}")

    async def _capacity(self, order: Order, clockwork: Clockwork) -> dict[str, int]:
        """How full the file system of a datastore's directory is, in MiB."""
        directory = self._area.datastore_path(order["path"])
        return asdict(await clockwork.touch(lambda: measure(directory, alone=False), f"measuring {directory}"))

    async def _snapshots(self, order: Order, clockwork: Clockwork) -> list[str]:
        """The names of the snapshots inside a qcow2 file."""
        file = self._file(order)
        await clockwork.touch(partial(self._area.confine, file.parent), f"looking at {file}")
        return [snapshot["name"] for snapshot in (await described(file, clockwork)).get("snapshots", ())]

    async def _active_layer(self, order: Order, clockwork: Clockwork) -> dict[str, Any]:
        return _as_data(await self._layers.active(await self._disk(order, clockwork), clockwork))

    async def _layers_to_run(self, order: Order, clockwork: Clockwork) -> list[str | None]:
        """The layer of each of these qcow2 disks that a domain is to be given, None for one that is not there."""
        disks = [self._area.vm_path(word, order["vm_id"]) for word in order["paths"]]

        def look() -> list[str | None]:
            found = [layer_to_run(self._area.confine(disk.parent) / disk.name) for disk in disks]
            return [str(layer.path) if layer else None for layer in found]

        return await clockwork.touch(look, "looking for the layers of disks")

    async def _prepare_layer(self, order: Order, clockwork: Clockwork) -> dict[str, Any]:
        disk = await self._disk(order, clockwork)
        return _as_data(await self._layers.prepare(disk, order["snapshot_id"], clockwork))

    async def _insist_on_new_layer(self, order: Order, clockwork: Clockwork) -> None:
        await self._layers.insist_on_new(await self._disk(order, clockwork), order["snapshot_id"], clockwork)

    async def _point_at_layer(self, order: Order, clockwork: Clockwork) -> None:
        await self._layers.point(await self._disk(order, clockwork), self._layer(order, "layer"), clockwork)

    async def _withdraw_layer(self, order: Order, clockwork: Clockwork) -> None:
        disk = await self._disk(order, clockwork)
        await self._layers.withdraw(disk, self._layer(order, "layer"), self._layer(order, "below"), clockwork)

    async def _disk(self, order: Order, clockwork: Clockwork) -> Path:
        disk = self._vm_path(order)
        await clockwork.touch(partial(self._area.confine, disk.parent), f"looking at {disk}")
        return disk

    def _layer(self, order: Order, key: str) -> Layer:
        path = self._area.vm_file(order[key]["path"], order["vm_id"])
        return Layer(order[key]["number"], path)

    async def _checkpoint(self, name: str, order: Order, clockwork: Clockwork) -> Any:
        directory = self._vm_path(order)
        work = partial(getattr(Checkpoint(directory), name), *order["arguments"])

        def touch() -> Any:
            self._area.confine(directory)
            return work()

        return await clockwork.touch(touch, f"looking at {directory}{os.sep}checkpoint")


def _as_data(layer: Layer) -> dict[str, Any]:
    return {"number": layer.number, "path": str(layer.path)}
