"""The rules of an interactive repair, without engine or clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.lifecycle import positions as p
from holdfast.lifecycle import repair as rules
from holdfast.lifecycle.repair import STEPS, Presence
from holdfast.model.errors import ActionError
from holdfast.model.repair import OUTPUT_KEPT, RECORDS_KEPT, Holder, Repair, RepairDeed, RepairResult
from holdfast.model.template import EMPTY
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

LINES = ("MV shared a:/ds/0/3/disk.0 b:/ds/0/3/disk.0 3 0", "MV shared a:/ds/0/3 b:/ds/0/3 3 0")
ANNA = Holder(0, "oneadmin", "anna@desk", "s" * 16, 1000.0)
BERT = Holder(2, "bert", "bert@laptop", "t" * 16, 1005.0)
PRESENT = Presence(1004.0, 1005.0, 15.0)
SILENT = Presence(1000.0, 1015.0, 15.0)


def a_vm(position: p.Position = p.PROLOG_MIGRATE_FAILURE) -> Vm:
    history = tuple(History(seq, seq, f"host{seq}", 0, 0, "kvm", "shared") for seq in range(2))
    return Vm(3, 0, 0, "web", *position, template=EMPTY, history=history)


def a_repair(holder: Holder = ANNA) -> Repair:
    return rules.begun(None, a_vm(), LINES, holder, PRESENT, take_over=False)


def ran(repair: Repair, result: RepairResult, output: str = "") -> Repair:
    started = replace(rules.started(repair, repair.position + 1, repair.next_record, 1010.0), effect_id=9)
    return rules.line_ended(started, result, output, 1012.0)


def test_each_failed_transfer_has_the_extension_of_its_file_and_nothing_else_has_one() -> None:
    assert {position[1].name: step for position, step in STEPS.items()} == {
        "PROLOG_FAILURE": "prolog",
        "PROLOG_MIGRATE_FAILURE": "migrate",
        "PROLOG_MIGRATE_POWEROFF_FAILURE": "migrate",
        "PROLOG_MIGRATE_SUSPEND_FAILURE": "migrate",
        "PROLOG_MIGRATE_UNKNOWN_FAILURE": "migrate",
        "PROLOG_RESUME_FAILURE": "resume",
        "PROLOG_UNDEPLOY_FAILURE": "resume",
        "EPILOG_FAILURE": "epilog",
        "EPILOG_STOP_FAILURE": "stop",
        "EPILOG_UNDEPLOY_FAILURE": "stop",
    }
    assert rules.file_of(a_vm(p.EPILOG_STOP_FAILURE)) == "transfer.1.stop"


@pytest.mark.parametrize(
    ("position", "way_out"),
    [
        (p.RUNNING, "onevm show 3"),
        (p.BOOT_FAILURE, "onevm recover --retry 3"),
        (p.POWEROFF, "state POWEROFF"),
        (p.PROLOG_MIGRATE, "only a transfer that has failed"),
    ],
)
def test_a_vm_without_a_failed_transfer_is_refused_in_the_words_of_the_reference(
    position: p.Position, way_out: str
) -> None:
    with pytest.raises(ActionError) as refused:
        rules.file_of(a_vm(position))
    said = f"Current LCM STATE '{position[1].name}' not compatible with RECOVER RETRY action."
    assert refused.value.message.startswith(said)
    assert way_out in refused.value.message


def test_success_leads_to_the_next_line_and_every_other_end_stays() -> None:
    for result in (RepairResult.FAILURE, RepairResult.UNKNOWN, RepairResult.CANCELLED):
        assert ran(a_repair(), result).position == 0
    assert ran(a_repair(), RepairResult.SUCCESS).position == 1
    assert ran(ran(a_repair(), RepairResult.SUCCESS), RepairResult.SUCCESS).is_complete


def test_every_run_and_skip_is_recorded_with_who_when_and_what_came_of_it() -> None:
    repair = rules.skipped(ran(a_repair(), RepairResult.SUCCESS, "LOG I  done"), 2, 1020.0)
    run, skip = repair.records
    assert (run.number, run.deed, run.user, run.seat) == (1, RepairDeed.RUN, "oneadmin", "anna@desk")
    assert (run.at, run.ended_at, run.result, run.output) == (1010.0, 1012.0, RepairResult.SUCCESS, "LOG I  done")
    assert (run.file, run.line, run.text) == ("transfer.1.migrate", 1, LINES[0])
    assert (skip.number, skip.deed, skip.line, skip.text) == (2, RepairDeed.SKIP, 2, LINES[1])


def test_one_line_runs_at_a_time_and_only_the_current_one() -> None:
    running = replace(rules.started(a_repair(), 1, 1, 1010.0), effect_id=9)
    with pytest.raises(ActionError, match="one line at a time"):
        rules.started(running, 1, 2, 1011.0)
    with pytest.raises(ActionError, match="one line at a time"):
        rules.skipped(running, 1, 1011.0)
    with pytest.raises(ActionError, match="The current line of VM 3 is 1, not 2"):
        rules.started(a_repair(), 2, 1, 1010.0)
    with pytest.raises(ActionError, match="there is none left"):
        rules.skipped(rules.skipped(rules.skipped(a_repair(), 1, 1.0), 2, 1.0), 3, 1.0)


def test_a_call_whose_answer_was_lost_does_not_run_the_line_a_second_time() -> None:
    failed = ran(a_repair(), RepairResult.FAILURE)
    with pytest.raises(ActionError, match=r"Line 1 was not run: record 1 .* is taken already"):
        rules.started(failed, 1, 1, 1020.0)


def test_a_second_operator_is_told_who_has_it_since_when_and_the_way_out() -> None:
    with pytest.raises(ActionError) as refused:
        rules.begun(a_repair(), a_vm(), LINES, BERT, PRESENT, take_over=False)
    message = refused.value.message
    assert "being repaired by oneadmin (anna@desk) since 1970-01-01 00:16:40 UTC, last heard 1 s ago" in message
    assert "free 14 s from now" in message
    assert "onevm recover 3 --retry --interactive --take-over" in message


def test_who_has_vanished_is_followed_where_he_stopped() -> None:
    stopped = ran(a_repair(), RepairResult.SUCCESS)
    followed = rules.begun(stopped, a_vm(), LINES, BERT, SILENT, take_over=False)
    assert (followed.holder, followed.position) == (BERT, 1)


def test_the_same_user_at_the_same_seat_goes_on_at_once() -> None:
    back = replace(ANNA, session="u" * 16, since=1005.0)
    resumed = rules.begun(ran(a_repair(), RepairResult.SUCCESS), a_vm(), LINES, back, PRESENT, take_over=False)
    assert (resumed.holder, resumed.position) == (back, 1)
    nameless = replace(ANNA, seat="")
    with pytest.raises(ActionError):
        rules.begun(a_repair(nameless), a_vm(), LINES, replace(back, seat=""), PRESENT, take_over=False)


def test_the_same_session_goes_on_and_keeps_its_time() -> None:
    again = rules.begun(a_repair(), a_vm(), LINES, replace(ANNA, since=1004.0), PRESENT, take_over=False)
    assert again.holder == ANNA


def test_a_take_over_is_recorded_and_the_other_is_told() -> None:
    taken = rules.begun(a_repair(), a_vm(), LINES, BERT, PRESENT, take_over=True)
    assert (taken.holder, taken.position) == (BERT, 0)
    (record,) = taken.records
    assert (record.deed, record.user) == (RepairDeed.TAKE_OVER, "bert")
    assert record.output == "taken over from oneadmin (anna@desk), who had it since 1970-01-01 00:16:40 UTC"
    with pytest.raises(ActionError, match=r"in other hands: bert \(bert@laptop\) has it since"):
        rules.insist_on_holder(taken, 3, ANNA.session)


def test_who_left_on_purpose_begins_at_the_first_line() -> None:
    quit_at_two = rules.left(ran(a_repair(), RepairResult.SUCCESS))
    begun = rules.begun(quit_at_two, a_vm(), LINES, BERT, PRESENT, take_over=False)
    assert (begun.position, len(begun.records)) == (0, 1)


def test_a_file_edited_meanwhile_is_begun_anew_and_not_under_a_line_that_runs() -> None:
    edited = (LINES[1],)
    begun = rules.begun(ran(a_repair(), RepairResult.SUCCESS), a_vm(), edited, BERT, SILENT, take_over=False)
    assert (begun.position, begun.lines) == (0, edited)
    running = replace(rules.started(a_repair(), 1, 1, 1010.0), effect_id=9)
    with pytest.raises(ActionError, match="has changed while line 1 of it runs"):
        rules.begun(running, a_vm(), edited, BERT, SILENT, take_over=False)


def test_who_comes_while_a_line_runs_that_nobody_holds_looks_on() -> None:
    running = rules.left(replace(rules.started(a_repair(), 1, 1, 1010.0), effect_id=9))
    begun = rules.begun(running, a_vm(), LINES, BERT, PRESENT, take_over=False)
    assert (begun.position, begun.effect_id, begun.holder) == (0, 9, BERT)


def test_other_operations_wait_for_who_is_there_and_not_for_who_has_vanished() -> None:
    with pytest.raises(ActionError, match="being repaired by oneadmin"):
        rules.insist_on_free_hands(a_repair(), PRESENT, stops_line=True)
    for free in (None, rules.left(a_repair()), rules.over(a_repair(), "gone", 1.0)):
        rules.insist_on_free_hands(free, PRESENT, stops_line=False)
    rules.insist_on_free_hands(a_repair(), SILENT, stops_line=False)


def test_a_line_that_nobody_holds_any_more_is_only_stopped_by_what_begins_anew() -> None:
    running = rules.left(replace(rules.started(a_repair(), 1, 1, 1010.0), effect_id=9))
    rules.insist_on_free_hands(running, PRESENT, stops_line=True)
    with pytest.raises(ActionError, match=r"Line 1 of transfer\.1\.migrate of VM 3 still runs"):
        rules.insist_on_free_hands(running, PRESENT, stops_line=False)


def test_when_the_vm_goes_on_the_line_is_cancelled_and_the_dialogue_told() -> None:
    running = replace(rules.started(a_repair(), 1, 1, 1010.0), effect_id=9)
    ended = rules.over(running, "VM 3 went on to BOOT (oneadmin)", 1011.0)
    assert (ended.is_held, ended.effect_id) == (False, -1)
    assert ended.records[-1].result is RepairResult.CANCELLED
    with pytest.raises(ActionError, match=r"has ended: VM 3 went on to BOOT \(oneadmin\)"):
        rules.insist_on_holder(ended, 3, ANNA.session)


def test_what_is_kept_is_bounded() -> None:
    repair = a_repair()
    for _ in range(RECORDS_KEPT + 5):
        repair = ran(repair, RepairResult.FAILURE, "x" * 10_000)
    assert [record.number for record in repair.records] == list(range(6, RECORDS_KEPT + 6))
    assert all(len(record.output) == OUTPUT_KEPT + 1 for record in repair.records)


def test_records_of_an_earlier_failure_stay_when_another_is_repaired() -> None:
    earlier = rules.over(ran(a_repair(), RepairResult.SUCCESS), "VM 3 went on to BOOT (oneadmin)", 1011.0)
    begun = rules.begun(
        earlier, a_vm(p.EPILOG_FAILURE), ("DELETE shared a:/ds/0/3 3 0",), BERT, PRESENT, take_over=False
    )
    assert (begun.position, begun.ended, begun.lcm_state) == (0, "", LcmState.EPILOG_FAILURE)
    assert (begun.records[0].file, begun.file) == ("transfer.1.migrate", "transfer.1.epilog")
    assert a_vm().state is VmState.ACTIVE
