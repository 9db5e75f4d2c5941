"""Removal of a VM: its domain first wherever one may exist, then its files; capacity is free at once."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.whereabouts import holders
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.vm import NO_OPERATION
from tests.unit.lifecycle.subjects import CURRENT, FACTS, HERE, NOW, OFF, OLD, THERE, name_of, vm_at

E = VmEvent
DELETING = [(position, E.RECOVER_DELETE) for position in p.PLACED] + [
    (position, event) for position in p.FAILURES for event in (E.TERMINATE, E.TERMINATE_HARD)
]
RECREATING = [(position, E.RECOVER_RECREATE) for position in p.PLACED]
REMOVALS = (E.RECOVER_DELETE, E.RECOVER_RECREATE)
WORD = replace(FACTS, certain=False)
WITHOUT_A_WORD = (p.POWEROFF, p.SUSPENDED)
"""OpenNebula leaves the ACTION of a VM that is deleted while it is off."""


def named(case: tuple[Position, VmEvent]) -> str:
    """For the list of tests."""
    return f"{name_of(case[0])} {case[1].value}"


@pytest.mark.parametrize("case", [*DELETING, *RECREATING], ids=named)
def test_the_domain_is_removed_before_the_files_wherever_it_may_exist(case: tuple[Position, VmEvent]) -> None:
    position, event = case
    end = p.CLEANUP_RESUBMIT if event is E.RECOVER_RECREATE else p.CLEANUP_DELETE
    for hosts in ((HERE,), (HERE, OLD), (OLD,)):
        decision = decide(vm_at(position, hosts), event, WORD)
        assert (decision.vm.position, decision.vm.may_run_on) == (end, hosts)
        effect = decision.effect
        assert effect is not None
        assert (effect.kind, effect.hid) == (EffectKind.VMM_CLEANUP, hosts[0])
        assert effect.args["OTHER_HID"] == str((*hosts, -1)[1])
    decision = decide(vm_at(position, ()), event, WORD)
    assert decision.vm.position == end
    assert decision.effect is not None
    assert (decision.effect.kind, decision.effect.hid) == (EffectKind.TM_DELETE, HERE)
    assert not decision.vm.resched
    assert decision.vm.operation == NO_OPERATION


@pytest.mark.parametrize("case", [*DELETING, *RECREATING], ids=named)
def test_the_records_are_closed_with_the_action_and_all_capacity_is_given_back(case: tuple[Position, VmEvent]) -> None:
    position, event = case
    vm = vm_at(position)
    decision = decide(vm, event, WORD)
    assert set(decision.gives) == set(holders(vm))
    assert decision.takes is None
    assert holders(decision.vm) == ()
    record = decision.vm.history[-1]
    assert all(closed.etime for closed in decision.vm.history)
    assert record.etime == (vm.history[-1].etime or NOW)
    if position in WITHOUT_A_WORD and event is E.RECOVER_DELETE:
        assert record.action is vm.history[-1].action
        return
    assert record.action is (HistoryAction.DELETE_RECREATE if event is E.RECOVER_RECREATE else HistoryAction.DELETE)
    assert (record.uid, record.gid) == (3, 4)


@pytest.mark.parametrize("event", REMOVALS)
@pytest.mark.parametrize("position", p.PLACED, ids=name_of)
def test_what_was_under_way_ends_now_and_what_had_ended_keeps_its_time(position: Position, event: VmEvent) -> None:
    before = vm_at(position).history[-1]
    record = decide(vm_at(position), event, WORD).vm.history[-1]
    leg = position[1].name
    if leg.startswith("PROLOG"):
        assert (record.petime, record.retime, record.eetime) == (NOW, before.retime, before.eetime)
    elif leg.startswith("EPILOG"):
        assert (record.petime, record.retime, record.eetime) == (before.petime, before.retime, 0), "no file has moved"
    else:
        assert (record.petime, record.eetime) == (before.petime, before.eetime)
        assert record.retime == (before.retime or NOW)
        assert (position in OFF) <= (record.retime == before.retime)


@pytest.mark.parametrize("position", p.PLACED, ids=name_of)
def test_delete_db_forgets_the_vm_without_any_order_and_without_an_action(position: Position) -> None:
    vm = vm_at(position)
    decision = decide(vm, E.RECOVER_DELETE_DB, WORD)
    assert decision.vm.position == p.DONE
    assert decision.effect is None
    assert set(decision.gives) == set(holders(vm))
    assert [record.action for record in decision.vm.history] == [record.action for record in vm.history]
    assert all(record.etime for record in decision.vm.history)
    assert decision.vm.may_run_on == ()
    assert decision.vm.etime == NOW


def test_a_record_that_is_closed_already_keeps_its_times() -> None:
    vm = vm_at(p.RUNNING)
    vm = replace(vm, history=(replace(CURRENT, etime=300, retime=299),))
    record = decide(vm, E.RECOVER_DELETE, WORD).vm.history[-1]
    assert (record.etime, record.retime) == (300, 299)


@pytest.mark.parametrize("event", REMOVALS)
@pytest.mark.parametrize("position", [at for at in p.PLACED if name_of(at).startswith("PROLOG_MIGRATE")], ids=name_of)
def test_files_that_were_on_their_way_are_removed_at_both_ends(position: Position, event: VmEvent) -> None:
    effect = decide(vm_at(position), event, WORD).effect
    assert effect is not None
    assert (effect.kind, effect.hid, effect.args["OTHER_HID"]) == (EffectKind.TM_DELETE, HERE, str(OLD))


@pytest.mark.parametrize("event", [E.RECOVER_DELETE, E.TERMINATE, E.TERMINATE_HARD])
@pytest.mark.parametrize("position", p.WAITING, ids=name_of)
def test_a_waiting_vm_whose_domain_may_be_left_is_not_done_before_it_was_removed(
    position: Position, event: VmEvent
) -> None:
    decision = decide(vm_at(position, (THERE,)), event, FACTS)
    assert decision.vm.position == p.CLEANUP_DELETE
    assert decision.effect is not None
    assert (decision.effect.kind, decision.effect.hid) == (EffectKind.VMM_CLEANUP, THERE)


@pytest.mark.parametrize("position", [p.CLEANUP_DELETE, p.CLEANUP_RESUBMIT], ids=name_of)
def test_files_stay_while_another_host_than_the_dead_one_may_run_the_domain(position: Position) -> None:
    dead = replace(FACTS, dead_hid=OLD, proof_id=9)
    first = decide(vm_at(position, (HERE, OLD)), E.HOST_DEAD, dead)
    assert first.effect is not None
    assert (first.effect.kind, first.effect.hid) == (EffectKind.VMM_CLEANUP, HERE)
    assert first.vm.may_run_on == (HERE,)
    last = decide(first.vm, E.HOST_DEAD, replace(dead, dead_hid=HERE))
    assert last.effect is not None
    assert (last.effect.kind, last.vm.may_run_on) == (EffectKind.TM_DELETE, ())


def test_a_clean_up_on_two_hosts_frees_both_and_then_the_files_go() -> None:
    vm = decide(vm_at(p.MIGRATE), E.RECOVER_DELETE, WORD).vm
    after = decide(vm, E.CLEANUP_ENDED, replace(FACTS, order_hids=(HERE, OLD)))
    assert after.vm.may_run_on == ()
    assert after.effect is not None
    assert after.effect.kind is EffectKind.TM_DELETE


def test_a_recreated_vm_whose_domain_may_be_left_is_pending_but_bound_to_its_host() -> None:
    vm = vm_at(p.CLEANUP_RESUBMIT, (HERE,))
    after = decide(vm, E.CLEANUP_ENDED, replace(FACTS, certain=False)).vm
    assert after.position == p.PENDING
    assert after.may_run_on == (HERE,)


def test_a_recreated_vm_loses_what_the_hypervisor_called_it_and_the_snapshots_of_what_is_made_anew() -> None:
    assert decide(vm_at(p.CLEANUP_RESUBMIT), E.DELETE_ENDED, FACTS).vm.deploy_id == ""
    vm = vm_at(p.POWEROFF)
    disks = [{"DISK_ID": "0"}, {"DISK_ID": "1", "SAVE": "YES"}]
    template = vm.template.with_sections("DISK", disks).with_sections("SNAPSHOT", [{"SNAPSHOT_ID": "0"}])
    vm = replace(vm, template=template, snapshots=(DiskSnapshots(0), DiskSnapshots(1)))
    after = decide(vm, E.RECOVER_RECREATE, WORD).vm
    assert after.snapshots == (DiskSnapshots(1),)
    assert after.template.sections("SNAPSHOT") == ()
    assert decide(vm, E.RECOVER_DELETE, WORD).vm.snapshots == vm.snapshots


@pytest.mark.parametrize("position", p.WAITING, ids=name_of)
def test_files_on_the_front_end_are_removed_there(position: Position) -> None:
    for action in (HistoryAction.STOP, HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD):
        parked = replace(CURRENT, etime=300, retime=299, estime=299, eetime=300, action=action)
        vm = replace(vm_at(position), history=(parked,))
        for event, kind in ((E.RECOVER_DELETE, EffectKind.TM_DELETE), (E.TERMINATE, EffectKind.TM_EPILOG)):
            decision = decide(vm, event, WORD)
            assert decision.effect is not None
            assert decision.effect.kind is kind
            assert decision.effect.args["LOCAL"] == "YES"
            assert holders(decision.vm) == ()


@pytest.mark.parametrize("position", p.BETWEEN_HOST_AND_FRONTEND, ids=name_of)
@pytest.mark.parametrize("event", [E.RECOVER_DELETE, E.RECOVER_RECREATE])
def test_files_half_way_to_the_front_end_are_removed_on_both_sides(position: Position, event: E) -> None:
    at_once = decide(replace(vm_at(position), may_run_on=()), event, WORD).effect
    assert at_once is not None
    assert (at_once.kind, at_once.args["FRONTEND"]) == (EffectKind.TM_DELETE, "YES")
    begun = decide(replace(vm_at(position), may_run_on=(CURRENT.hid,)), event, WORD)
    assert begun.effect is not None
    assert begun.effect.kind is EffectKind.VMM_CLEANUP
    after = decide(begun.vm, E.CLEANUP_ENDED, replace(FACTS, certain=True)).effect
    assert after is not None
    assert (after.kind, after.args["FRONTEND"]) == (EffectKind.TM_DELETE, "YES")


def test_other_files_are_removed_where_they_are() -> None:
    effect = decide(replace(vm_at(p.PROLOG_FAILURE), may_run_on=()), E.RECOVER_DELETE, WORD).effect
    assert effect is not None
    assert "FRONTEND" not in effect.args
