"""Every row of the table of events: what users, drivers, monitoring, operators and lost hosts do in each state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.lifecycle import Target, VmEvent
from holdfast.lifecycle.positions import (
    BOOT_FAILURE,
    BOOT_MIGRATE_FAILURE,
    BOOT_STOPPED_FAILURE,
    BOOT_UNDEPLOY_FAILURE,
    FAILED_STEP,
    FAILURES,
    POWEROFF,
    PROLOG_MIGRATE,
    PROLOG_MIGRATE_POWEROFF,
    PROLOG_MIGRATE_POWEROFF_FAILURE,
    PROLOG_MIGRATE_UNKNOWN,
    PROLOG_MIGRATE_UNKNOWN_FAILURE,
    Position,
)
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.vm import Vm
from tests.unit.lifecycle.reference import event_rows
from tests.unit.lifecycle.reference.deviations import EVENTS as DEVIATIONS
from tests.unit.lifecycle.reference.deviations import EVENTS_BESIDES
from tests.unit.lifecycle.reference.driver_words import order_of
from tests.unit.lifecycle.reference.expectation import differences
from tests.unit.lifecycle.reference.record_words import RESCHED
from tests.unit.lifecycle.reference.recovery_deviations import UNPROVEN
from tests.unit.lifecycle.reference.rows import EVENTS, Row, name_of
from tests.unit.lifecycle.reference.step import TARGET, facts_for, take
from tests.unit.lifecycle.reference.subjects import BEFORE, HERE, NOW, OPERATIONS, THERE, subject, variants_of

BY_KEY = {row.key: row for row in EVENTS}
WAYS_OUT = {
    BOOT_FAILURE: PROLOG_MIGRATE_UNKNOWN,
    BOOT_UNDEPLOY_FAILURE: PROLOG_MIGRATE_UNKNOWN,
    BOOT_MIGRATE_FAILURE: PROLOG_MIGRATE,
    BOOT_STOPPED_FAILURE: PROLOG_MIGRATE,
    PROLOG_MIGRATE_UNKNOWN_FAILURE: PROLOG_MIGRATE_UNKNOWN,
    PROLOG_MIGRATE_POWEROFF_FAILURE: PROLOG_MIGRATE_POWEROFF,
}
"""Where a failed VM is while its files go to another host; one that has a checkpoint is restored there."""
HELD = [row for row in EVENTS if row.key not in DEVIATIONS]
BETWEEN_HOSTS = [row for row in EVENTS if "if host differs" in row["capacity_effect"]]
REPORTED = [row for row in EVENTS if "now-RSTIME>=30" in row["guard"]]


def test_every_row_has_a_key_of_its_own() -> None:
    assert len(EVENTS) == len(BY_KEY) == 279


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.key)
def test_the_event_does_what_opennebula_does(row: Row) -> None:
    assert differences(event_rows, row) == []


@pytest.mark.parametrize("key", DEVIATIONS)
def test_where_the_event_differs_it_does_what_is_written_down(key: str) -> None:
    for instead in DEVIATIONS[key].cases:
        assert differences(event_rows, BY_KEY[key], instead) == []


@pytest.mark.parametrize("key", DEVIATIONS)
def test_an_event_that_is_said_to_differ_does(key: str) -> None:
    assert differences(event_rows, BY_KEY[key]) != []


@pytest.mark.parametrize("key", EVENTS_BESIDES)
def test_where_opennebula_does_not_look_the_event_does_what_is_written_down(key: str) -> None:
    for instead in EVENTS_BESIDES[key].cases:
        assert differences(event_rows, BY_KEY[key], instead) == []


@pytest.mark.parametrize("row", REPORTED, ids=lambda row: row.key)
def test_a_report_is_believed_without_a_grace_of_30_s(row: Row) -> None:
    """OpenNebula passes over reports for 30 s after a boot or a stop; our agents number theirs instead."""
    (event,) = event_rows.events_of(row)
    for variant in event_rows.variants(row):
        vm = subject(row.at, variant)
        fresh = replace(vm, history=(*vm.history[:-1], replace(vm.history[-1], rstime=NOW - 1)))
        assert take(fresh, event).after.position in (row.to("to_"), FAILED_STEP.get(row.at))


@pytest.mark.parametrize("row", BETWEEN_HOSTS, ids=lambda row: row.key)
def test_a_move_to_another_datastore_of_the_same_host_moves_no_capacity(row: Row) -> None:
    for event in event_rows.events_of(row):
        for variant in event_rows.variants(row):
            vm = on_one_host(subject(row.at, variant))
            target = Target(HERE, TARGET.hostname, 0, 1, "kvm", "shared")
            step = take(vm, event, replace(facts_for(vm, event), target=target))
            decision = step.decision
            assert decision is not None, step.refusal
            taken = {decision.takes} - {None}
            assert set(decision.gives) <= taken, "what is given back is taken again"
            assert step.after.hid == HERE
            assert step.after.may_run_on in ((), (HERE,))


def on_one_host(vm: Vm) -> Vm:
    """The VM, going from one datastore of host HERE to another instead of to another host."""
    records = tuple(
        replace(record, hid=HERE, hostname="host1", ds_id=1) if record.hid == THERE else record for record in vm.history
    )
    places = dict.fromkeys(HERE if hid == THERE else hid for hid in vm.may_run_on)
    return replace(vm, history=records, may_run_on=tuple(places) if vm.position != BY_KEY_UNKNOWN else ())


BY_KEY_UNKNOWN = BY_KEY["migrate(any type or live) in UNKNOWN"].at
"""A VM whose host was proven dead: it can be moved."""


@pytest.mark.parametrize(("at", "to"), WAYS_OUT.items(), ids=[name_of(at) for at in WAYS_OUT])
def test_a_vm_that_failed_to_start_can_go_to_another_host(at: Position, to: Position) -> None:
    """OpenNebula has no way out of these positions but back to the same host."""
    vm = replace(subject(at, variants_of(at)[-1]), may_run_on=())
    target = Target(BEFORE, "host7", 0, 0, "kvm", "shared")
    facts = replace(facts_for(vm, VmEvent.MIGRATE), target=target)
    step = take(vm, VmEvent.MIGRATE, facts)
    assert step.decision is not None
    assert step.after.position == to
    order = order_of(step)
    assert order is not None
    assert (order.kind, order.hid) == (EffectKind.TM_MIGRATE, BEFORE)
    assert (step.decision.gives, step.decision.takes) == ((vm.hid,), BEFORE)
    left, entered = step.after.history[-2:]
    assert (left.etime > 0, entered.hid, entered.pstime, entered.action) == (True, BEFORE, NOW, HistoryAction.MIGRATE)
    assert UNPROVEN in take(replace(vm, may_run_on=(HERE,)), VmEvent.MIGRATE, facts).refusal
    for event, flag in ((VmEvent.RESCHED, True), (VmEvent.UNRESCHED, False)):
        assert take(replace(vm, resched=not flag), event).after == replace(vm, resched=flag)


@pytest.mark.parametrize("at", FAILURES, ids=name_of)
def test_terminating_a_vm_that_has_failed_is_deleting_it(at: Position) -> None:
    for variant in variants_of(at):
        for places in (subject(at, variant).may_run_on, (BEFORE,), ()):
            vm = replace(subject(at, variant), may_run_on=places)
            deleted = take(vm, VmEvent.RECOVER_DELETE).decision
            assert take(vm, VmEvent.TERMINATE).decision == take(vm, VmEvent.TERMINATE_HARD).decision == deleted


@pytest.mark.parametrize("event", [VmEvent.NIC_ATTACH, VmEvent.NIC_DETACH])
def test_a_driver_that_attaches_no_nics_to_vms_that_are_off_is_not_asked(event: VmEvent) -> None:
    vm = subject(POWEROFF)
    if event is VmEvent.NIC_DETACH:
        vm = replace(vm, template=vm.template.extended([("NIC", {"NIC_ID": "1"})]))
    step = take(vm, event)
    assert step.after.position == POWEROFF
    assert step.decision is not None
    assert step.decision.effect is None
    nics = {nic["NIC_ID"] for nic in step.after.template.sections("NIC")}
    assert nics == ({"0", "1"} if event is VmEvent.NIC_ATTACH else {"0"})
    assert step.after.operation.action == ""
    assert [record.action for record in step.after.history[-2:]] == [
        HistoryAction[event.name],
        HistoryAction.POWEROFF,
    ]
    assert not step.after.resched


def test_the_words_of_the_table_are_all_read() -> None:
    """Each row is compared with a step here, so that its words are read although it differs elsewhere."""
    for row in EVENTS:
        for step in event_rows.steps(row):
            event_rows.differences_of(event_rows.meaning_of(row), step)
        assert row["resched_effect"] in RESCHED


def test_every_operation_can_be_asked_for_and_every_variant_is_somebodys() -> None:
    used = {variant for row in EVENTS for variant in event_rows.variants(row)}
    assert used <= {variant for row in EVENTS for variant in variants_of(row.at)}
    asked = {event.value for row in EVENTS if row["origin"] == "user" for event in event_rows.events_of(row)}
    assert set(OPERATIONS) - asked == {"disk-saveas"}, "the table has no row in which a disk begins to be saved"
