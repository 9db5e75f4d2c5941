"""Batches: staged without a trace, committed as one, published only then."""

from collections.abc import Callable

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import Answered, Called, Event, HostSilent, PlacementDue
from holdfast.engine.ports import Changes
from holdfast.hooks.match import Matcher
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, EffectState, HostState
from holdfast.model.errors import ActionError, HoldfastError, NoSuchObject, StoreError
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.invariants import remembered
from tests.unit.engine.rig import ONEADMIN, Rig

SMALL = "CPU=0.1\nMEMORY=64"


def called(command: c.Command) -> Called:
    """As oneadmin."""
    return Called(ONEADMIN, command)


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch, hooks really match."""
    return Rig(hosts=2, matcher=Matcher(lambda subject: "<X/>"))


def test_a_refused_event_leaves_the_others_of_its_batch_alone(rig: Rig) -> None:
    batch = rig.tell(
        called(c.AllocateVm(SMALL, hold=True)),
        called(c.AllocateVm("CPU=0.1\nMEMORY=64\nDISK=[IMAGE_ID=9]", hold=True)),
        called(c.DeployVm(77, 0)),
        called(c.AllocateVm(SMALL, hold=True)),
    )
    first, refused, missing, last = batch.answers
    assert (first, last) == (0, 1), "the refused one has used up no id"
    assert isinstance(refused, NoSuchObject)
    assert isinstance(missing, NoSuchObject)
    assert set(rig.engine.state.vms) == {0, 1}


def test_a_refused_event_has_ordered_nothing_and_taken_no_capacity(rig: Rig) -> None:
    rig.call(c.SetHostStatus(1, 2))
    batch = rig.tell(
        called(c.AllocateVm(SMALL, hold=True)),
        called(c.DeployVm(0, 1)),
        called(c.DeployVm(0, 0)),
        called(c.DeployVm(0, 0)),
    )
    assert [isinstance(answer, ActionError) for answer in batch.answers] == [False, True, False, True]
    assert [effect.kind for effect in batch.effects] == [EffectKind.TM_PROLOG]
    assert rig.host(1).vms == ()
    assert rig.host(0).vms == (0,)
    assert rig.host(0).cpu_usage == 10


def test_each_event_of_a_batch_sees_what_those_before_it_did(rig: Rig) -> None:
    batch = rig.tell(
        called(c.AllocateVm(SMALL, hold=True)),
        called(c.RenameVm(0, "web")),
        called(c.DeployVm(0, 0)),
        called(c.RecoverVm(0, 1)),
    )
    assert batch.answers == [0, 0, 0, 0]
    assert (rig.vm(0).name, rig.vm(0).lcm_state) == ("web", LcmState.BOOT)


def test_an_order_that_a_later_event_of_the_batch_overtakes_is_not_handed_out(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm(SMALL, hold=True))
    rig.call(c.DeployVm(vm, 0))
    prolog = rig.order(EffectKind.TM_PROLOG)
    batch = rig.engine.handle_batch([Answered(prolog.oid, Answer(True)), called(c.RecoverVm(vm, 4))], rig.now)
    assert [effect.kind for effect in batch.effects] == [EffectKind.VMM_CLEANUP]
    deploy = next(put for put in batch.changes.puts if isinstance(put, Effect) and put.kind is EffectKind.VMM_DEPLOY)
    assert deploy.state is EffectState.SUPERSEDED


def test_staging_shows_nothing_to_readers(rig: Rig) -> None:
    before = remembered(rig.engine)
    batch = rig.engine.stage([called(c.AllocateVm(SMALL)), HostSilent(0, rig.now, False, ())], rig.now)
    assert remembered(rig.engine) == before
    rig.engine.commit(batch)
    assert remembered(rig.engine) == before
    rig.engine.publish(batch, rig.now)
    assert rig.host(0).state is HostState.ERROR
    assert set(rig.engine.state.vms) == {0}


Prepare = Callable[[Rig], list[Event]]


def new_vm(rig: Rig) -> list[Event]:
    """A VM is created and deployed."""
    return [called(c.AllocateVm(SMALL)), called(c.DeployVm(0, 0))]


def a_loss(rig: Rig) -> list[Event]:
    """A host with a VM is lost, with a hook that fires and a failover."""
    rig.call(c.AllocateHook("NAME=h\nTYPE=state\nRESOURCE=HOST\nSTATE=ERROR\nCOMMAND=x"))
    rig.running_vm(0)
    return [HostSilent(0, rig.now, False, ()), called(c.AllocateFailover(0, "migrate"))]


def a_proof(rig: Rig) -> list[Event]:
    """A host with VMs is proven dead: they are taken over, moved, and others placed."""
    rig.running_vm(0)
    rig.lose(0)
    rig.open_failover(0)
    order = rig.order(EffectKind.FENCE_STATUS)
    return [Answered(order.oid, Answer(True, values={"POWER": "OFF"})), called(c.AllocateVm(SMALL)), PlacementDue((1,))]


def a_removal(rig: Rig) -> list[Event]:
    """Things go away."""
    vm = rig.running_vm(0)
    hook = rig.call(c.AllocateHook("NAME=h\nTYPE=state\nRESOURCE=HOST\nSTATE=ERROR\nCOMMAND=x"))
    return [called(c.RecoverVm(vm, 4)), called(c.DeleteHook(hook)), called(c.DeleteHost(1))]


@pytest.mark.parametrize("prepare", [new_vm, a_loss, a_proof, a_removal])
def test_a_commit_that_is_refused_leaves_nothing_changed_and_the_batch_can_be_handled_again(
    rig: Rig, prepare: Prepare
) -> None:
    events = prepare(rig)
    before = remembered(rig.engine)
    stored = rig.store.load()
    rig.store.fail_next("database or disk is full")
    with pytest.raises(StoreError, match="disk is full"):
        rig.tell(*events)
    assert remembered(rig.engine) == before
    assert rig.store.load() == stored
    again = rig.tell(*events)
    assert not any(isinstance(answer, HoldfastError) for answer in again.answers)
    assert remembered(rig.engine) != before


def test_a_batch_that_changes_nothing_is_not_committed(rig: Rig) -> None:
    rig.store.fail_next("nothing was to be written")
    assert rig.tell(HostSilent(77, rig.now, False, ()), Answered(4711, Answer(True))).is_empty


def test_a_batch_stops_when_it_has_enough_and_says_which_events_it_has(rig: Rig) -> None:
    events = [called(c.AllocateVm(SMALL, hold=True)) for _ in range(10)]
    batch = rig.engine.stage(events, rig.now, enough=3)
    assert len(batch.events) == len(batch.answers) == 3
    assert len([put for put in batch.changes.puts if isinstance(put, Vm)]) == 3


def test_a_deposed_controller_changes_nothing(rig: Rig) -> None:
    batch = rig.engine.stage([called(c.AllocateVm(SMALL))], rig.now)
    batch.changes = Changes(0, batch.changes.puts, batch.changes.deletes, (), batch.changes.counters)
    with pytest.raises(StoreError):
        rig.engine.commit(batch)
    assert rig.engine.state.vms == {}


def test_a_restarted_engine_remembers_all_that_was_committed_and_nothing_else(rig: Rig) -> None:
    vms = [rig.running_vm(0, f"vm{number}") for number in range(3)]
    rig.call(c.VmAction(vms[0], "poweroff"))
    rig.lose(0)
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.call(c.AllocateVm("CPU=8\nMEMORY=64"))
    before = remembered(rig.engine)
    orders = {order.oid for order in rig.orders}
    rig.restart()
    assert remembered(rig.engine) == before
    assert {order.oid for order in rig.orders} == orders


def test_a_vm_comes_back_from_done_by_nothing(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm(SMALL, hold=True))
    rig.call(c.VmAction(vm, "terminate"))
    assert rig.vm(vm).state is VmState.DONE
    for operation in range(6):
        rig.tell(called(c.RecoverVm(vm, operation)))
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE
