"""Commands on the interactive repair of a failed transfer (see :mod:`holdfast.lifecycle.repair` for the rules)."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import repair_commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.repair_work import keep, presence_of
from holdfast.engine.vm_work import facts_of
from holdfast.engine.work import Work
from holdfast.lifecycle import repair as rules
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError, ArgumentError
from holdfast.model.repair import Holder, Repair
from holdfast.model.vm import Vm

LINES_AT_MOST = 1000
LINE_AT_MOST = 4096
SESSION_AT_LEAST = 16
NAME_AT_MOST = 128


def begin(work: Work, command: c.BeginRepair) -> int:
    """Opens the repair of a VM's failed transfer, or goes on with it."""
    vm = work.get(Vm, command.oid)
    file = rules.file_of(vm)
    if file != command.file:
        raise ActionError(f"VM {vm.oid} has moved on: {command.file} was read, {file} is to be repaired. Try again.")
    _check(command)
    rules.insist_on_idle_files(vm, facts_of(work, vm))
    actor = work.actor
    newcomer = Holder(actor.uid, actor.name, command.seat, command.session, work.now)
    repair = work.find(Repair, vm.oid)
    begun = rules.begun(repair, vm, command.lines, newcomer, presence_of(work, repair), command.take_over)
    work.presence[vm.oid] = work.now
    keep(work, begun)
    return vm.oid


def _check(command: c.BeginRepair) -> None:
    if not SESSION_AT_LEAST <= len(command.session) <= NAME_AT_MOST:
        raise ArgumentError(
            f"The session of a repair has {SESSION_AT_LEAST} to {NAME_AT_MOST} random characters, this one has "
            f"{len(command.session)}."
        )
    if len(command.seat) > NAME_AT_MOST:
        raise ArgumentError(f"The seat of a repair has at most {NAME_AT_MOST} characters, not {len(command.seat)}.")
    if not command.lines:
        raise ActionError(
            f"{command.file} of VM {command.oid} has no line: there is nothing to run. Write it anew with onevm "
            f"recover --retry {command.oid}",
            command.oid,
        )
    if len(command.lines) > LINES_AT_MOST or max(map(len, command.lines)) > LINE_AT_MOST:
        raise ActionError(
            f"{command.file} of VM {command.oid} has more than {LINES_AT_MOST} lines or one of more than "
            f"{LINE_AT_MOST} characters: that is no transfer file. Write it anew with onevm recover --retry.",
            command.oid,
        )


def _held(work: Work, command: c.HoldRepair | c.RunRepairLine | c.SkipRepairLine | c.LeaveRepair) -> Repair:
    work.get(Vm, command.oid)
    repair = rules.insist_on_holder(work.find(Repair, command.oid), command.oid, command.session)
    work.presence[command.oid] = work.now
    return repair


def hold(work: Work, command: c.HoldRepair) -> int:
    """The holder is still there; nothing is stored."""
    return _held(work, command).oid


def run(work: Work, command: c.RunRepairLine) -> int:
    """Has the current line carried out."""
    repair = _held(work, command)
    vm = work.get(Vm, command.oid)
    rules.insist_on_idle_files(vm, facts_of(work, vm))
    begun = rules.started(repair, command.line, command.record, work.now)
    args = {
        "FILE": repair.file,
        "LINE": repair.lines[repair.position],
        "NUMBER": str(command.line),
        "COUNT": str(len(repair.lines)),
        "RECORD": str(command.record),
    }
    effect = work.plan(EffectKind.TM_LINE, vm.oid, vm.hid, args)
    keep(work, replace(begun, effect_id=effect.oid))
    return vm.oid


def skip(work: Work, command: c.SkipRepairLine) -> int:
    """Leaves the current line out."""
    keep(work, rules.skipped(_held(work, command), command.line, work.now))
    return command.oid


def leave(work: Work, command: c.LeaveRepair) -> int:
    """Ends the dialogue."""
    keep(work, rules.left(_held(work, command)))
    return command.oid


HANDLERS: Handlers = {
    c.BeginRepair: begin,
    c.HoldRepair: hold,
    c.RunRepairLine: run,
    c.SkipRepairLine: skip,
    c.LeaveRepair: leave,
}
