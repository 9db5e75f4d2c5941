"""The interactive repair of a failed transfer through the engine and its store."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.engine import commands as c
from holdfast.engine import repair_commands as r
from holdfast.lifecycle.repair import moment
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind as K
from holdfast.model.errors import ActionError, ArgumentError, AuthorizationError, NoSuchObject
from holdfast.model.repair import Repair, RepairDeed, RepairResult
from holdfast.model.user import Actor
from holdfast.model.vm_states import LcmState
from tests.unit.engine.rig import ONEADMIN, Rig

ANNA, BERT = "anna" * 4, "bert" * 4
OTHER = Actor(7, 0, "bert")
LINES = ("MV shared a:/ds/0/0/disk.0 b:/ds/0/0/disk.0 0 0", "MV shared a:/ds/0/0 b:/ds/0/0 0 0")
FILE = "transfer.1.migrate"


@pytest.fixture
def rig() -> Rig:
    """VM 0, powered off, whose move from host 0 to host 1 has failed."""
    rig = Rig(hosts=2)
    rig.running_vm(0)
    rig.call(c.VmAction(0, "poweroff-hard"))
    rig.settle()
    rig.call(c.MigrateVm(0, 1))
    rig.answer(K.TM_MIGRATE, ok=False, message="no space is left")
    assert rig.vm(0).lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE
    return rig


def begin(rig: Rig, session: str = ANNA, actor: Actor = ONEADMIN, seat: str = "", **more: Any) -> Repair:
    rig.call(r.BeginRepair(0, session, seat or f"{session[:4]}@desk", FILE, more.pop("lines", LINES), **more), actor)
    return repair(rig)


def run(rig: Rig, line: int = 1, session: str = ANNA) -> None:
    rig.call(r.RunRepairLine(0, session, line, repair(rig).next_record))


def repair(rig: Rig) -> Repair:
    return rig.engine.state.repairs[0]


def test_the_lines_are_run_one_by_one_and_success_takes_the_vm_on(rig: Rig) -> None:
    begin(rig)
    for number in (1, 2):
        run(rig, number)
        order = rig.order(K.TM_LINE)
        assert (order.subject, order.host_id, order.args["LINE"]) == (0, 1, LINES[number - 1])
        rig.answer(K.TM_LINE, OUTPUT=f"LOG I  {number}")
    assert repair(rig).is_complete
    assert rig.vm(0).lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE
    rig.call(r.LeaveRepair(0, ANNA))
    rig.call(c.RecoverVm(0, 1))
    assert rig.vm(0).state_name == "POWEROFF"
    assert repair(rig).ended == "VM 0 went on to POWEROFF (oneadmin)"
    assert [record.result for record in repair(rig).records] == [RepairResult.SUCCESS, RepairResult.SUCCESS]


def test_a_failed_line_is_run_again_until_it_works(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.answer(K.TM_LINE, ok=False, message="Permission denied", OUTPUT="LOG E  Permission denied")
    assert (repair(rig).position, repair(rig).records[-1].output) == (0, "LOG E  Permission denied")
    run(rig)
    rig.answer(K.TM_LINE)
    assert [record.result for record in repair(rig).records] == [RepairResult.FAILURE, RepairResult.SUCCESS]


def test_a_driver_that_stays_silent_leaves_the_outcome_unknown(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.tick(rig.settings.deadlines_s[K.TM_LINE] + 10)
    (record,) = repair(rig).records
    assert record.result is RepairResult.UNKNOWN
    assert "no answer within 3600 s" in record.output
    assert not rig.orders


def test_the_repair_and_a_running_line_survive_a_restart_of_the_controller(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.restart()
    assert repair(rig).holder.session == ANNA
    assert rig.order(K.TM_LINE).oid == repair(rig).effect_id
    rig.answer(K.TM_LINE, ok=False, message="the controller stopped", certain=False)
    assert repair(rig).records[-1].result is RepairResult.UNKNOWN
    run(rig)


def test_a_second_operator_waits_until_the_first_has_vanished(rig: Rig) -> None:
    begin(rig)
    rig.now += 10
    with pytest.raises(ActionError, match=r"repaired by oneadmin \(anna@desk\) since"):
        begin(rig, BERT, OTHER)
    rig.call(r.HoldRepair(0, ANNA))
    rig.now += 10
    with pytest.raises(ActionError, match="last heard 10 s ago"):
        begin(rig, BERT, OTHER)
    rig.now += 5
    assert begin(rig, BERT, OTHER).holder.user == "bert"
    with pytest.raises(ActionError, match="in other hands"):
        run(rig)


def test_no_sign_of_life_is_stored(rig: Rig) -> None:
    begin(rig)
    batch = rig.engine.handle_batch([], rig.now)
    assert batch.is_empty
    committed: list[object] = []
    rig.store.commit = committed.append  # type: ignore[method-assign, assignment]
    rig.call(r.HoldRepair(0, ANNA))
    assert not committed


def test_a_restart_gives_the_holder_his_time_again(rig: Rig) -> None:
    begin(rig)
    rig.now += 14
    rig.restart()
    rig.now += 14
    with pytest.raises(ActionError, match="last heard 14 s ago"):
        begin(rig, BERT, OTHER)


def test_it_can_be_taken_over_expressly_also_while_a_line_runs(rig: Rig) -> None:
    begin(rig)
    run(rig)
    taken = begin(rig, BERT, OTHER, take_over=True)
    assert [record.deed for record in taken.records] == [RepairDeed.RUN, RepairDeed.TAKE_OVER]
    rig.answer(K.TM_LINE, OUTPUT="LOG I  done")
    assert repair(rig).records[0].result is RepairResult.SUCCESS
    assert repair(rig).position == 1


def test_of_a_repair_that_was_left_the_vm_tells_when_the_last_thing_was_done_and_by_whom(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.answer(K.TM_LINE)
    begun = moment(repair(rig).records[-1].at)
    rig.now += 5
    rig.call(r.LeaveRepair(0, ANNA))
    told = rig.vm(0).user_template.get("REPAIR")
    assert told == f"{FILE}: its repair was left at action 2 of 2; its last entry is by oneadmin (anna@desk), {begun}"


@pytest.mark.parametrize("operation", range(6))
def test_recoveries_wait_while_somebody_repairs(rig: Rig, operation: int) -> None:
    begin(rig)
    with pytest.raises(ActionError, match="being repaired by oneadmin"):
        rig.call(c.RecoverVm(0, operation))


def test_other_operations_wait_too(rig: Rig) -> None:
    begin(rig)
    for command in (c.MigrateVm(0, 0), c.VmAction(0, "terminate-hard"), c.VmAction(0, "resched")):
        with pytest.raises(ActionError, match="being repaired by oneadmin"):
            rig.call(command)
    rig.call(c.RenameVm(0, "another"))


def test_after_it_was_left_a_retry_does_the_whole_transfer_and_stops_the_line(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.call(r.LeaveRepair(0, ANNA))
    with pytest.raises(ActionError, match="still runs"):
        rig.call(c.RecoverVm(0, 1))
    rig.call(c.RecoverVm(0, 2))
    assert [order.kind for order in rig.orders] == [K.TM_MIGRATE]
    assert repair(rig).records[-1].result is RepairResult.CANCELLED
    assert "PROLOG_MIGRATE_POWEROFF" in repair(rig).ended
    rig.answer(K.TM_MIGRATE)
    assert rig.vm(0).state_name == "POWEROFF"


def test_the_end_of_the_vm_is_the_end_of_its_repair(rig: Rig) -> None:
    begin(rig)
    run(rig)
    rig.call(r.LeaveRepair(0, ANNA))
    rig.call(c.RecoverVm(0, 3))
    rig.settle()
    assert rig.vm(0).state_name == "DONE"
    assert not rig.engine.state.repairs
    rig.restart()
    assert not rig.engine.state.repairs


def test_a_failed_answer_for_a_line_that_was_cancelled_changes_nothing(rig: Rig) -> None:
    begin(rig)
    run(rig)
    order = rig.order(K.TM_LINE)
    rig.call(r.LeaveRepair(0, ANNA))
    rig.call(c.RecoverVm(0, 2))
    before = repair(rig)
    rig.reply(order, Answer(True))
    assert repair(rig) is before


def test_files_are_not_touched_while_a_domain_may_still_run() -> None:
    rig = Rig(hosts=2)
    rig.running_vm(0)
    rig.lose(0)
    rig.call(c.VmAction(0, "resched"))
    with pytest.raises(ActionError, match="not compatible with RECOVER RETRY"):
        begin(rig)


def test_what_cannot_be_repaired_is_refused(rig: Rig) -> None:
    with pytest.raises(NoSuchObject):
        rig.call(r.BeginRepair(99, ANNA, "x@y", FILE, LINES))
    with pytest.raises(NoSuchObject):
        rig.call(r.HoldRepair(99, ANNA))
    with pytest.raises(ActionError, match="Nobody repairs VM 0"):
        rig.call(r.HoldRepair(0, ANNA))
    with pytest.raises(ActionError, match="has no line"):
        begin(rig, lines=())
    with pytest.raises(ActionError, match="no transfer file"):
        begin(rig, lines=("x" * 5000,))
    with pytest.raises(ArgumentError, match="16 to 128"):
        begin(rig, session="short")
    with pytest.raises(ArgumentError, match="seat"):
        begin(rig, seat="x" * 200)
    with pytest.raises(AuthorizationError):
        begin(rig, actor=Actor(8, 100, "guest"))
    with pytest.raises(ActionError, match="has moved on"):
        rig.call(r.BeginRepair(0, ANNA, "x@y", "transfer.0.prolog", LINES))
