"""Properties of the transition table as a whole: nothing unreachable, no dead end, a way out for every silence."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.changes import APPLY
from holdfast.lifecycle.deadlines import DEADLINE_S
from holdfast.lifecycle.events import ANSWERS, OPERATIONS, RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION, PARTS, Row
from holdfast.lifecycle.vocabulary import Change, Guard
from holdfast.model.enums import EffectKind, RecoverOperation
from holdfast.model.errors import ActionError
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.lifecycle.subjects import (
    EVERY_POSITION,
    FACTS,
    HERE,
    MOVES,
    OLD,
    OPERATION_EVENTS,
    THERE,
    name_of,
    usual_hosts,
    vm_at,
)

E = VmEvent
K = EffectKind
POSITIONS = tuple(dict.fromkeys(position for position, _ in BY_POSITION))
AWAITED = tuple(dict.fromkeys(row.to or at for row in ALL_ROWS for at in row.sources if row.effect in ANSWERS))
"""Positions in which a VM waits for a driver."""
STARTS = (K.VMM_DEPLOY, K.VMM_RESTORE)
NEVER_STORED = (p.INIT, p.LCM_INIT)
"""Positions that OpenNebula passes through within one step."""
ON_NO_HOST = (*p.WAITING, *p.PARKED, *p.OPERATIONS_PARKED, *NEVER_STORED, p.CLONING, p.CLONING_FAILURE, p.DONE)
CLEANUPS = (p.CLEANUP_DELETE, p.CLEANUP_RESUBMIT)
EACH_POSITION = pytest.mark.parametrize("position", POSITIONS, ids=name_of)
EACH_AWAITED = pytest.mark.parametrize("position", AWAITED, ids=name_of)


def exits(position: Position, *events: VmEvent) -> set[Position]:
    """Where these events lead from here."""
    found = (row for event in events for row in BY_POSITION.get((position, event), ()))
    return {row.to or position for row in found}


def effects_awaited_in(position: Position) -> set[EffectKind]:
    """What a VM in this position may be waiting for."""
    return {
        row.effect
        for row in ALL_ROWS
        for source in row.sources
        if (row.to or source) == position and row.effect in ANSWERS
    }


def test_every_position_has_its_name_and_its_rows() -> None:
    assert set(EVERY_POSITION) == set(POSITIONS)
    assert {p.FAILED_STEP[at] for at in p.FAILURES} | set(p.FAILURES) <= set(POSITIONS)


def test_every_position_is_reached_from_a_new_vm() -> None:
    new = (p.PENDING, p.HOLD, p.CLONING)
    reached, found = set(new), list(new)
    while found:
        position = found.pop()
        for event in VmEvent:
            more = exits(position, event) - reached
            reached |= more
            found.extend(more)
    assert set(POSITIONS) - reached == set(NEVER_STORED)


def test_every_vm_can_end_in_done() -> None:
    ending = {p.DONE}
    while True:
        more = {position for position in POSITIONS if exits(position, *VmEvent) & ending} | ending
        if more == ending:
            break
        ending = more
    assert ending == set(POSITIONS)


@EACH_AWAITED
def test_a_transient_position_has_a_way_out_for_success_for_failure_and_for_silence(position: Position) -> None:
    for kind in effects_awaited_in(position):
        for event in ANSWERS[kind]:
            assert (position, event) in BY_POSITION, (kind, event)
            for certain in (True, False):
                decide(
                    vm_at(position),
                    event,
                    replace(FACTS, certain=certain, order_hids=(usual_hosts(position) or (HERE,))[:1]),
                )
        assert 0 < DEADLINE_S[kind] <= 3600, "a driver's silence is a failure in the end"


@EACH_AWAITED
def test_an_operator_can_say_how_a_transient_position_ended_or_have_it_tried_again(position: Position) -> None:
    for event in (E.RECOVER_SUCCESS, E.RECOVER_FAILURE, E.RECOVER_RETRY):
        assert (position, event) in BY_POSITION


@EACH_AWAITED
def test_an_operators_word_leads_where_the_drivers_would(position: Position) -> None:
    succeeded = {event for kind in effects_awaited_in(position) for event in ANSWERS[kind][:1]}
    failed = {event for kind in effects_awaited_in(position) for event in ANSWERS[kind][1:]}
    if position in CLEANUPS:
        assert exits(position, E.RECOVER_SUCCESS, E.RECOVER_FAILURE) == exits(position, *succeeded) - {position}
        return
    only_by_a_driver = {
        p.SAVE_MIGRATE: {p.BOOT, p.BOOT_MIGRATE, p.POWEROFF, p.SUSPENDED},
        p.SAVE_STOP: {p.SUSPENDED},
        p.SHUTDOWN: {p.SHUTDOWN},
        p.SHUTDOWN_UNDEPLOY: {p.SHUTDOWN_UNDEPLOY},
    }
    """The destination was lost meanwhile, or a domain is left on another host."""
    assert exits(position, E.RECOVER_SUCCESS) == exits(position, *succeeded) - only_by_a_driver.get(position, set())
    assert exits(position, E.RECOVER_FAILURE) <= exits(position, *failed)


@EACH_AWAITED
def test_a_retry_orders_the_step_that_was_running(position: Position) -> None:
    if position in (*CLEANUPS, *p.OPERATION_HOME):
        assert exits(position, E.RECOVER_RETRY) == {position}
        return
    ordered = {row.effect for row in BY_POSITION[position, E.RECOVER_RETRY]}
    assert ordered == effects_awaited_in(position)


def test_a_failure_is_left_by_the_step_that_failed_and_what_follows_it() -> None:
    for position in p.FAILURES:
        step = p.FAILED_STEP[position]
        assert exits(position, E.RECOVER_RETRY) == {step}
        assert exits(position, E.RECOVER_SUCCESS) == exits(step, E.RECOVER_SUCCESS)
        assert exits(position, E.TERMINATE) == exits(position, E.TERMINATE_HARD) == {p.CLEANUP_DELETE}
        assert exits(position, E.RECOVER_RECREATE) == {p.CLEANUP_RESUBMIT}
        assert {row.effect for row in BY_POSITION[position, E.RECOVER_RETRY]} <= effects_awaited_in(step)


@EACH_POSITION
def test_the_death_of_a_host_resolves_every_position_that_needs_the_host(position: Position) -> None:
    assert ((position, E.HOST_DEAD) in BY_POSITION) is (position not in ON_NO_HOST)


@EACH_POSITION
def test_after_the_death_of_a_host_no_vm_is_bound_to_it_nor_is_anything_started_there(position: Position) -> None:
    if (position, E.HOST_DEAD) not in BY_POSITION:
        return
    for dead in (HERE, OLD) if position in p.ON_TWO_HOSTS else (HERE,):
        decision = decide(vm_at(position), E.HOST_DEAD, replace(FACTS, dead_hid=dead, host_lost=dead == HERE))
        assert dead not in decision.vm.may_run_on
        assert set(decision.vm.may_run_on) | {dead} >= set(usual_hosts(position)), "no other host is forgotten"
        effect = decision.effect
        assert effect is None or effect.kind.value.startswith("tm.") or effect.hid != dead


@EACH_POSITION
def test_death_leaves_no_vm_waiting_for_an_order_to_the_hypervisor_that_died(position: Position) -> None:
    """Steps on files may go on elsewhere or fail by their deadline; so may two that no command of this version asks."""
    kinds = {kind for kind in effects_awaited_in(position) if kind.value.startswith("vmm.")}
    if not kinds or position in (p.HOTPLUG_NIC_POWEROFF, p.BACKUP_POWEROFF):
        return
    dead = OLD if position in p.ON_TWO_HOSTS else HERE
    vm = replace(vm_at(position, (dead,) if position in CLEANUPS else None), effect_id=77)
    assert decide(vm, E.HOST_DEAD, replace(FACTS, dead_hid=dead)).cancels


@pytest.mark.parametrize("position", [at for at in POSITIONS if at not in (p.DONE, *AWAITED)], ids=name_of)
def test_a_user_can_always_do_something(position: Position) -> None:
    asked = {*USER_ACTIONS.values(), *RECOVERIES.values(), *MOVES}
    moves = [row for event in asked for row in BY_POSITION.get((position, event), ()) if row.to not in (None, position)]
    assert moves


@EACH_POSITION
def test_whatever_its_operator_recovers_a_vm_can_be_got_rid_of(position: Position) -> None:
    for event in (E.RECOVER_DELETE, E.RECOVER_DELETE_DB):
        assert exits(position, event) <= {p.DONE, p.CLEANUP_DELETE}
        for hosts in ((), (HERE,), (THERE,)):
            decide(vm_at(position, hosts), event, replace(FACTS, certain=False, host_lost=True))


def test_whoever_moves_a_vm_that_does_not_run_insists_that_no_host_may_run_it() -> None:
    moves = [row for row in ALL_ROWS if row.event is E.MIGRATE]
    assert {row.guard for row in moves} == {Guard.MOVABLE}
    for position in (source for row in moves for source in row.sources):
        for elsewhere in (HERE, THERE, OLD):
            with pytest.raises(ActionError, match="without proof"):
                decide(vm_at(position, (elsewhere,)), E.MIGRATE, FACTS)


def test_whoever_moves_a_running_vm_insists_that_only_its_own_host_runs_it() -> None:
    moves = [row for row in ALL_ROWS if row.event in MOVES and row.event not in (E.MIGRATE, E.DEPLOY)]
    assert {row.guard for row in moves} == {Guard.MOVABLE_ALIVE}
    assert {source for row in moves for source in row.sources} == {p.RUNNING}
    for row in moves:
        with pytest.raises(ActionError, match=f"may still run on host host{OLD} "):
            decide(vm_at(p.RUNNING, (HERE, OLD)), row.event, FACTS)


def starting(row: Row) -> bool:
    """Whether the row orders a start that was not under way."""
    return row.effect in STARTS and row.to is not None and row.to not in row.sources


def test_every_order_to_start_binds_the_vm_to_its_host_first() -> None:
    for row in ALL_ROWS:
        moved = row.guard is Guard.SOURCE_DIED
        assert not starting(row) or moved or Change.MAY_RUN_HERE in row.changes, row
        assert row.effect is not K.VMM_MIGRATE or row.to in row.sources or Change.MAY_RUN_HERE in row.changes, row


def test_a_vm_is_bound_to_a_host_only_where_its_start_is_ordered_or_it_is_believed_to_run() -> None:
    for row in ALL_ROWS:
        if Change.MAY_RUN_HERE in row.changes:
            assert row.effect in (*STARTS, K.VMM_MIGRATE) or row.to in (p.RUNNING, p.UNKNOWN), row


def test_only_a_driver_an_agent_or_a_proof_frees_a_vm_from_a_host() -> None:
    answers = {event for pair in ANSWERS.values() for event in pair}
    for row in ALL_ROWS:
        stopped = {Change.STOPPED_HERE, Change.STOPPED_AT_SOURCE, Change.STOPPED_AT_DESTINATION} & set(row.changes)
        by_word = row.event in (E.RECOVER_SUCCESS, E.RECOVER_FAILURE)
        assert not stopped or row.event in answers or row.event is E.SEEN_POWEROFF or by_word, row
        assert (Change.PROVEN_STOPPED in row.changes) is (row.event is E.HOST_DEAD), row


@EACH_POSITION
def test_doubt_frees_a_vm_from_no_host(position: Position) -> None:
    """Neither a driver that is not certain nor an operator's word; only the end of the VM forgets everything."""
    for event in VmEvent:
        for row in BY_POSITION.get((position, event), ()):
            if row.event is E.HOST_DEAD or row.to == p.DONE:
                continue
            vm = vm_at(position, (HERE, OLD))
            after = vm
            for change in row.changes:
                if change in (Change.BEGIN_OPERATION, Change.COPY_RECORD_OPERATION, Change.COPY_RECORD_OPERATION_OFF):
                    continue
                after = APPLY[change](after, replace(FACTS, certain=False, order_hids=(HERE, OLD)))
            assert set(after.may_run_on) >= {HERE, OLD}, (name_of(position), event)


def test_monitoring_and_death_ask_nothing_of_a_hypervisor_but_to_start_or_destroy() -> None:
    observed = [row for row in ALL_ROWS if row.event.value.startswith(("seen", "host"))]
    assert {row.effect for row in observed if row.effect and row.effect.value.startswith("vmm.")} <= {
        *STARTS,
        K.VMM_CLEANUP,
    }


def test_operations_start_where_their_home_is_and_come_back_there() -> None:
    for position, home in p.OPERATION_HOME.items():
        assert exits(position, E.OPERATION_OK) == exits(position, E.OPERATION_FAIL) == {home}
        sources = {at for row in ALL_ROWS for at in row.sources if row.to == position and at != position}
        assert sources == {home}, name_of(position)
    for row in ALL_ROWS:
        if row.event in OPERATION_EVENTS:
            assert Change.BEGIN_OPERATION in row.changes, row
            assert row.effect in OPERATIONS or Change.COMPLETE_OPERATION in row.changes, row


def test_positions_are_told_apart_by_where_their_capacity_is() -> None:
    none = (*p.WAITING, *p.PARKED, *p.OPERATIONS_PARKED, *CLEANUPS, *NEVER_STORED, p.CLONING, p.CLONING_FAILURE, p.DONE)
    assert set(p.PLACED) | set(none) == set(POSITIONS)
    assert not set(p.PLACED) & set(none)


def test_done_is_the_end() -> None:
    assert exits(p.DONE, *VmEvent) == {p.DONE}


def test_the_lcm_state_means_something_only_while_the_vm_is_active() -> None:
    for state, lcm_state in POSITIONS:
        lcm_init = lcm_state is LcmState.LCM_INIT
        assert (state is VmState.ACTIVE) is not lcm_init or (state, lcm_state) == p.LCM_INIT


def test_every_guard_and_every_change_of_the_vocabulary_is_used_and_known() -> None:
    assert {row.guard for row in ALL_ROWS} == set(Guard) == set(CHECKS)
    assert {change for row in ALL_ROWS for change in row.changes} == set(Change) == set(APPLY)


def test_no_row_is_hidden_behind_one_whose_guard_always_holds() -> None:
    for pair, rows in BY_POSITION.items():
        assert all(row.guard is not Guard.ALWAYS for row in rows[:-1]), pair


def test_no_row_is_there_twice() -> None:
    for pair, rows in BY_POSITION.items():
        guards = [row.guard for row in rows]
        assert len(guards) == len(set(guards)), pair
    assert len(ALL_ROWS) == sum(len(part) for part in PARTS.values())


def test_every_event_is_in_the_table_and_every_recovery_has_its_event() -> None:
    assert {event for _, event in BY_POSITION} == set(VmEvent)
    assert set(RECOVERIES) == set(RecoverOperation)


def test_every_kind_of_effect_has_a_deadline_and_every_one_of_a_vm_is_ordered() -> None:
    assert set(DEADLINE_S) == set(EffectKind)
    by_people = {K.TM_LINE}
    of_vms = {kind for kind in EffectKind if kind.value.startswith(("tm.", "vmm."))} - by_people
    assert {row.effect for row in ALL_ROWS if row.effect} == of_vms
    assert of_vms - set(ANSWERS) == {K.VMM_REBOOT, K.VMM_RESET}
