"""After a restart: which steps the files on hosts show to be done already, as :mod:`holdfast.drivers.tm.probes`.

A host that does not answer shows nothing: then the step is done again, and fails with the reason if it must.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.drivers.tm import home
from holdfast.drivers.tm.lines import Line, Places, Request, Step, transfer_lines
from holdfast.drivers.tm.orders import request_as_data, vm_as_data
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.vm import Vm

_MOVES = (Step.MIGRATE, Step.RESUME, Step.STOP)
_REMOVALS = (Step.EPILOG, Step.DELETE, Step.DELETE_BOTH)


class RemoteProbe:
    """Looks at the files of VMs on hosts."""

    def __init__(self, area: DatastoreArea, places: Places, hands: Hands) -> None:
        self._area, self._places, self._hands = area, places, hands

    async def finding(self, request: Request, vm: Vm, clockwork: Clockwork) -> str:
        """What shows that the step is done; empty when nothing does."""
        lines = transfer_lines(request, vm, self._places)
        if request.step is Step.PROLOG:
            return ""
        if request.step in _REMOVALS:
            return await self._gone(lines, vm, clockwork)
        host = next(word for word in lines[-1].arguments if ":" in word).partition(":")[0]
        if request.step in _MOVES:
            target = lines[-1].arguments[1].partition(":")[0]
            if host != target:
                return await self._moved(lines[-1], vm, clockwork)
        data = {"request": request_as_data(request), "vm": vm_as_data(vm)}
        found = str(await self._hands.call(host, "probe", vm.oid, clockwork, **data))
        return found and f"on {host}, {found}"

    async def _moved(self, line: Line, vm: Vm, clockwork: Clockwork) -> str:
        origin, target = (word.partition(":") for word in line.arguments[:2])
        about = {"move": home.move_of(vm, *line.arguments[:2]), "disks": [], "token": ""}
        here = await self._hands.call(origin[0], "standing", vm.oid, clockwork, path=origin[2], **about)
        there = await self._hands.call(target[0], "standing", vm.oid, clockwork, path=target[2], **about)
        is_let_go = not here["there"] and not here["set_aside"]
        has_arrived = there["arrived"] and not there["arriving"]
        return f"the files are in {line.arguments[1]}" if is_let_go and has_arrived else ""

    async def _gone(self, lines: Iterable[Line], vm: Vm, clockwork: Clockwork) -> str:
        """All directories that the step removes are gone; they go last."""
        for line in lines:
            host, _, path = line.arguments[0].partition(":")
            if not path.rpartition("/")[2].startswith("disk."):
                gone = await self._hands.call(host, "gone", vm.oid, clockwork, path=path)
                if not gone:
                    return ""
        return "the files are gone"
