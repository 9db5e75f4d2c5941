"""Every row of the transition table against ``transitions.txt``, where each is written down a second time."""

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION
from holdfast.lifecycle.whereabouts import holders
from tests.unit.lifecycle.subjects import SITUATIONS, name_of, told
from tests.unit.lifecycle.write_transitions import chosen, is_removal, whole

PAGE = Path(__file__).with_name("transitions.txt")
LINES = [
    tuple(part.strip() for part in line.split("|"))
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
POSITIONS = {name_of(position): position for position, _ in BY_POSITION}


@pytest.mark.parametrize("line", LINES, ids=[" ".join(line[:3]) for line in LINES])
def test_the_transition_does_what_is_written_down(line: tuple[str, ...]) -> None:
    name, event, word, *expected = line
    situation = SITUATIONS[word]
    vm = situation.vm(POSITIONS[name])
    decision = decide(vm, VmEvent(event), situation.facts_for(vm.position, VmEvent(event)))
    assert told(vm, decision) == " | ".join(expected)


def test_the_state_before_is_remembered_and_an_open_effect_gives_way_to_a_step() -> None:
    for name, event, word, target, effect, *_ in LINES:
        situation = SITUATIONS[word]
        vm = replace(situation.vm(POSITIONS[name]), effect_id=77)
        decision = decide(vm, VmEvent(event), situation.facts_for(vm.position, VmEvent(event)))
        after, row = decision.vm, chosen(vm.position, VmEvent(event), situation)
        if target != "stays":
            assert (after.prev_state, after.prev_lcm_state) == vm.position, (name, event)
        moves = target != "stays" or effect != "-" or (row is not None and row.to is not None)
        assert decision.cancels is moves, (name, event)
        assert after.effect_id == (-1 if moves else 77), (name, event)


def test_the_capacity_that_changes_hands_is_that_of_the_hosts_before_and_after() -> None:
    for name, event, word, *_ in LINES:
        situation = SITUATIONS[word]
        vm = situation.vm(POSITIONS[name])
        decision = decide(vm, VmEvent(event), situation.facts_for(vm.position, VmEvent(event)))
        taken = set() if decision.takes is None else {decision.takes}
        assert set(holders(decision.vm)) == (set(holders(vm)) - set(decision.gives)) | taken, (name, event, word)


def test_every_row_of_the_table_is_written_down() -> None:
    written = {(POSITIONS[name], VmEvent(event), word) for name, event, word, *_ in LINES}
    assert {pair for pair in BY_POSITION if not is_removal(*pair)} == {case[:2] for case in written}
    rows = {chosen(position, event, SITUATIONS[word]) for position, event, word in written}
    removal = {row for pair, found in BY_POSITION.items() if is_removal(*pair) for row in found}
    assert set(ALL_ROWS) - rows - removal == set()


def test_the_file_is_in_the_order_in_which_it_is_written() -> None:
    assert PAGE.read_text(encoding="utf-8").splitlines() == list(whole())
