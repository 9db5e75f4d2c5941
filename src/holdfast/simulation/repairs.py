"""People who repair a failed transfer line by line: some patiently, some vanish in between, some take it over.

The transfer files of the simulation have :data:`LINES` lines, whatever they are about.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.engine import repair_commands as c
from holdfast.engine.commands import Command
from holdfast.engine.state import State
from holdfast.lifecycle.repair import STEPS
from holdfast.model.errors import HoldfastError
from holdfast.model.repair import Repair, RepairDeed, RepairResult
from holdfast.model.vm import Vm
from holdfast.simulation.kernel import Kernel, Script
from holdfast.simulation.shell import DOWN, Shell
from holdfast.simulation.story import Story

LINES = 2
ROUNDS = 60
PATIENCE_S = 20.0
LOOK_S = 2.0
VANISHES, IMPATIENT = 2, 3
"""Kinds of people: who begins and is not heard again; who takes over, and leaves out what has failed."""
Recover = Callable[[int], None]


class Repairs:
    """The dialogues; ``recover`` says of a VM that its transfer is done."""

    def __init__(self, kernel: Kernel, shell: Shell, story: Story, recover: Recover) -> None:
        self._kernel = kernel
        self._shell = shell
        self._story = story
        self._recover = recover
        self._count = 0

    def begin(self, vm: Vm, kind: int) -> None:
        """Somebody sits down to repair this VM."""
        self._count += 1
        self._kernel.spawn(self._dialogue(vm.oid, f"dialogue {self._count:08d}", kind))

    def _dialogue(self, vm_id: int, session: str, kind: int) -> Script:
        vm = self._state.vms.get(vm_id) if self._state else None
        step = STEPS.get(vm.position) if vm is not None else None
        if vm is None or vm.current is None or step is None:
            return
        lines = tuple(f"MV shared a:{vm_id} b:{vm_id} {vm_id} {line}" for line in range(LINES))
        file = f"transfer.{vm.current.seq}.{step}"
        begin = c.BeginRepair(vm_id, session, session, file, lines, take_over=kind == IMPATIENT)
        if isinstance((yield from self._ask(begin)), HoldfastError):
            return
        for _ in range(ROUNDS):
            repair = self._state.repairs.get(vm_id) if self._state else None
            if repair is not None and (repair.holder.session != session or (kind == VANISHES and repair.records)):
                return
            command = None if repair is None else _next(repair, session, kind)
            if command is not None:
                yield from self._ask(command)
            if isinstance(command, c.LeaveRepair):
                self._recover(vm_id)
                return
            yield LOOK_S

    @property
    def _state(self) -> State | None:
        engine = self._shell.engine
        return engine.state if engine is not None else None

    def _ask(self, command: Command) -> Script:
        """The answer to a call; nobody waits for it for ever."""
        answers: list[int | HoldfastError] = []
        self._shell.call(command, answers.append)
        waited_s = 0.0
        while not answers and waited_s < PATIENCE_S:
            yield 0.5
            waited_s += 0.5
        answer = answers[0] if answers else DOWN
        said = answer.message if isinstance(answer, HoldfastError) else "accepted"
        self._story.tell("operator: {}: {}", command, said)
        return answer


def _next(repair: Repair, session: str, kind: int) -> Command:
    if repair.effect_id >= 0:
        return c.HoldRepair(repair.oid, session)
    if repair.is_complete:
        return c.LeaveRepair(repair.oid, session)
    newest = repair.records[-1] if repair.records else None
    failed = newest is not None and newest.deed is RepairDeed.RUN and newest.result is not RepairResult.SUCCESS
    if failed and kind == IMPATIENT:
        return c.SkipRepairLine(repair.oid, session, repair.position + 1)
    return c.RunRepairLine(repair.oid, session, repair.position + 1, repair.next_record)
