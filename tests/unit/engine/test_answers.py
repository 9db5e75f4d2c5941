"""Answers of drivers, and their silence."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import Answered, EffectExpired, Resumed
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, FailoverState, ImageState
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch."""
    return Rig(hosts=2)


def deployed(rig: Rig) -> int:
    """A VM whose prolog has been ordered."""
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    return vm


def test_a_failure_is_kept_with_the_vm_until_the_next_success(rig: Rig) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no space left on device")
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_FAILURE
    assert rig.vm(vm).user_template.get("ERROR") == (
        "Mon Jan 12 13:46:40 1970: Error executing image transfer script: no space left on device"
    )
    rig.call(c.RecoverVm(vm, 2))
    rig.settle()
    assert "ERROR" not in rig.vm(vm).user_template


def test_the_hypervisors_name_for_the_domain_is_kept(rig: Rig) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.VMM_DEPLOY, DEPLOY_ID="7f0c")
    assert rig.vm(vm).deploy_id == "7f0c"


@pytest.mark.parametrize(("certain", "may_run_on"), [(True, ()), (False, (0,))])
def test_a_failed_start_frees_the_vm_only_when_the_driver_is_certain(
    rig: Rig, certain: bool, may_run_on: tuple[int, ...]
) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="failed", certain=certain)
    assert rig.vm(vm).may_run_on == may_run_on


def test_a_repeated_start_that_failed_says_nothing_of_the_first_one(rig: Rig) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="timed out", certain=False)
    rig.call(c.RecoverVm(vm, 2))
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="refused")
    assert rig.vm(vm).may_run_on == (0,)
    rig.call(c.RecoverVm(vm, 2))
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="refused", ABSENT="YES")
    assert rig.vm(vm).may_run_on == ()


def test_the_second_answer_to_an_effect_is_nothing(rig: Rig) -> None:
    vm = deployed(rig)
    order = rig.order(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.TM_PROLOG)
    before = rig.vm(vm)
    assert rig.tell(Answered(order.oid, Answer(False, "too late"))).is_empty
    assert rig.tell(Answered(4711, Answer(True)), EffectExpired(4711), EffectExpired(order.oid)).is_empty
    assert rig.vm(vm) == before


def test_two_answers_to_an_effect_in_one_batch_move_the_vm_once(rig: Rig) -> None:
    vm = deployed(rig)
    order = rig.order(EffectKind.TM_PROLOG)
    rig.tell(Answered(order.oid, Answer(True)), Answered(order.oid, Answer(True)))
    assert rig.vm(vm).lcm_state is LcmState.BOOT
    assert len(rig.starts()) == 1


def test_silence_is_a_failure_that_names_the_step_and_the_limit(rig: Rig) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG)
    rig.tick(91.9)
    assert rig.vm(vm).lcm_state is LcmState.BOOT
    rig.tick(0.2)
    assert rig.vm(vm).lcm_state is LcmState.BOOT_FAILURE
    assert rig.vm(vm).user_template.get("ERROR").endswith(" 1970: DEPLOY: no answer within 90 s")
    assert rig.vm(vm).may_run_on == (0,), "it may still come up"


@pytest.mark.parametrize("steps", range(4))
def test_no_step_of_a_vms_life_waits_for_ever(rig: Rig, steps: int) -> None:
    """Whatever driver falls silent, and when: in the end the VM rests where a user can do something."""
    vm = deployed(rig)
    for kind in (EffectKind.TM_PROLOG, EffectKind.VMM_DEPLOY)[:steps]:
        rig.answer(kind)
    if steps >= 2:
        rig.call(c.VmAction(vm, "terminate"))
    if steps == 3:
        rig.answer(EffectKind.VMM_SHUTDOWN)
    for _ in range(5):
        rig.tick(4000)
    assert rig.orders == []
    assert rig.vm(vm).effect_id == -1
    assert rig.vm(vm).state_name in ("PROLOG_FAILURE", "BOOT_FAILURE", "RUNNING", "EPILOG_FAILURE")


def test_a_silent_fence_device_fails_and_the_failover_says_so(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags="PAUSE=0")
    rig.answer(EffectKind.FENCE_STATUS, ok=False, message="?")
    rig.tick(60)
    assert rig.failover(failover).state is FailoverState.FENCING
    rig.tick(600)
    assert rig.failover(failover).state is FailoverState.BLOCKED
    assert "no answer within" in rig.failover(failover).reason


def test_after_a_restart_an_order_gets_its_full_time_again(rig: Rig) -> None:
    vm = deployed(rig)
    rig.answer(EffectKind.TM_PROLOG)
    rig.now += 80
    rig.restart()
    rig.tick(80)
    assert rig.vm(vm).lcm_state is LcmState.BOOT
    rig.tick(20)
    assert rig.vm(vm).lcm_state is LcmState.BOOT_FAILURE


def test_to_resume_without_anything_under_way_changes_nothing(rig: Rig) -> None:
    rig.running_vm(0)
    assert rig.tell(Resumed()).is_empty


def test_a_removal_ends_even_if_the_files_cannot_be_removed(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.RecoverVm(vm, 3))
    rig.answer(EffectKind.VMM_CLEANUP)
    rig.answer(EffectKind.TM_DELETE, ok=False, message="stale file handle")
    assert rig.vm(vm).state is VmState.DONE


def test_a_removal_is_tried_again_until_the_domain_is_gone_before_the_files_go(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.RecoverVm(vm, 3))
    for _ in range(3):
        rig.reply(rig.order(EffectKind.VMM_CLEANUP), Answer(False, "timed out", certain=False))
        assert rig.vm(vm).lcm_state is LcmState.CLEANUP_DELETE
        assert rig.vm(vm).user_template.get("ERROR").endswith(" 1970: CLEANUP: timed out")
    rig.answer(EffectKind.VMM_CLEANUP)
    rig.answer(EffectKind.TM_DELETE)
    assert rig.vm(vm).state is VmState.DONE


def test_an_operator_gives_up_a_domain_that_cannot_be_removed_with_its_files(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.RecoverVm(vm, 3))
    rig.call(c.RecoverVm(vm, 5))
    assert rig.vm(vm).state is VmState.DONE
    assert rig.orders == []


def test_an_image_answer_for_an_image_that_is_gone_is_nothing(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=a\nSIZE=10", 1))
    creating = rig.order(EffectKind.IMAGE_CREATE)
    rig.call(c.DeleteImage(oid, force=True))
    deleting = rig.order(EffectKind.IMAGE_DELETE)
    rig.reply(deleting, Answer(True))
    rig.reply(creating, Answer(True))
    assert oid not in rig.engine.state.images


def test_a_deletion_that_failed_leaves_the_image_in_error_and_can_be_tried_again(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=a\nSIZE=10", 1))
    rig.answer(EffectKind.IMAGE_CREATE)
    rig.call(c.DeleteImage(oid))
    rig.answer(EffectKind.IMAGE_DELETE, ok=False, message="permission denied")
    assert rig.engine.state.images[oid].state is ImageState.ERROR
    rig.call(c.DeleteImage(oid))
    rig.answer(EffectKind.IMAGE_DELETE)
    assert oid not in rig.engine.state.images
