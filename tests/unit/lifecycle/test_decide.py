"""What a decision says when it refuses, what it orders, and what it keeps in the VM."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.decide import AWAITED, is_available
from holdfast.lifecycle.events import USER_ACTIONS
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.table import BY_POSITION
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.user import HOLDFAST
from holdfast.model.vm import NO_OPERATION
from tests.unit.lifecycle.subjects import (
    FACTS,
    HERE,
    NOW,
    OLD,
    OPERATION_EVENTS,
    TARGET,
    THERE,
    asked,
    name_of,
    ordered,
    parked,
    refusal,
    vm_at,
)

E = VmEvent
K = EffectKind
LOST = replace(FACTS, host_lost=True)
WORD = replace(FACTS, certain=False)
"""An operator's word is not certainty about a domain."""


# --- refusals


@pytest.mark.parametrize(
    ("position", "event", "said"),
    [
        (p.PROLOG, E.HOLD, 'Error performing action "hold": This action is not available for state PROLOG'),
        (p.HOLD, E.REBOOT, 'Error performing action "reboot": This action is not available for state HOLD'),
        (p.POWEROFF, E.SUSPEND, 'Error performing action "suspend": This action is not available for state POWEROFF'),
        (p.POWEROFF, E.STOP, 'Error performing action "stop": This action is not available for state POWEROFF'),
        (p.HOLD, E.UNDEPLOY, 'Error performing action "undeploy": This action is not available for state HOLD'),
        (p.SUSPENDED, E.RESCHED, 'Error performing action "resched": This action is not available for state SUSPENDED'),
        (p.BOOT, E.TERMINATE, 'Error performing action "terminate": Could not terminate VM 42, wrong state BOOT.'),
        (p.EPILOG, E.TERMINATE, 'Error performing action "terminate": Could not terminate VM 42, wrong state EPILOG.'),
        (p.RUNNING, E.DEPLOY, "Deploy action is not available for state RUNNING"),
        (p.SUSPENDED, E.DEPLOY, "Deploy action is not available for state SUSPENDED"),
        (p.HOLD, E.MIGRATE, "Migrate action is not available for state HOLD"),
        (p.MIGRATE, E.MIGRATE_LIVE, "Migrate action is not available for state MIGRATE"),
        (p.POWEROFF, E.MIGRATE_SAVE, "Migrate action is not available for state POWEROFF"),
        (p.PROLOG_FAILURE, E.MIGRATE, "Migrate action is not available for state PROLOG_FAILURE"),
        (p.PENDING, E.RECOVER_SUCCESS, "Could not perform a recover operation on VM 42, wrong state PENDING."),
        (p.CLONING, E.RECOVER_FAILURE, "Could not perform a recover operation on VM 42, wrong state CLONING."),
        (p.STOPPED, E.RECOVER_SUCCESS, "Could not perform a recover operation on VM 42, wrong state STOPPED."),
        (p.POWEROFF, E.RECOVER_FAILURE, "Could not perform a recover operation on VM 42, wrong state POWEROFF."),
        (p.HOLD, E.RECOVER_RETRY, "Could not perform a retry on VM 42, wrong state HOLD."),
        (p.SUSPENDED, E.RECOVER_RETRY, "Could not perform a retry on VM 42, wrong state SUSPENDED."),
        (p.CLONING_FAILURE, E.RECOVER_RETRY, "Could not perform a retry on VM 42, wrong state CLONING_FAILURE."),
        (p.DONE, E.RECOVER_RECREATE, "Cannot delete-recreate a VM already in DONE state"),
        (p.DONE, E.BOOT_OK, "boot done is not possible in state DONE."),
        (p.UNKNOWN, E.DISK_ATTACH, "disk-attach is not possible in state UNKNOWN."),
    ],
)  # fmt: skip
def test_a_wrong_state_is_refused_in_opennebulas_words(position: Position, event: VmEvent, said: str) -> None:
    assert refusal(vm_at(position), event) == said


def test_every_pair_without_a_row_is_refused_and_only_those_are_unavailable() -> None:
    for position in {position for position, _ in BY_POSITION}:
        for event in VmEvent:
            available = (position, event) in BY_POSITION
            assert is_available(vm_at(position), event) is available
            if not available:
                assert name_of(position) in refusal(vm_at(position), event)


@pytest.mark.parametrize("position", [p.UNKNOWN, p.BOOT_FAILURE, p.BOOT_MIGRATE_FAILURE, p.BOOT_STOPPED_FAILURE])
def test_a_move_without_proof_is_refused_and_says_how_to_get_proof(position: Position) -> None:
    said = refusal(vm_at(position), E.MIGRATE, replace(FACTS, host_lost=True))
    assert f"VM 42 may still run on host host{HERE} ({HERE})" in said
    assert "onehost failover confirm" in said


@pytest.mark.parametrize("hid", [OLD, THERE])
def test_a_deploy_of_a_vm_of_which_a_domain_may_be_left_is_refused_even_on_that_host(hid: int) -> None:
    """Its disks would be made anew under that domain."""
    said = refusal(vm_at(p.PENDING, (hid,)), E.DEPLOY)
    assert f"may still run on host {'host7 (7)' if hid == OLD else hid}:" in said


def test_a_vm_that_stands_still_on_a_living_host_is_not_moved_and_nobody_is_told_to_fence_it() -> None:
    said = refusal(vm_at(p.UNKNOWN), E.MIGRATE)
    assert "onevm resume 42" in said
    assert "onevm poweroff --hard 42" in said
    assert "failover" not in said


def test_a_vm_whose_only_disks_are_on_a_host_that_is_dead_waits_for_it_or_is_made_anew() -> None:
    said = refusal(vm_at(p.UNKNOWN, ()), E.RESUME, replace(FACTS, host_lost=True, local_files=True))
    assert "When the host is back: onevm resume 42." in said
    assert "onevm recover --recreate 42" in said
    assert "migrate" not in said


@pytest.mark.parametrize(
    ("position", "event"),
    [(p.PENDING, E.DEPLOY), (p.STOPPED, E.DEPLOY), (p.POWEROFF, E.MIGRATE), (p.RUNNING, E.MIGRATE_LIVE)],
)
def test_a_start_needs_a_target(position: Position, event: VmEvent) -> None:
    assert refusal(vm_at(position), event, replace(FACTS, target=None)) == "No target host was given."


@pytest.mark.parametrize(
    ("position", "event"),
    [
        *[
            (position, event)
            for position in (p.RUNNING, p.UNKNOWN)
            for event in (E.POWEROFF, E.POWEROFF_HARD, E.UNDEPLOY, E.UNDEPLOY_HARD, E.TERMINATE, E.TERMINATE_HARD)
        ],
        *[(p.RUNNING, event) for event in (E.SUSPEND, E.STOP, E.MIGRATE_SAVE, E.MIGRATE_LIVE, E.MIGRATE_POWEROFF)],
        *[(p.RUNNING, event) for event in (E.NIC_ATTACH, E.DISK_DETACH, E.SNAPSHOT_CREATE, E.DISK_RESIZE, E.RESIZE)],
        *[(position, E.RESUME) for position in (p.UNKNOWN, p.POWEROFF, p.SUSPENDED)],
        (p.UNKNOWN, E.RECOVER_SUCCESS),
        *[(position, event) for position in p.BOOT_FAILURES for event in (E.RECOVER_RETRY, E.RECOVER_SUCCESS)],
        (p.SHUTDOWN_POWEROFF, E.POWEROFF_HARD),
        (p.SHUTDOWN_UNDEPLOY, E.UNDEPLOY_HARD),
        (p.SHUTDOWN, E.TERMINATE_HARD),
    ],
)
def test_nothing_is_asked_of_a_lost_host_and_the_refusal_names_the_way_out(position: Position, event: VmEvent) -> None:
    vm = vm_at(position)
    said = refusal(vm, event, LOST)
    assert f"Host host{HERE} ({HERE}) is lost" in said
    way_out = "onehost failover confirm ID" if vm.may_run_on else f"onevm migrate {vm.oid} HOST"
    assert way_out in said


@pytest.mark.parametrize("event", [E.STOP, E.UNDEPLOY, E.UNDEPLOY_HARD, E.TERMINATE, E.TERMINATE_HARD])
def test_files_do_not_go_while_a_domain_may_be_on_another_host(event: VmEvent) -> None:
    said = refusal(vm_at(p.RUNNING, (HERE, OLD)), event)
    assert f"VM 42 may run on host host{OLD} ({OLD}) too" in said
    assert "onehost failover confirm ID" in said


@pytest.mark.parametrize("event", [at for at in OPERATION_EVENTS if at not in (E.NIC_ATTACH, E.NIC_DETACH)])
def test_files_of_a_vm_that_is_off_are_not_worked_on_while_a_domain_may_be_left(event: VmEvent) -> None:
    vm = vm_at(p.POWEROFF, (HERE,))
    if is_available(vm, event):
        assert "A domain of VM 42 may still run" in refusal(vm, event, replace(FACTS, operation=asked(event)))


# --- what is kept


def test_a_boot_closes_nothing_and_names_the_domain() -> None:
    vm = replace(vm_at(p.BOOT), deploy_id="")
    booted = decide(vm, E.BOOT_OK, FACTS).vm
    assert booted.deploy_id == "one-42"
    assert decide(vm, E.BOOT_OK, replace(FACTS, deploy_id="uuid")).vm.deploy_id == "uuid"
    assert decide(vm, E.RECOVER_SUCCESS, WORD).vm.deploy_id == "one-42"
    failed = decide(vm, E.BOOT_FAIL, FACTS).vm
    again = decide(decide(failed, E.RECOVER_RETRY, FACTS).vm, E.BOOT_OK, replace(FACTS, now=NOW + 1)).vm
    assert (again.history[-1].retime, again.history[-1].etime) == (0, 0)
    assert len(again.history) == 2


def test_the_soft_way_of_a_shutdown_is_kept_for_its_retry_and_given_up_by_the_hard_one() -> None:
    for soft, hard, fails in (
        (E.TERMINATE, E.TERMINATE_HARD, p.SHUTDOWN),
        (E.UNDEPLOY, E.UNDEPLOY_HARD, p.SHUTDOWN_UNDEPLOY),
        (E.POWEROFF, E.POWEROFF_HARD, p.SHUTDOWN_POWEROFF),
    ):
        vm = decide(vm_at(p.RUNNING, hard=True), soft, FACTS).vm
        assert vm.position == fails
        assert ordered(vm, E.RECOVER_RETRY).kind is K.VMM_SHUTDOWN
        insisted = decide(vm, hard, FACTS)
        assert insisted.effect is not None
        assert insisted.effect.args["HARD"] == "YES"
        assert ordered(insisted.vm, E.RECOVER_RETRY).kind is K.VMM_CANCEL


@pytest.mark.parametrize(
    ("event", "kind"),
    [(E.MIGRATE_SAVE, K.VMM_SAVE), (E.MIGRATE_POWEROFF, K.VMM_SHUTDOWN), (E.MIGRATE_POWEROFF_HARD, K.VMM_CANCEL)],
)
def test_the_first_leg_of_a_move_works_at_the_source_and_is_retried_in_the_same_way(
    event: VmEvent, kind: EffectKind
) -> None:
    moving = decide(vm_at(p.RUNNING), event, FACTS)
    assert moving.effect is not None
    assert (moving.effect.kind, moving.effect.hid) == (kind, HERE)
    assert (moving.effect.args["OTHER_HID"], moving.effect.args["SEQ"]) == (str(THERE), "1")
    again = ordered(moving.vm, E.RECOVER_RETRY)
    assert (again.kind, again.hid, again.args["SEQ"]) == (kind, HERE, "1")
    arrived = decide(decide(moving.vm, E.SAVE_OK, replace(FACTS, order_hids=(HERE,))).vm, E.PROLOG_OK, FACTS)
    assert arrived.vm.position == (p.BOOT_MIGRATE if kind is K.VMM_SAVE else p.BOOT)
    back = decide(
        decide(arrived.vm, E.BOOT_OK, FACTS).vm, E.MIGRATE_LIVE, replace(FACTS, target=replace(TARGET, hid=HERE))
    )
    assert back.vm.position == p.MIGRATE


def test_a_move_that_was_given_up_boots_where_it_began_and_from_a_checkpoint_only_if_there_is_one() -> None:
    vm = vm_at(p.PROLOG_MIGRATE_FAILURE)
    saved = decide(vm, E.RECOVER_FAILURE, WORD)
    assert (saved.vm.position, saved.vm.hid, saved.gives, saved.takes) == (p.BOOT_MIGRATE, OLD, (HERE,), OLD)
    off = replace(vm, history=tuple(replace(record, action=HistoryAction.POFF_MIGRATE) for record in vm.history))
    assert decide(off, E.RECOVER_FAILURE, WORD).vm.position == p.BOOT


def test_the_effects_nobody_waits_for_are_reboots() -> None:
    assert set(EffectKind) - AWAITED == {K.VMM_REBOOT, K.VMM_RESET}
    assert not ordered(replace(vm_at(p.RUNNING), effect_id=-1), E.REBOOT).awaited


def test_the_first_stay_of_a_recreated_vm_is_a_deployment_not_a_move() -> None:
    record = decide(vm_at(p.PENDING), E.DEPLOY, FACTS).vm.history[-1]
    assert (record.seq, record.action) == (2, HistoryAction.NONE)


def test_a_failed_move_that_is_given_up_brings_the_vm_back_to_the_host_it_came_from() -> None:
    moving = decide(vm_at(p.UNKNOWN, ()), E.MIGRATE, FACTS)
    assert moving.vm.hid == THERE
    back = decide(decide(moving.vm, E.PROLOG_FAIL, FACTS).vm, E.RECOVER_FAILURE, WORD)
    assert back.vm.position == p.UNKNOWN
    assert (back.vm.hid, back.gives, back.takes) == (HERE, (THERE,), HERE)
    assert back.vm.resched


@pytest.mark.parametrize("event", [E.UNDEPLOY, E.TERMINATE])
def test_a_vm_that_leaves_unknown_for_good_is_not_moved_later(event: VmEvent) -> None:
    assert not decide(vm_at(p.UNKNOWN, ()), event, FACTS).vm.resched


@pytest.mark.parametrize("event", OPERATION_EVENTS)
def test_an_operation_is_named_in_its_order_with_all_its_values(event: VmEvent) -> None:
    for position in (p.RUNNING, p.POWEROFF, p.SUSPENDED, p.UNDEPLOYED, p.STOPPED):
        vm, operation = vm_at(position), asked(event)
        if not is_available(vm, event):
            continue
        decision = decide(vm, event, replace(FACTS, operation=operation))
        if decision.effect is None:
            assert decision.vm.operation == NO_OPERATION
            continue
        assert decision.vm.operation == operation
        args = decision.effect.args
        assert (args["ACTION"], args["ITEM"], args["DISK_ID"]) == (
            event.value,
            str(operation.item),
            str(operation.disk_id),
        )
        assert operation.values.items() <= args.items()
        assert (args["LOCAL"] == "YES") is (position in p.PARKED)


def test_an_operation_closes_the_record_and_the_next_one_keeps_the_action_it_had() -> None:
    vm = vm_at(p.POWEROFF)
    vm = replace(vm, history=(*vm.history[:-1], replace(vm.history[-1], action=HistoryAction.POWEROFF, uid=8, gid=9)))
    closed, opened = decide(vm, E.DISK_ATTACH, replace(FACTS, operation=asked(E.DISK_ATTACH))).vm.history[-2:]
    assert (closed.action, closed.uid, closed.etime) == (HistoryAction.DISK_ATTACH, 3, NOW)
    assert (opened.action, opened.uid, opened.etime, opened.retime) == (HistoryAction.POWEROFF, 8, 0, NOW)


def test_what_monitoring_found_is_nobodys_action() -> None:
    record = decide(vm_at(p.RUNNING), E.SEEN_POWEROFF, replace(FACTS, actor=HOLDFAST)).vm.history[-1]
    assert (record.action, record.uid, record.gid) == (HistoryAction.MONITOR, -1, -1)


def test_steps_on_a_terminated_vms_files_are_taken_where_they_are() -> None:
    for position in (p.STOPPED, p.UNDEPLOYED):
        vm = decide(vm_at(position), E.TERMINATE, FACTS).vm
        failed = decide(vm, E.EPILOG_FAIL, FACTS).vm
        assert ordered(failed, E.RECOVER_RETRY).args["LOCAL"] == "YES"
    host = decide(vm_at(p.POWEROFF), E.TERMINATE, FACTS).vm
    assert ordered(host, E.RECOVER_RETRY).args["LOCAL"] == "NO"


def test_the_action_of_the_parked_record_says_how_the_vm_comes_back() -> None:
    for action, position in (
        (HistoryAction.STOP, p.PROLOG_RESUME),
        (HistoryAction.UNDEPLOY, p.PROLOG_UNDEPLOY),
        (HistoryAction.UNDEPLOY_HARD, p.PROLOG_UNDEPLOY),
        (HistoryAction.DELETE_RECREATE, p.PROLOG),
    ):
        vm = replace(vm_at(p.PENDING), history=(parked(action),))
        assert decide(vm, E.DEPLOY, FACTS).vm.position == position


def test_the_action_strings_of_the_api_are_those_of_opennebula() -> None:
    assert set(USER_ACTIONS) == {
        "hold", "release", "poweroff", "poweroff-hard", "suspend", "stop", "undeploy", "undeploy-hard", "resume",
        "reboot", "reboot-hard", "terminate", "terminate-hard", "resched", "unresched",
    }  # fmt: skip
