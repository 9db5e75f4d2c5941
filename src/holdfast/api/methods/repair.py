"""``one.vm.repair*``: the interactive repair of a failed transfer.  OpenNebula has no such methods: there the client
itself runs the lines, on the front-end.

``session`` is a random text that the caller makes up (16 to 128 characters): it tells his dialogue from any other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.api.methods.change import answer, authorize, change
from holdfast.api.methods.method import Call, Method, Result, params
from holdfast.api.methods.objects import found
from holdfast.api.views import repair as view
from holdfast.api.views.markup import embedded
from holdfast.engine import repair_commands as commands
from holdfast.lifecycle.repair import file_of
from holdfast.model.errors import ActionError, ArgumentError
from holdfast.model.repair import Repair, RepairRecord, RepairResult

WAIT_AT_MOST_S = 20
LOOK_EVERY_S = 0.05
_VM = "virtual machine"


async def _begin(call: Call, oid: int, session: str, seat: str, take_over: bool) -> Result:
    authorize(call, _VM, oid)
    vm = found(call.state.vms, oid, _VM)
    file = file_of(vm)
    lines = await call.controller.transfers.lines_of(vm, file)
    return await answer(call, commands.BeginRepair(oid, session, seat, file, lines, take_over))


def _known(call: Call, oid: int) -> Repair:
    authorize(call, _VM, oid)
    found(call.state.vms, oid, _VM)
    repair = call.state.repairs.get(oid)
    if repair is None:
        raise ActionError(f"The transfer of VM {oid} was not repaired interactively.", oid)
    return repair


async def _info(call: Call, oid: int) -> Result:
    return (embedded(view.full(_known(call, oid))),)


async def _output(call: Call, oid: int, record: int, after: int, wait_s: int) -> Result:
    """Waits until the line says more or ends, but not for long: the caller asks again."""
    if after < 0 or not 0 <= wait_s <= WAIT_AT_MOST_S:
        raise ArgumentError(f"after must not be negative and wait from 0 to {WAIT_AT_MOST_S} s.", oid)
    ends = asyncio.get_running_loop().time() + wait_s
    while True:
        wanted = _record(call, oid, record)
        first, said = _said(call, oid, wanted, after)
        over = asyncio.get_running_loop().time() >= ends
        if over or said or wanted.result is not RepairResult.RUNNING:
            return (embedded(view.output(wanted, first, said)),)
        await asyncio.sleep(LOOK_EVERY_S)


def _record(call: Call, oid: int, number: int) -> RepairRecord:
    record = _known(call, oid).record(number)
    if record is None:
        raise ActionError(f"The repair of VM {oid} has no record {number} (any more).", oid)
    return record


def _said(call: Call, oid: int, record: RepairRecord, after: int) -> tuple[int, Sequence[str]]:
    """What came after so many lines, as long as the controller remembers; else all that is kept in the record."""
    said = call.controller.transfers.told_by(oid, record.number)
    return (0, record.output.splitlines()) if said is None else (after, said[after:])


_SESSION = "oid:int session:string"

METHODS: tuple[Method, ...] = (
    Method(
        "one.vm.repair",
        params("oid:int session:string seat:string= take_over:bool=false"),
        _begin,
        "int",
        "Begins the interactive repair of a VM's failed transfer, or goes on with it.",
    ),
    change("one.vm.repairhold", commands.HoldRepair, _SESSION, "Says that whoever repairs a VM is still there."),
    change(
        "one.vm.repairrun",
        commands.RunRepairLine,
        f"{_SESSION} line:int record:int",
        "Runs the current line of a VM's transfer file; the number of its record keeps it from running twice.",
    ),
    change(
        "one.vm.repairskip",
        commands.SkipRepairLine,
        f"{_SESSION} line:int",
        "Leaves the current line of a VM's transfer file out.",
    ),
    change("one.vm.repairquit", commands.LeaveRepair, _SESSION, "Ends the dialogue; a line that runs goes on."),
    Method("one.vm.repairinfo", params("oid:int"), _info, "string", "Shows the repair of a VM and its records."),
    Method(
        "one.vm.repairoutput",
        params("oid:int record:int after:int=0 wait:int=0"),
        _output,
        "string",
        "What a line says, after the first lines (from FIRST on); waits up to so many seconds for more.",
    ),
)
