"""The transfer drivers ``ssh`` and ``local`` (one implementation): storage of its own on every host.

Images are copied from the front-end to the host where the VM runs, persistent ones are copied back at its end, and the
VM's directory follows it from host to host.  What is done to files that are where they belong is done there, by a hand
(:mod:`holdfast.drivers.tm.hand`) with the code of the driver ``shared``.

A copy is a draft until it is complete, and nothing is removed before its copy has its name, synced.  Every action can
be repeated: it makes its result anew, or finds that there is nothing left to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.copying import End, copied, handed
from holdfast.drivers.tm.disks import copy_made_at, disk_at, format_of, in_layers
from holdfast.drivers.tm.lines import Line, TransferError
from holdfast.drivers.tm.orders import vm_as_data
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.vm import Vm

_IN_PLACE = ("DELETE", "MKIMAGE", "MKSWAP", "RESIZE", "SNAP_CREATE", "SNAP_REVERT", "SNAP_DELETE")
"""Done by a hand on the host that the line names."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory on a machine."""

    host: str
    path: Path
    is_image: bool

    def about(self) -> dict[str, str]:
        """How a hand is told of it."""
        return {"image" if self.is_image else "path": str(self.path)}

    def end(self) -> End:
        """It as one end of a copy."""
        return End(self.host, self.about())

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


class SshTransfers:
    """Carries out one line after the other; raises TransferError."""

    def __init__(self, area: DatastoreArea, hands: Hands) -> None:
        self._area, self._hands = area, hands
        self._actions: dict[str, Callable[[Line, Vm, Clockwork], Awaitable[None]]] = {
            "CLONE": partial(self._copy_image, keeps_image=False),
            "LN": partial(self._copy_image, keeps_image=True),
            "MV": self._move,
            "MVDS": self._bring_back,
            **dict.fromkeys(_IN_PLACE, self._in_place),
        }

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""
        action = self._actions.get(line.action.partition(".")[0].upper())
        if action is None:
            raise TransferError(f"action {line.action} is not one of {', '.join(self._actions)}")
        await action(line, vm, clockwork)

    async def put(self, word: str, content: bytes, vm: Vm, clockwork: Clockwork) -> None:
        """A small disk with this content."""
        target = self._place(word, vm)
        draft = await handed(self._hands, content, target.end(), vm.oid, clockwork)
        await self._at(target, "publish_disk", vm, clockwork, draft=draft, format="raw", grown_mb=0)

    async def _copy_image(self, line: Line, vm: Vm, clockwork: Clockwork, keeps_image: bool) -> None:
        source_word, target_word, *_ = line.words(4)
        source, target = self._image(source_word), self._place(target_word, vm)
        image_format, grown_mb = copy_made_at(vm, target.path)
        if keeps_image:
            is_new = not vm.snapshots_of(int(disk_at(vm, target.path)["DISK_ID"])).next_oid
            await self._at(source, "hand_out", vm, clockwork, merge=is_new and image_format == "qcow2")
        size = await self._at(source, "image", vm, clockwork)
        draft = await self._copied(source, target, size, vm, clockwork)
        about = {"draft": draft, "format": image_format, "grown_mb": grown_mb}
        await self._publish(target, "publish_disk", vm, clockwork, **about)

    async def _move(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        origin_word, target_word, *_ = line.words(4)
        origin, target = self._place(origin_word, vm), self._place(target_word, vm)
        if origin == target or target.path.name.startswith("disk."):
            return  # single disks go with their directory
        if origin.host == target.host:
            await self._in_place_at(origin.host, line, vm, clockwork)
            return
        token = await self._at(target, "begin_move", vm, clockwork)
        try:
            await self._move_between(origin, target, token, vm, clockwork)
        except BaseException:
            await self._hands.clean_up(target.host, "end_move", vm.oid, **target.about())
            raise

    async def _move_between(self, origin: Place, target: Place, token: str, vm: Vm, clockwork: Clockwork) -> None:
        here = await self._at(origin, "standing", vm, clockwork, token=token)
        if here["same"]:
            await self._at(target, "end_move", vm, clockwork)
            return
        if here["there"]:
            await self._carry_over(origin, target, here["size"], vm, clockwork)
        else:
            await self._insist_on_arrival(origin, target, here["set_aside"], vm, clockwork)
        await self._at(target, "settle", vm, clockwork)
        await self._at(origin, "drop_set_aside", vm, clockwork)

    async def _carry_over(self, origin: Place, target: Place, size: int, vm: Vm, clockwork: Clockwork) -> None:
        draft = await self._copied(origin, target, size, vm, clockwork)
        about = {"draft": draft, "origin": str(origin), "in_layers": in_layers(vm)}
        await self._publish(target, "publish_directory", vm, clockwork, **about)
        await self._at(origin, "set_aside", vm, clockwork)

    async def _insist_on_arrival(
        self, origin: Place, target: Place, was_set_aside: bool, vm: Vm, clockwork: Clockwork
    ) -> None:
        """The origin is gone: right after a complete move, wrong when somebody lost it."""
        there = await self._at(target, "standing", vm, clockwork, token="")
        if not there["there"]:
            raise TransferError(f"neither {origin} nor {target} exists")
        if there["arriving"] and not was_set_aside:
            raise TransferError(
                f"{origin} does not exist, and {target} is a copy of an earlier move that never ended, maybe an old "
                f"one: see whether {origin.path.parent} is mounted on {origin.host}; if nothing is to be had there, "
                f"remove {target.path.with_name(f'.{target.path.name}.arriving')} on {target.host} and try again"
            )

    async def _bring_back(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """The disk of a persistent image becomes the image again, then it goes."""
        disk_word, source_word, *_ = line.words(4)
        disk, image = self._place(disk_word, vm), self._image(source_word)
        name = f"disk {disk.path.name.removeprefix('disk.')} of VM {vm.oid}"
        found = await self._at(disk, "flatten", vm, clockwork)
        if found is None:
            if not await self._at(image, "brought_back", vm, clockwork, disk=name):
                raise TransferError(f"{disk} does not exist: {image} is as it was before VM {vm.oid} got it")
            return
        file = End(disk.host, {"file": found["path"]})
        draft = await copied(self._hands, file, image.end(), found["size"], vm.oid, clockwork)
        about = {"draft": draft, "disk": name, "origin": str(disk), "format": format_of(disk_at(vm, disk.path))}
        await self._publish(image, "publish_image", vm, clockwork, **about)
        await self._in_place_at(disk.host, Line("DELETE", line.driver, (disk_word, *line.arguments[2:])), vm, clockwork)

    async def _in_place(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        at = {"MKIMAGE": 2, "MKSWAP": 1}.get(line.action.partition(".")[0].upper(), 0)
        await self._in_place_at(self._place(line.words(at + 3)[at], vm).host, line, vm, clockwork)

    async def _in_place_at(self, host: str, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        await self._hands.call(host, "line", vm.oid, clockwork, line=str(line), vm=vm_as_data(vm))

    async def _copied(self, origin: Place, target: Place, size: int, vm: Vm, clockwork: Clockwork) -> str:
        return await copied(self._hands, origin.end(), target.end(), size, vm.oid, clockwork)

    async def _publish(self, target: Place, call: str, vm: Vm, clockwork: Clockwork, **values: Any) -> None:
        """What arrived gets its name, or goes."""
        try:
            await self._at(target, call, vm, clockwork, **values)
        except BaseException:
            await self._hands.clean_up(target.host, "drop", vm.oid, **target.about(), draft=values["draft"])
            raise

    async def _at(self, place: Place, call: str, vm: Vm, clockwork: Clockwork, **values: Any) -> Any:
        return await self._hands.call(place.host, call, vm.oid, clockwork, **place.about(), **values)

    def _place(self, word: str, vm: Vm) -> Place:
        return Place(self._host_of(word), self._area.vm_path(word, vm.oid), is_image=False)

    def _image(self, word: str) -> Place:
        return Place(self._host_of(word), self._area.image_path(word), is_image=True)

    def _host_of(self, word: str) -> str:
        """A path without host is one of the front-end."""
        return self._hands.frontend if word.startswith("/") else word.partition(":")[0]
