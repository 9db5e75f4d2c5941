"""The transfer drivers ``ssh`` and ``local`` (one implementation): storage of its own on every host.

Images are copied from the front-end to the host where the VM runs, persistent ones are copied back at its end, and the
VM's directory follows it from host to host.  What is done to files that are where they belong is done there, by a hand
(:mod:`holdfast.drivers.tm.hand`) with the code of the driver ``shared``.

A copy is a draft until it is complete, and nothing is removed before its copy has its name, synced.  Every action can
be repeated: it makes its result anew, or finds that there is nothing left to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.drivers.tm import home
from holdfast.drivers.tm.copying import End, copied, handed
from holdfast.drivers.tm.disks import copy_made_at, disk_at, format_of, in_layers
from holdfast.drivers.tm.lines import Line, TransferError, word_of_vm
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

    def end(self, **more: Any) -> End:
        """It as one end of a copy; ``makes``: whether the VM's directory may be made for it."""
        return End(self.host, {**self.about(), **more})

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


class _Move:
    """A directory on its way from one machine to another, and when it may go on."""

    def __init__(self, origin: Place, target: Place, vm: Vm) -> None:
        self.origin, self.target, self.vm = origin, target, vm
        self.about: dict[str, Any] = {"move": home.move_of(vm, origin, target), "disks": home.disks_of(vm)}

    def insist_on_origin(self, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
        """It is the VM's directory, and whole if it will replace something."""
        if here["set_aside"]:
            raise home.two_of(str(self.origin), f"{self.origin}.moved")
        if there["there"] or there["set_aside"]:
            home.insist_on_whole(self.origin, self.target, here["lacks"])

    def insist_on_arrival(self, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
        """The origin is gone: right after a complete move, wrong when somebody lost it."""
        origin, target = self.origin, self.target
        if not there["there"]:
            raise TransferError(f"neither {origin} nor {target} exists")
        if not there["arrived"]:
            raise home.leftover(origin, target, self.vm.oid)
        if here["set_aside"]:
            home.insist_on_whole(target, f"{origin}.moved", there["lacks"])
        elif there["arriving"]:
            raise TransferError(
                f"{origin} does not exist, and {target} is a copy of an earlier move that never ended, maybe an old "
                f"one: see whether {origin.path.parent} is mounted on {origin.host}; if nothing is to be had there, "
                f"remove {target.path.with_name(f'.{target.path.name}.arriving')} on {target.host} and try again"
            )


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
        action = self._actions.get(line.verb)
        if action is None:
            raise TransferError(f"action {line.action} is not one of {', '.join(self._actions)}")
        await action(line, vm, clockwork)

    async def put(self, word: str, content: bytes, vm: Vm, clockwork: Clockwork) -> None:
        """A small disk with this content."""
        target = self._place(word, vm)
        draft = await handed(
            self._hands, content, target.end(makes=home.may_make(vm, target.path.name)), vm.oid, clockwork
        )
        await self._at(target, "publish_disk", vm, clockwork, draft=draft, format="raw", grown_mb=0)

    async def _copy_image(self, line: Line, vm: Vm, clockwork: Clockwork, keeps_image: bool) -> None:
        source_word, target_word, *_ = line.words(4)
        source, target = self._image(source_word), self._place(target_word, vm)
        image_format, grown_mb = copy_made_at(vm, target.path)
        if keeps_image:
            is_new = not vm.snapshots_of(int(disk_at(vm, target.path)["DISK_ID"])).next_oid
            await self._at(source, "hand_out", vm, clockwork, merge=is_new and image_format == "qcow2")
        size = await self._at(source, "image", vm, clockwork)
        end = target.end(makes=home.may_make(vm, target.path.name))
        draft = await copied(self._hands, source.end(), end, size, vm.oid, clockwork)
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
        move = _Move(origin, target, vm)
        there = await self._at(target, "begin_move", vm, clockwork, **move.about)
        try:
            await self._move_between(move, there, clockwork)
        except BaseException:
            await self._hands.clean_up(target.host, "end_move", vm.oid, **target.about())
            raise

    async def _move_between(self, move: _Move, there: Mapping[str, Any], clockwork: Clockwork) -> None:
        origin, target, vm = move.origin, move.target, move.vm
        here = await self._at(origin, "standing", vm, clockwork, **move.about, token=there["token"])
        if here["same"]:
            await self._at(origin, "home", vm, clockwork, needed=True)
            await self._at(target, "end_move", vm, clockwork)
            return
        if not here["there"] and here["set_aside"] and not there["arrived"]:
            await self._at(origin, "home", vm, clockwork, needed=True)
            here = await self._at(origin, "standing", vm, clockwork, **move.about, token="")
        if here["there"]:
            await self._carry_over(move, here, there, clockwork)
        else:
            move.insist_on_arrival(here, there)
        await self._at(target, "settle", vm, clockwork)
        await self._at(origin, "drop_set_aside", vm, clockwork)

    async def _carry_over(
        self, move: _Move, here: Mapping[str, Any], there: Mapping[str, Any], clockwork: Clockwork
    ) -> None:
        move.insist_on_origin(here, there)
        origin, target, vm = move.origin, move.target, move.vm
        draft = await copied(self._hands, origin.end(), target.end(), here["size"], vm.oid, clockwork)
        about = {"draft": draft, "origin": str(origin), "in_layers": in_layers(vm), "move": move.about["move"]}
        await self._publish(target, "publish_directory", vm, clockwork, **about)
        await self._at(origin, "set_aside", vm, clockwork)

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
        await self._in_place_at(self._place(word_of_vm(line), vm).host, line, vm, clockwork)

    async def _in_place_at(self, host: str, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        await self._hands.call(host, "line", vm.oid, clockwork, line=str(line), vm=vm_as_data(vm))

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
