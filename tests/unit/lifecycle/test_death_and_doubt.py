"""What the death of a host, a driver's doubt and an operator's word do to a VM."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.positions import Position
from holdfast.model.enums import EffectKind
from holdfast.model.user import HOLDFAST
from holdfast.model.vm import NO_OPERATION
from tests.unit.lifecycle.subjects import FACTS, HERE, OLD, TARGET, ordered, refusal, vm_at

E = VmEvent
K = EffectKind
LOST = replace(FACTS, host_lost=True)
WORD = replace(FACTS, certain=False)
"""An operator's word is not certainty about a domain."""


@pytest.mark.parametrize(
    "event", [E.POWEROFF, E.POWEROFF_HARD, E.TERMINATE, E.TERMINATE_HARD, E.UNDEPLOY, E.UNDEPLOY_HARD]
)
def test_once_the_host_is_proven_dead_stopping_its_vm_needs_no_hypervisor(event: VmEvent) -> None:
    dead = decide(vm_at(p.UNKNOWN), E.HOST_DEAD, LOST).vm
    stopped = decide(dead, event, LOST)
    assert stopped.vm.position in (p.POWEROFF, p.EPILOG, p.EPILOG_UNDEPLOY)
    assert stopped.effect is None or stopped.effect.kind in (K.TM_EPILOG, K.TM_STOP)


@pytest.mark.parametrize("position", [p.RUNNING, p.UNKNOWN, *p.BOOTING, *p.BOOT_FAILURES, *p.OPERATIONS_RUNNING])
def test_a_vm_that_its_user_wanted_to_run_is_unknown_after_the_death_of_its_host(position: Position) -> None:
    after = decide(vm_at(position), E.HOST_DEAD, FACTS).vm
    assert after.position == p.UNKNOWN
    assert after.operation == NO_OPERATION


@pytest.mark.parametrize(
    ("position", "ends"),
    [
        (p.SHUTDOWN, p.EPILOG),
        (p.SHUTDOWN_UNDEPLOY, p.EPILOG_UNDEPLOY),
        (p.SHUTDOWN_POWEROFF, p.POWEROFF),
        (p.SAVE_SUSPEND, p.POWEROFF),
        (p.SAVE_STOP, p.POWEROFF),
    ],
)
def test_a_stop_under_way_is_completed_by_the_death_of_its_host(position: Position, ends: Position) -> None:
    assert decide(vm_at(position), E.HOST_DEAD, FACTS).vm.position == ends


def test_a_suspended_vm_keeps_its_checkpoint_and_one_that_was_only_paused_has_none() -> None:
    assert decide(vm_at(p.SUSPENDED), E.HOST_DEAD, FACTS).vm.position == p.SUSPENDED
    paused = decide(vm_at(p.RUNNING), E.SEEN_SUSPENDED, replace(FACTS, actor=HOLDFAST)).vm
    assert (paused.position, paused.may_run_on) == (p.SUSPENDED, (HERE,))
    for event in (E.HOST_DEAD, E.SEEN_POWEROFF):
        gone = decide(paused, event, FACTS).vm
        assert (gone.position, gone.may_run_on) == (p.POWEROFF, ())
    denied = decide(vm_at(p.SUSPENDED, (HERE,)), E.SEEN_POWEROFF, FACTS).vm
    assert (denied.position, denied.may_run_on) == (p.SUSPENDED, ())


@pytest.mark.parametrize(
    ("position", "boots"),
    [(p.BOOT_SUSPENDED, p.POWEROFF), (p.BOOT_STOPPED, p.BOOT_FAILURE), (p.BOOT_MIGRATE, p.BOOT_FAILURE)],
)
def test_a_vm_whose_checkpoint_is_gone_goes_where_it_can_be_booted_from(position: Position, boots: Position) -> None:
    after = decide(vm_at(position), E.BOOT_FAIL, replace(FACTS, values={"CHECKPOINT": "GONE"})).vm
    assert after.position == boots
    again = ordered(after, E.RESUME if boots == p.POWEROFF else E.RECOVER_RETRY)
    assert again.kind is K.VMM_DEPLOY


def test_a_live_migration_ends_on_the_host_that_lives() -> None:
    there = decide(vm_at(p.MIGRATE), E.HOST_DEAD, replace(FACTS, dead_hid=OLD))
    assert (there.vm.hid, there.vm.may_run_on, there.gives) == (HERE, (HERE,), (OLD,))
    back = decide(vm_at(p.MIGRATE), E.HOST_DEAD, FACTS)
    assert (back.vm.hid, back.vm.may_run_on, back.gives) == (OLD, (OLD,), (HERE,))
    for decision in (there, back):
        assert decision.vm.position == p.BOOT
        assert decision.effect is not None
        assert (decision.effect.kind, decision.effect.hid) == (K.VMM_DEPLOY, decision.vm.hid)


def test_a_save_whose_source_died_goes_on_without_a_checkpoint_and_one_whose_destination_died_goes_back() -> None:
    after = decide(vm_at(p.SAVE_MIGRATE), E.HOST_DEAD, replace(FACTS, dead_hid=OLD)).vm
    assert (after.position, after.hid, after.may_run_on) == (p.PROLOG_MIGRATE_UNKNOWN, HERE, ())
    waits = decide(vm_at(p.SAVE_MIGRATE, effect_id=77), E.HOST_DEAD, LOST)
    assert (waits.vm.position, waits.cancels) == (p.SAVE_MIGRATE, False)
    saved = decide(waits.vm, E.SAVE_OK, replace(LOST, order_hids=(OLD,)))
    assert (saved.vm.position, saved.vm.hid, saved.vm.may_run_on) == (p.BOOT_MIGRATE, OLD, (OLD,))
    assert (saved.gives, saved.takes) == ((HERE,), None)


def test_a_save_on_the_one_host_that_dies_leaves_the_vm_where_its_files_are() -> None:
    vm = vm_at(p.SAVE_MIGRATE, (HERE,))
    vm = replace(vm, history=(replace(vm.history[0], hid=HERE, ds_id=100), replace(vm.history[1], ds_id=101)))
    decision = decide(vm, E.HOST_DEAD, LOST)
    assert (decision.vm.position, decision.vm.may_run_on, decision.gives) == (p.UNKNOWN, (), ())
    assert (decision.vm.hid, decision.vm.history[-1].ds_id) == (HERE, 100)


def test_a_start_from_the_front_end_whose_host_died_is_pending_with_its_files_still_there() -> None:
    for position, resumes in ((p.PROLOG_RESUME, p.PROLOG_RESUME), (p.PROLOG_UNDEPLOY_FAILURE, p.PROLOG_UNDEPLOY)):
        waits = decide(vm_at(position), E.HOST_DEAD, LOST).vm
        assert waits.position == p.PENDING
        assert waits.is_parked
        again = decide(waits, E.DEPLOY, FACTS)
        assert again.vm.position == resumes
        assert again.effect is not None
        assert again.effect.kind is K.TM_RESUME


def test_the_record_of_files_that_never_left_the_front_end_names_the_datastore_they_are_in() -> None:
    vm = vm_at(p.PROLOG_RESUME)
    vm = replace(vm, history=(replace(vm.history[0], ds_id=100), replace(vm.history[1], ds_id=101)))
    assert decide(vm, E.HOST_DEAD, LOST).vm.history[-1].ds_id == 100


def test_only_a_certain_driver_frees_the_vm_from_its_host() -> None:
    for position, event in (
        (p.BOOT, E.BOOT_FAIL),
        (p.SHUTDOWN_POWEROFF, E.SHUTDOWN_OK),
        (p.SAVE_SUSPEND, E.SAVE_OK),
        (p.CLEANUP_RESUBMIT, E.CLEANUP_ENDED),
    ):
        assert decide(vm_at(position, (HERE,)), event, WORD).vm.may_run_on == (HERE,)
        assert decide(vm_at(position, (HERE,)), event, FACTS).vm.may_run_on == ()


def test_a_live_migration_that_failed_without_certainty_is_carried_on() -> None:
    known = decide(vm_at(p.MIGRATE), E.BOOT_FAIL, FACTS).vm
    assert (known.position, known.hid, known.may_run_on) == (p.RUNNING, OLD, (OLD,))
    again = decide(vm_at(p.MIGRATE), E.BOOT_FAIL, WORD)
    assert (again.vm.position, again.vm.hid, again.vm.may_run_on) == (p.MIGRATE, HERE, (OLD, HERE))
    assert again.effect is not None
    assert (again.effect.kind, again.effect.hid, again.effect.args["OTHER_HID"]) == (K.VMM_MIGRATE, OLD, str(HERE))
    assert (again.gives, again.takes) == ((), None)


def test_a_vm_that_runs_only_where_its_record_does_not_say_is_taken_over_there() -> None:
    vm = decide(vm_at(p.MIGRATE), E.RECOVER_FAILURE, WORD).vm
    assert (vm.position, vm.hid, vm.may_run_on) == (p.RUNNING, OLD, (OLD, HERE))
    adopted = decide(
        replace(vm, may_run_on=(HERE,)), E.SEEN_ELSEWHERE, replace(FACTS, target=replace(TARGET, hid=HERE))
    )
    assert (adopted.vm.position, adopted.vm.hid, adopted.vm.may_run_on) == (p.BOOT, HERE, (HERE,))
    assert adopted.effect is not None
    assert (adopted.effect.kind, adopted.effect.hid) == (K.VMM_DEPLOY, HERE)
    assert (adopted.gives, adopted.takes) == ((OLD,), HERE)
    assert refusal(vm, E.SEEN_ELSEWHERE, replace(FACTS, target=replace(TARGET, hid=HERE)))


@pytest.mark.parametrize("position", [p.SHUTDOWN, p.SHUTDOWN_UNDEPLOY, p.SAVE_STOP, p.SAVE_MIGRATE])
def test_an_operators_success_moves_no_files_before_the_agents_deny_the_domain(position: Position) -> None:
    said = refusal(vm_at(position), E.RECOVER_SUCCESS, WORD)
    assert "A domain of VM 42 may still run" in said
    assert ordered(vm_at(position, ()), E.RECOVER_SUCCESS, WORD).kind in (K.TM_EPILOG, K.TM_STOP, K.TM_MIGRATE)


def test_a_vm_that_is_believed_to_run_again_may_run_there_whatever_was_denied_before() -> None:
    for position, event in (
        *((at, E.SHUTDOWN_FAIL) for at in p.SHUTDOWNS),
        *((at, E.SAVE_FAIL) for at in (p.SAVE_STOP, p.SAVE_SUSPEND, p.SAVE_MIGRATE)),
    ):
        vm = decide(vm_at(position, ()), event, FACTS).vm
        assert (vm.position, vm.may_run_on) == (p.RUNNING, (vm.hid,))


def test_a_proof_for_one_host_says_nothing_about_another() -> None:
    vm = vm_at(p.UNKNOWN, (HERE, OLD))
    assert decide(vm, E.HOST_DEAD, FACTS).vm.may_run_on == (OLD,)
