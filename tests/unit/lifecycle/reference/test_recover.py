"""Every row of the matrix of recoveries: each operation of ``onevm recover`` in each state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.events import RECOVERIES as RECOVER_EVENTS
from holdfast.lifecycle.positions import OPERATION_HOME, PARKED, PLACED, Position
from holdfast.model.enums import EffectKind, RecoverOperation
from tests.unit.lifecycle.reference import recover_rows
from tests.unit.lifecycle.reference.deviations import RECOVERIES as DEVIATIONS
from tests.unit.lifecycle.reference.deviations import RECOVERIES_BESIDES
from tests.unit.lifecycle.reference.driver_words import order_of
from tests.unit.lifecycle.reference.expectation import differences
from tests.unit.lifecycle.reference.rows import RECOVERIES, RECOVERY_BY_KEY, Row, name_of, position
from tests.unit.lifecycle.reference.step import take
from tests.unit.lifecycle.reference.subjects import BEFORE, subject, variants_of

REMOVALS = [row for row in RECOVERIES if row["op"] in ("delete", "recreate") and row.at in (*PLACED, *PARKED)]
HELD = [row for row in RECOVERIES if row.key not in DEVIATIONS]


def test_the_matrix_is_complete() -> None:
    """78 positions and six operations, each once."""
    assert len(RECOVERIES) == len(RECOVERY_BY_KEY) == 78 * 6
    for row in RECOVERIES:
        operation = RecoverOperation(int(row["op_code"]))
        assert RECOVER_EVENTS[operation].value == f"recover {row['cli_option']}"
        assert (int(row["state_num"]), int(row["lcm_num"])) == row.at == position(row["state"], row["lcm_state"])


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.key)
def test_the_recovery_does_what_opennebula_does(row: Row) -> None:
    assert differences(recover_rows, row) == []


@pytest.mark.parametrize("key", DEVIATIONS)
def test_where_the_recovery_differs_it_does_what_is_written_down(key: str) -> None:
    for instead in DEVIATIONS[key].cases:
        assert differences(recover_rows, RECOVERY_BY_KEY[key], instead) == []


@pytest.mark.parametrize("key", DEVIATIONS)
def test_a_recovery_that_is_said_to_differ_does(key: str) -> None:
    assert differences(recover_rows, RECOVERY_BY_KEY[key]) != []


@pytest.mark.parametrize("key", RECOVERIES_BESIDES)
def test_where_opennebula_does_not_look_the_recovery_does_what_is_written_down(key: str) -> None:
    for instead in RECOVERIES_BESIDES[key].cases:
        assert differences(recover_rows, RECOVERY_BY_KEY[key], instead) == []


@pytest.mark.parametrize("row", REMOVALS, ids=lambda row: row.key)
def test_a_domain_that_may_be_anywhere_is_destroyed_before_the_files_go(row: Row) -> None:
    """However the VM came to be where it is, and whatever OpenNebula orders in its position; the rest is the same."""
    event = RECOVER_EVENTS[RecoverOperation(int(row["op_code"]))]
    for variant in variants_of(row.at):
        plain = take(subject(row.at, variant), event)
        for places, kind in (((BEFORE,), EffectKind.VMM_CLEANUP), ((), EffectKind.TM_DELETE)):
            step = take(replace(subject(row.at, variant), may_run_on=places), event)
            order = order_of(step)
            assert order is not None
            assert order.kind is kind
            assert not places or order.hids == {BEFORE}
            assert replace(step.after, may_run_on=()) == replace(plain.after, may_run_on=())
            assert step.decision is not None
            assert plain.decision is not None
            assert step.decision.gives == plain.decision.gives


@pytest.mark.parametrize("at", OPERATION_HOME, ids=name_of)
def test_an_operators_word_for_an_operation_is_worth_a_drivers_answer(at: Position) -> None:
    pairs = ((VmEvent.OPERATION_OK, VmEvent.RECOVER_SUCCESS), (VmEvent.OPERATION_FAIL, VmEvent.RECOVER_FAILURE))
    for variant in variants_of(at):
        vm = subject(at, variant)
        for answer, word in pairs:
            assert take(vm, answer).after == take(vm, word).after


def test_the_words_of_the_matrix_are_all_read() -> None:
    """Each row is compared with a step here, so that its words are read although it differs elsewhere."""
    for row in RECOVERIES:
        for step in recover_rows.steps(row):
            recover_rows.differences_of(recover_rows.meaning_of(row), step)
