"""What a decision says when it refuses, and what it keeps in the VM."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import Facts, VmEvent, decide
from holdfast.lifecycle.decide import AWAITED, is_available
from holdfast.lifecycle.events import USER_ACTIONS
from holdfast.lifecycle.table import (
    BOOT,
    BOOT_FAILURE,
    BOOT_POWEROFF,
    BY_POSITION,
    CLEANUP_RESUBMIT,
    DONE,
    EPILOG,
    HOLD,
    PENDING,
    POWEROFF,
    PROLOG,
    RUNNING,
    SHUTDOWN,
    SHUTDOWN_POWEROFF,
    UNKNOWN,
    Position,
)
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.errors import ActionError
from holdfast.model.vm import Vm
from tests.unit.lifecycle.subjects import FACTS, HERE, NOW, OLD, THERE, name_of, vm_at

E = VmEvent
LOST = replace(FACTS, host_lost=True)


def refusal(vm: Vm, event: VmEvent, facts: Facts = FACTS) -> str:
    """The sentence that refuses."""
    with pytest.raises(ActionError) as caught:
        decide(vm, event, facts)
    assert caught.value.code == 2048
    return caught.value.message


@pytest.mark.parametrize(
    ("position", "event", "said"),
    [
        (PROLOG, E.HOLD, 'Error performing action "hold": This action is not available for state PROLOG'),
        (HOLD, E.REBOOT, 'Error performing action "reboot": This action is not available for state HOLD'),
        (BOOT, E.TERMINATE, 'Error performing action "terminate": Could not terminate VM 42, wrong state BOOT.'),
        (EPILOG, E.TERMINATE, 'Error performing action "terminate": Could not terminate VM 42, wrong state EPILOG.'),
        (RUNNING, E.DEPLOY, "Deploy action is not available for state RUNNING"),
        (HOLD, E.MIGRATE, "Migrate action is not available for state HOLD"),
        (PENDING, E.RECOVER_SUCCESS, "Could not perform a recover operation on VM 42, wrong state PENDING."),
        (POWEROFF, E.RECOVER_FAILURE, "Could not perform a recover operation on VM 42, wrong state POWEROFF."),
        (HOLD, E.RECOVER_RETRY, "Could not perform a retry on VM 42, wrong state HOLD."),
        (DONE, E.RECOVER_RECREATE, "Cannot delete-recreate a VM already in DONE state"),
        (DONE, E.BOOT_OK, "boot done is not possible in state DONE."),
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


@pytest.mark.parametrize("position", [UNKNOWN, BOOT_FAILURE])
def test_a_move_without_proof_is_refused_and_says_how_to_get_proof(position: Position) -> None:
    said = refusal(vm_at(position), E.MIGRATE)
    assert f"VM 42 may still run on host {HERE}" in said
    assert "onehost failover confirm" in said


def test_a_deploy_of_a_vm_that_may_run_elsewhere_is_refused_but_not_on_that_host() -> None:
    assert f"may still run on host {OLD}" in refusal(vm_at(PENDING, (OLD,)), E.DEPLOY)
    assert decide(vm_at(PENDING, (THERE,)), E.DEPLOY, FACTS).vm.hid == THERE


@pytest.mark.parametrize("event", [E.DEPLOY, E.MIGRATE])
def test_a_start_needs_a_target(event: VmEvent) -> None:
    position = PENDING if event is E.DEPLOY else POWEROFF
    assert refusal(vm_at(position), event, replace(FACTS, target=None)) == "No target host was given."


@pytest.mark.parametrize(
    ("position", "event"),
    [
        *[(position, event) for position in (RUNNING, UNKNOWN) for event in (E.POWEROFF, E.POWEROFF_HARD, E.TERMINATE)],
        (RUNNING, E.TERMINATE_HARD),
        (UNKNOWN, E.RESUME),
        (UNKNOWN, E.RECOVER_SUCCESS),
        (POWEROFF, E.RESUME),
        (BOOT_FAILURE, E.RECOVER_RETRY),
        (SHUTDOWN_POWEROFF, E.POWEROFF_HARD),
        (SHUTDOWN, E.TERMINATE_HARD),
    ],
)
def test_nothing_is_asked_of_a_lost_host_and_the_refusal_names_the_way_out(position: Position, event: VmEvent) -> None:
    said = refusal(vm_at(position), event, LOST)
    assert f"Host {HERE} is lost and not proven dead" in said
    assert "onehost failover confirm ID" in said


@pytest.mark.parametrize("event", [E.POWEROFF, E.POWEROFF_HARD, E.TERMINATE, E.TERMINATE_HARD])
def test_once_the_host_is_proven_dead_stopping_its_vm_needs_no_driver_on_it(event: VmEvent) -> None:
    dead = decide(vm_at(UNKNOWN), E.HOST_DEAD, LOST).vm
    stopped = decide(dead, event, LOST)
    assert stopped.vm.position in (POWEROFF, EPILOG)
    assert stopped.effect is None or stopped.effect.kind is EffectKind.TM_EPILOG


@pytest.mark.parametrize("position", [RUNNING, UNKNOWN, BOOT, BOOT_POWEROFF])
def test_a_vm_that_its_user_wanted_to_run_is_unknown_after_the_death_of_its_host(position: Position) -> None:
    assert decide(vm_at(position), E.HOST_DEAD, FACTS).vm.position == UNKNOWN


@pytest.mark.parametrize(("position", "ends"), [(SHUTDOWN, EPILOG), (SHUTDOWN_POWEROFF, POWEROFF)])
def test_a_shutdown_under_way_is_completed_by_the_death_of_its_host(position: Position, ends: Position) -> None:
    assert decide(vm_at(position), E.HOST_DEAD, FACTS).vm.position == ends


def test_only_a_certain_driver_frees_the_vm_from_its_host() -> None:
    unsure = replace(FACTS, certain=False)
    for position, event in (
        (BOOT, E.BOOT_FAIL),
        (SHUTDOWN_POWEROFF, E.SHUTDOWN_OK),
        (CLEANUP_RESUBMIT, E.CLEANUP_ENDED),
    ):
        assert decide(vm_at(position, (HERE,)), event, unsure).vm.may_run_on == (HERE,)
        assert decide(vm_at(position, (HERE,)), event, FACTS).vm.may_run_on == ()


def test_a_proof_for_one_host_says_nothing_about_another() -> None:
    vm = vm_at(UNKNOWN, (HERE, OLD))
    assert decide(vm, E.HOST_DEAD, FACTS).vm.may_run_on == (OLD,)


def test_a_boot_closes_nothing_and_names_the_domain() -> None:
    vm = replace(vm_at(BOOT), deploy_id="")
    booted = decide(vm, E.BOOT_OK, FACTS).vm
    assert booted.deploy_id == "one-42"
    assert decide(vm, E.BOOT_OK, replace(FACTS, deploy_id="uuid")).vm.deploy_id == "uuid"
    failed = decide(vm, E.BOOT_FAIL, FACTS).vm
    again = decide(decide(failed, E.RECOVER_RETRY, FACTS).vm, E.BOOT_OK, replace(FACTS, now=NOW + 1)).vm
    assert (again.history[-1].retime, again.history[-1].etime) == (0, 0)
    assert len(again.history) == 2


def test_the_soft_way_of_a_shutdown_is_kept_for_its_retry_and_given_up_by_the_hard_one() -> None:
    soft = decide(vm_at(RUNNING, hard=True), E.TERMINATE, FACTS).vm
    assert not soft.shutdown_hard
    hard = decide(soft, E.TERMINATE_HARD, FACTS)
    assert hard.vm.shutdown_hard
    assert hard.effect is not None
    assert hard.effect.hard


def test_the_effects_nobody_waits_for_are_reboots() -> None:
    assert set(EffectKind) - AWAITED == {EffectKind.VMM_REBOOT, EffectKind.VMM_RESET}
    decision = decide(replace(vm_at(RUNNING), effect_id=-1), E.REBOOT, FACTS)
    assert decision.effect is not None
    assert not decision.effect.awaited


def test_the_first_stay_of_a_recreated_vm_is_a_deployment_not_a_move() -> None:
    record = decide(vm_at(PENDING), E.DEPLOY, FACTS).vm.history[-1]
    assert (record.seq, record.action) == (2, HistoryAction.NONE)


def test_a_failed_move_that_is_given_up_brings_the_vm_back_to_the_host_it_came_from() -> None:
    moving = decide(vm_at(UNKNOWN, ()), E.MIGRATE, FACTS)
    assert moving.vm.hid == THERE
    back = decide(decide(moving.vm, E.PROLOG_FAIL, FACTS).vm, E.RECOVER_FAILURE, FACTS)
    assert back.vm.position == UNKNOWN
    assert (back.vm.hid, back.gives, back.takes) == (HERE, THERE, HERE)
    assert back.vm.resched


def test_the_action_strings_of_the_api_are_those_of_opennebula() -> None:
    assert set(USER_ACTIONS) == {
        "hold", "release", "poweroff", "poweroff-hard", "resume", "reboot", "reboot-hard", "terminate",
        "terminate-hard", "resched", "unresched",
    }  # fmt: skip
