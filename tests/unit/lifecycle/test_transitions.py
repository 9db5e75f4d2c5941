"""Every row of the transition table against ``transitions.txt``, where each is written down a second time."""

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION, FAILURES, PLACED, Position, Row
from holdfast.model.vm import Vm
from tests.unit.lifecycle.subjects import FACTS, HERE, name_of, told, vm_at

LINES = [
    tuple(part.strip() for part in line.split("|"))
    for line in Path(__file__).with_name("transitions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
POSITIONS = {name_of(position): position for position, _ in BY_POSITION}
REMOVALS = (VmEvent.RECOVER_DELETE, VmEvent.RECOVER_RECREATE, VmEvent.RECOVER_DELETE_DB)


def subject(position: Position, variant: str) -> Vm:
    """The VM that a line of the file speaks of."""
    return vm_at(position, () if variant == "idle" else (HERE,), hard=variant == "hard")


def is_removal(position: Position, event: VmEvent) -> bool:
    """Covered by test_removal.py."""
    if event in (VmEvent.TERMINATE, VmEvent.TERMINATE_HARD):
        return position in FAILURES
    return position in PLACED and event in REMOVALS


def chosen(position: Position, event: VmEvent, variant: str) -> Row:
    """The row of the table that a line of the file exercises."""
    vm, facts = subject(position, variant), replace(FACTS, certain=variant != "unsure")
    return next(row for row in BY_POSITION[position, event] if CHECKS[row.guard](vm, facts) is None)


@pytest.mark.parametrize("line", LINES, ids=[" ".join(line[:3]) for line in LINES])
def test_the_transition_does_what_is_written_down(line: tuple[str, ...]) -> None:
    name, event, variant, *expected = line
    vm = subject(POSITIONS[name], variant)
    decision = decide(vm, VmEvent(event), replace(FACTS, certain=variant != "unsure"))
    assert told(vm, decision) == " | ".join(expected)


def test_every_row_of_the_table_is_exercised() -> None:
    written = {(POSITIONS[name], VmEvent(event)) for name, event, *_ in LINES}
    assert {pair for pair in BY_POSITION if not is_removal(*pair)} == written
    exercised = {(POSITIONS[name], VmEvent(event), variant) for name, event, variant, *_ in LINES}
    rows = {chosen(*case) for case in exercised}
    removal = {row for pair, found in BY_POSITION.items() if is_removal(*pair) for row in found}
    assert set(ALL_ROWS) - rows - removal == set()


@pytest.mark.parametrize("line", LINES, ids=[" ".join(line[:3]) for line in LINES])
def test_the_state_before_is_remembered_and_an_open_effect_gives_way_to_a_step(line: tuple[str, ...]) -> None:
    name, event, variant, target, effect, *_ = line
    vm = replace(subject(POSITIONS[name], variant), effect_id=77)
    decision = decide(vm, VmEvent(event), replace(FACTS, certain=variant != "unsure"))
    after = decision.vm
    if target != "stays":
        assert (after.prev_state, after.prev_lcm_state) == vm.position
    moves = target != "stays" or effect != "-" or chosen(POSITIONS[name], VmEvent(event), variant).to is not None
    assert decision.cancels is moves
    assert after.effect_id == (-1 if moves else 77)
