"""Properties of the transition table as a whole: nothing unreachable, no dead end, no second start."""

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle.deadlines import DEADLINE_S
from holdfast.lifecycle.events import ANSWERS, RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.table import (
    ALL_ROWS,
    BY_POSITION,
    CLEANUP_DELETE,
    CLEANUP_RESUBMIT,
    DONE,
    EPILOG,
    EPILOG_FAILURE,
    FAILURES,
    PENDING,
    PLACED,
    WAITING,
    Position,
)
from holdfast.lifecycle.vocabulary import Change, Guard
from holdfast.model.enums import EffectKind, RecoverOperation
from holdfast.model.errors import ActionError
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.lifecycle.subjects import FACTS, HERE, OLD, THERE, name_of, vm_at

E = VmEvent
POSITIONS = tuple(dict.fromkeys(position for position, _ in BY_POSITION))
AWAITED = {row.to or source: row.effect for row in ALL_ROWS for source in row.sources if row.effect in ANSWERS}
"""Transient positions, each with one of the effects whose answer it waits for."""
MONITORED = (E.SEEN_RUNNING, E.SEEN_POWEROFF, E.SEEN_FAILURE)


def exits(position: Position, *events: VmEvent) -> set[Position]:
    """Where these events lead from here."""
    found = (row for event in events for row in BY_POSITION.get((position, event), ()))
    return {row.to or position for row in found}


def test_every_position_is_reached_from_pending() -> None:
    reached, found = {PENDING}, [PENDING]
    while found:
        position = found.pop()
        for event in VmEvent:
            new = exits(position, event) - reached
            reached |= new
            found.extend(new)
    assert reached == set(POSITIONS)


def test_every_vm_can_end_in_done() -> None:
    ending = {DONE}
    while True:
        more = {position for position in POSITIONS if exits(position, *VmEvent) & ending} | ending
        if more == ending:
            break
        ending = more
    assert ending == set(POSITIONS)


@pytest.mark.parametrize("position", AWAITED, ids=name_of)
def test_a_transient_position_has_a_way_out_for_success_for_failure_and_for_silence(position: Position) -> None:
    kinds = {row.effect for row in ALL_ROWS for source in row.sources if (row.to or source) == position and row.effect}
    for kind in kinds - {EffectKind.VMM_REBOOT, EffectKind.VMM_RESET}:
        succeeded, failed = ANSWERS[kind]
        assert (position, succeeded) in BY_POSITION, kind
        assert (position, failed) in BY_POSITION, kind
        assert 0 < DEADLINE_S[kind] <= 3600, "a driver's silence is a failure in the end"


@pytest.mark.parametrize("position", AWAITED, ids=name_of)
def test_an_operator_can_say_how_a_transient_position_ended(position: Position) -> None:
    assert (position, E.RECOVER_SUCCESS) in BY_POSITION
    assert (position, E.RECOVER_FAILURE) in BY_POSITION


@pytest.mark.parametrize("position", POSITIONS, ids=name_of)
def test_the_death_of_a_host_resolves_every_position_that_needs_the_host(position: Position) -> None:
    """Waiting and finished VMs are on no host; an epilog works on the datastore."""
    needs_no_host = (*WAITING, DONE, EPILOG, EPILOG_FAILURE)
    assert ((position, E.HOST_DEAD) in BY_POSITION) is (position not in needs_no_host)


@pytest.mark.parametrize("position", POSITIONS, ids=name_of)
def test_after_the_death_of_its_host_no_vm_is_bound_to_it(position: Position) -> None:
    if (position, E.HOST_DEAD) not in BY_POSITION:
        return
    for may_run_on in ((HERE,), ()):
        decision = decide(vm_at(position, may_run_on), E.HOST_DEAD, FACTS)
        assert decision.vm.may_run_on == ()
        assert decision.effect is None or decision.effect.kind.value.startswith("tm."), "no order to a dead host"


@pytest.mark.parametrize(
    "position", [position for position in POSITIONS if position not in (DONE, *AWAITED)], ids=name_of
)
def test_a_user_can_always_do_something(position: Position) -> None:
    asked = {*USER_ACTIONS.values(), *RECOVERIES.values(), E.DEPLOY, E.MIGRATE}
    moves = [row for event in asked for row in BY_POSITION.get((position, event), ()) if row.to not in (None, position)]
    assert moves


@pytest.mark.parametrize("position", POSITIONS, ids=name_of)
def test_no_order_to_start_can_be_had_while_another_host_may_run_the_vm(position: Position) -> None:
    """Where a start is guarded the guard refuses; where it is not, such a VM cannot have come."""
    for (source, event), rows in BY_POSITION.items():
        if source != position or not any(row.effect is EffectKind.VMM_DEPLOY for row in rows):
            continue
        if all(row.guard is Guard.STARTABLE_HERE for row in rows):
            with pytest.raises(ActionError, match=f"may still run on host {OLD}"):
                decide(vm_at(position, (OLD,)), event, FACTS)
        else:
            assert is_entered_with_no_other_host(position), (name_of(position), event)


def is_entered_with_no_other_host(position: Position) -> bool:
    """Every way into the position is guarded, or comes from a position of which this is true; a stay adds nothing."""
    safe = (Guard.STARTABLE, Guard.STARTABLE_HERE, Guard.MOVABLE)
    trusted = {position}
    found = [position]
    while found:
        here = found.pop()
        for row in ALL_ROWS:
            for source in row.sources:
                if (row.to or source) != here or source in trusted or row.guard in safe:
                    continue
                if source == PENDING or source in WAITING:
                    return False
                trusted.add(source)
                found.append(source)
    return True


def test_a_vm_is_bound_to_a_host_only_where_its_start_is_ordered_or_it_was_seen() -> None:
    for row in ALL_ROWS:
        if Change.MAY_RUN_HERE in row.changes:
            said = row.event in (E.RECOVER_SUCCESS, E.SEEN_RUNNING)
            assert row.effect is EffectKind.VMM_DEPLOY or said, row


def test_every_order_to_start_binds_the_vm_to_its_host_first() -> None:
    for (position, event), rows in BY_POSITION.items():
        for row in rows:
            if row.effect is EffectKind.VMM_DEPLOY and row.to != position:
                assert Change.MAY_RUN_HERE in row.changes, (name_of(position), event)


def test_whoever_moves_a_vm_to_another_host_insists_that_no_host_may_run_it() -> None:
    moves = [row for row in ALL_ROWS if row.event is E.MIGRATE]
    assert {row.guard for row in moves} == {Guard.MOVABLE}
    for position in (source for row in moves for source in row.sources):
        for elsewhere in (HERE, THERE, OLD):
            with pytest.raises(ActionError, match="without proof"):
                decide(vm_at(position, (elsewhere,)), E.MIGRATE, FACTS)


@pytest.mark.parametrize("position", POSITIONS, ids=name_of)
def test_capacity_is_held_in_placed_positions_and_nowhere_else(position: Position) -> None:
    """Entering takes it, leaving gives it back, a step within moves it in pairs."""
    for event in VmEvent:
        for row in BY_POSITION.get((position, event), ()):
            before, after = position in PLACED, (row.to or position) in PLACED
            gives, takes = Change.GIVE_CAPACITY in row.changes, Change.TAKE_CAPACITY in row.changes
            assert after - before == takes - gives, (name_of(position), event)


def test_done_is_the_end() -> None:
    assert exits(DONE, *VmEvent) == {DONE}


def test_the_lcm_state_means_something_only_while_the_vm_is_active() -> None:
    for state, lcm_state in POSITIONS:
        assert (state is VmState.ACTIVE) is (lcm_state is not LcmState.LCM_INIT)


def test_a_failure_is_where_a_failed_step_leads_and_is_left_by_retry() -> None:
    for position in FAILURES:
        assert (position, E.RECOVER_RETRY) in BY_POSITION
        assert exits(position, E.TERMINATE) == {CLEANUP_DELETE}
        assert exits(position, E.RECOVER_RECREATE) == {CLEANUP_RESUBMIT}


def test_every_guard_and_every_change_of_the_vocabulary_is_used_and_known() -> None:
    assert {row.guard for row in ALL_ROWS} == set(Guard) == set(CHECKS)
    used = {change for row in ALL_ROWS for change in row.changes}
    assert used == set(Change)


def test_no_row_is_hidden_behind_one_whose_guard_always_holds() -> None:
    for pair, rows in BY_POSITION.items():
        assert all(row.guard is not Guard.ALWAYS for row in rows[:-1]), pair


def test_every_event_is_in_the_table_and_every_recovery_has_its_event() -> None:
    assert {event for _, event in BY_POSITION} == set(VmEvent)
    assert set(RECOVERIES) == set(RecoverOperation)


def test_monitoring_moves_only_vms_that_wait_for_nothing() -> None:
    seen = {position for position, event in BY_POSITION if event in MONITORED}
    assert seen.isdisjoint(AWAITED)


def test_every_kind_of_effect_has_a_deadline() -> None:
    assert set(DEADLINE_S) == set(EffectKind)
