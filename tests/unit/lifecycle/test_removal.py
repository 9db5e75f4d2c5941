"""Removal of a VM: its domain first when one may exist, then its files; capacity is free at once."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle.table import CLEANUP_DELETE, CLEANUP_RESUBMIT, DONE, FAILURES, PENDING, PLACED, Position
from holdfast.model.enums import EffectKind, HistoryAction
from tests.unit.lifecycle.subjects import CURRENT, FACTS, HERE, NOW, name_of, vm_at

DELETING = [(position, VmEvent.RECOVER_DELETE) for position in PLACED] + [
    (position, event) for position in FAILURES for event in (VmEvent.TERMINATE, VmEvent.TERMINATE_HARD)
]
RECREATING = [(position, VmEvent.RECOVER_RECREATE) for position in PLACED]


def named(case: tuple[Position, VmEvent]) -> str:
    """For the list of tests."""
    return f"{name_of(case[0])} {case[1].value}"


@pytest.mark.parametrize("case", [*DELETING, *RECREATING], ids=named)
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "idle"])
def test_the_domain_is_removed_before_the_files_whenever_it_may_exist(
    case: tuple[Position, VmEvent], alive: bool
) -> None:
    position, event = case
    vm = vm_at(position, (HERE,) if alive else ())
    decision = decide(vm, event, FACTS)
    recreated = event is VmEvent.RECOVER_RECREATE
    assert decision.vm.position == (CLEANUP_RESUBMIT if recreated else CLEANUP_DELETE)
    assert decision.effect is not None
    assert decision.effect.kind is (EffectKind.VMM_CLEANUP if alive else EffectKind.TM_DELETE)
    assert decision.effect.hid == HERE
    assert (decision.gives, decision.takes) == (HERE, None)
    assert decision.vm.may_run_on == vm.may_run_on
    assert not decision.vm.resched
    record = decision.vm.history[-1]
    assert record.action is (HistoryAction.DELETE_RECREATE if recreated else HistoryAction.DELETE)
    assert (record.uid, record.gid) == (3, 4)
    assert record.etime == NOW
    assert record.retime == NOW


@pytest.mark.parametrize("position", PLACED, ids=name_of)
def test_delete_db_forgets_the_vm_without_any_order_and_without_an_action(position: Position) -> None:
    vm = vm_at(position)
    decision = decide(vm, VmEvent.RECOVER_DELETE_DB, FACTS)
    assert decision.vm.position == DONE
    assert decision.effect is None
    assert decision.gives == HERE
    assert decision.vm.history[-1].action is vm.history[-1].action
    assert decision.vm.may_run_on == ()
    assert decision.vm.etime == NOW


def test_a_record_that_is_closed_already_keeps_its_times() -> None:
    vm = vm_at(PLACED[0])
    vm = replace(vm, history=(replace(CURRENT, etime=300, retime=299),))
    record = decide(vm, VmEvent.RECOVER_DELETE, FACTS).vm.history[-1]
    assert (record.etime, record.retime) == (300, 299)


def test_a_recreated_vm_whose_domain_may_be_left_is_pending_but_bound_to_its_host() -> None:
    vm = vm_at(CLEANUP_RESUBMIT, (HERE,))
    after = decide(vm, VmEvent.CLEANUP_ENDED, replace(FACTS, certain=False)).vm
    assert after.position == PENDING
    assert after.may_run_on == (HERE,)


def test_a_recreated_vm_loses_what_the_hypervisor_called_it() -> None:
    assert decide(vm_at(CLEANUP_RESUBMIT), VmEvent.DELETE_ENDED, FACTS).vm.deploy_id == ""
