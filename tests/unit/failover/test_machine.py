"""The failover's table, cell by cell, and the machine that walks through it."""

import pytest

from holdfast.failover import machine
from holdfast.failover.table import TABLE, Do, Event, Move, retry
from holdfast.model.enums import FailoverState as S
from holdfast.model.enums import RowState
from holdfast.model.errors import ActionError
from holdfast.model.failover import Evidence
from tests.unit.failover.subjects import a_failover, a_row

NOW = 2000.0
CELLS = """
WATCHING   POWER_IS_OFF     PLACING    ACCEPT_PROOF
WATCHING   POWER_IS_NOT_OFF WATCHING   NOTE
WATCHING   WAIT_OVER        PROVING    READ_POWER
WATCHING   HOST_BACK        ABORTED    END
WATCHING   HOST_REBOOTED    PLACING    ACCEPT_PROOF
WATCHING   CONFIRMED        PLACING    ACCEPT_PROOF
WATCHING   BLINDED          BLOCKED    BLOCK
WATCHING   NOTHING_TO_DO    DONE       END
WATCHING   ABORT            ABORTED    END
PROVING    POWER_IS_OFF     PLACING    ACCEPT_PROOF
PROVING    POWER_IS_NOT_OFF FENCING    FENCE
PROVING    FENCE_FAILED     BLOCKED    BLOCK
PROVING    HOST_BACK        ABORTED    END
PROVING    HOST_REBOOTED    PLACING    ACCEPT_PROOF
PROVING    CONFIRMED        PLACING    ACCEPT_PROOF
PROVING    BLINDED          BLOCKED    BLOCK
PROVING    ABORT            ABORTED    END
FENCING    FENCED           PLACING    ACCEPT_PROOF
FENCING    FENCE_FAILED     BLOCKED    BLOCK
FENCING    CONFIRMED        PLACING    ACCEPT_PROOF
FENCING    HOST_REBOOTED    PLACING    ACCEPT_PROOF
RESTARTING ALL_ENDED        DONE       END
RESTARTING SOME_FAILED      BLOCKED    BLOCK
RESTARTING ABORT            ABORTED    END
BLOCKED    HOST_BACK        ABORTED    END
BLOCKED    HOST_REBOOTED    PLACING    ACCEPT_PROOF
BLOCKED    CONFIRMED        PLACING    ACCEPT_PROOF
BLOCKED    ALL_ENDED        DONE       END
BLOCKED    ABORT            ABORTED    END
"""
EXPECTED = {
    (S[state], Event[event]): Move(S[to], Do[do]) for state, event, to, do in map(str.split, CELLS.strip().splitlines())
}
PROOFS = {Event.POWER_IS_OFF, Event.FENCED, Event.HOST_REBOOTED, Event.CONFIRMED}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", Event)
def test_each_cell_moves_as_written_down_and_every_other_pair_changes_nothing(state: S, event: Event) -> None:
    failover = a_failover(state)
    advanced = machine.advance(failover, event, "because", NOW)
    move = EXPECTED.get((state, event))
    if move is None:
        assert advanced is None
    else:
        assert advanced is not None
        assert (advanced[0].state, advanced[1]) == (move.to, move.do)


def test_nothing_but_a_proof_leads_to_the_restart_of_vms() -> None:
    assert {event for (_, event), move in TABLE.items() if move.to is S.PLACING} == PROOFS
    assert {move.do for move in TABLE.values() if move.to is S.PLACING} == {Do.ACCEPT_PROOF}
    assert all(move.do is not Do.ACCEPT_PROOF or move.to is S.PLACING for move in TABLE.values())
    assert all(move.to is not S.RESTARTING for move in TABLE.values()), "entered through an accepted proof only"


def test_a_failover_ends_in_done_or_aborted_and_then_stays() -> None:
    for (state, _), move in TABLE.items():
        assert not state.is_final
        assert move.to.is_final is (move.do is Do.END)


def test_every_state_is_reached_and_every_open_one_is_left() -> None:
    reached = {S.WATCHING, *(move.to for move in TABLE.values()), retry(True).to}
    assert reached == set(S)
    waits = {state for state in S if not state.is_final and state is not S.PLACING}
    assert {state for (state, _), move in TABLE.items() if move.to is not state} == waits


@pytest.mark.parametrize("state", [S.WATCHING, S.PROVING, S.BLOCKED])
def test_before_the_power_is_cut_the_return_of_the_host_ends_it(state: S) -> None:
    assert TABLE[state, Event.HOST_BACK].to is S.ABORTED
    assert (S.FENCING, Event.HOST_BACK) not in TABLE
    assert (S.FENCING, Event.ABORT) not in TABLE


def test_a_block_keeps_the_reason_and_where_it_stopped_and_going_on_forgets_the_reason() -> None:
    blocked, do = machine.advance(a_failover(S.FENCING), Event.FENCE_FAILED, "the BMC is dead", NOW) or (None, None)
    assert blocked is not None
    assert (do, blocked.reason, blocked.resume) == (Do.BLOCK, "the BMC is dead", S.FENCING)
    again, do = machine.command(blocked, Event.RETRY, "try again", NOW)
    assert (again.state, again.reason, do) == (S.PROVING, "", Do.READ_POWER)


def test_a_retry_after_the_proof_goes_on_with_the_restarts() -> None:
    again, do = machine.command(a_failover(S.BLOCKED, proof_id=4), Event.RETRY, "try again", NOW)
    assert (again.state, do) == (S.RESTARTING, Do.RESTART_FAILED)


@pytest.mark.parametrize("state", [state for state in S if state is not S.BLOCKED])
def test_only_a_blocked_failover_is_retried(state: S) -> None:
    with pytest.raises(ActionError, match=f"Failover 5 is {state.name}: retry is not possible there"):
        machine.command(a_failover(state), Event.RETRY, "", NOW)


@pytest.mark.parametrize("state", [S.FENCING, S.PLACING, S.DONE, S.ABORTED])
def test_an_abort_is_refused_where_it_would_leave_things_half_done_or_comes_too_late(state: S) -> None:
    with pytest.raises(ActionError, match="abort is not possible"):
        machine.command(a_failover(state), Event.ABORT, "", NOW)


def test_a_confirmation_after_the_proof_is_refused() -> None:
    with pytest.raises(ActionError):
        machine.command(a_failover(S.BLOCKED, proof_id=4), Event.CONFIRMED, "", NOW)


def test_an_end_has_a_time_and_an_abort_its_reason() -> None:
    aborted, _ = machine.command(a_failover(), Event.ABORT, "aborted by ann", NOW)
    assert (aborted.etime, aborted.reason) == (NOW, "aborted by ann")
    done = machine.advance(a_failover(S.RESTARTING), Event.ALL_ENDED, "2 of 2 VMs run again", NOW)
    assert done is not None
    assert (done[0].etime, done[0].reason) == (NOW, "")


def test_each_step_is_a_line_of_the_timeline_in_its_new_state() -> None:
    advanced = machine.advance(a_failover(), Event.WAIT_OVER, "waited 2 periods", NOW)
    assert advanced is not None
    step = advanced[0].steps[-1]
    assert (step.at, step.state, step.text) == (NOW, S.PROVING, "waited 2 periods")


def test_timeline_and_evidence_are_bounded() -> None:
    failover = a_failover()
    for number in range(machine.STEPS_LIMIT + 50):
        failover = machine.noted(failover, f"line {number}", NOW)
        failover = machine.witnessed(failover, Evidence(f"source {number}", NOW, "", ""))
    assert len(failover.steps) == machine.STEPS_LIMIT
    assert len(failover.evidence) == machine.EVIDENCE_LIMIT
    assert failover.evidence[-1].source == f"source {machine.STEPS_LIMIT + 49}"


def test_of_each_source_the_newest_evidence_is_kept() -> None:
    failover = machine.witnessed(a_failover(), Evidence("fence device", 1, "on", ""))
    failover = machine.witnessed(failover, Evidence("agent", 2, "silent", ""))
    failover = machine.witnessed(failover, Evidence("fence device", 3, "off", ""))
    assert [(item.source, item.verdict) for item in failover.evidence] == [("agent", "silent"), ("fence device", "off")]


@pytest.mark.parametrize("state", [RowState.WAITING, RowState.PLACED, RowState.STARTING])
def test_it_is_not_over_while_a_vm_is_on_its_way(state: RowState) -> None:
    assert machine.ending(a_failover(S.RESTARTING, (a_row(1, RowState.FAILED), a_row(2, state)))) is None


def test_it_ends_when_every_vm_has_its_end_and_says_how_many_run() -> None:
    rows = (a_row(1, RowState.RUNNING), a_row(2, RowState.SKIPPED), a_row(3, RowState.RUNNING))
    assert machine.ending(a_failover(S.RESTARTING, rows)) == (Event.ALL_ENDED, "2 of 3 VMs run again, 1 skipped")
    assert machine.ending(a_failover(S.RESTARTING)) == (Event.ALL_ENDED, "0 of 0 VMs run again, 0 skipped")


def test_failed_vms_are_named_with_their_reasons_and_the_command_that_goes_on() -> None:
    rows = tuple(a_row(number, RowState.FAILED, f"reason {number}") for number in range(7))
    event, said = machine.ending(a_failover(S.RESTARTING, rows)) or (None, "")
    assert event is Event.SOME_FAILED
    assert "7 of 7" in said
    assert "VM 0 vm0: reason 0" in said
    assert "(and 2 more)" in said
    assert said.endswith("onehost failover retry 5")


def test_rows_are_found_and_replaced_by_their_vm() -> None:
    failover = a_failover(rows=(a_row(1), a_row(2)))
    changed = machine.with_row(failover, a_row(2, RowState.RUNNING))
    assert [row.state for row in changed.rows] == [RowState.WAITING, RowState.RUNNING]
    assert machine.row_of(changed, 2) == a_row(2, RowState.RUNNING)
    assert machine.row_of(changed, 9) is None


def test_a_start_is_tried_a_few_times() -> None:
    assert machine.can_try_again(a_row(attempts=machine.MAX_ATTEMPTS - 1))
    assert not machine.can_try_again(a_row(attempts=machine.MAX_ATTEMPTS))
