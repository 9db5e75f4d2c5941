"""Which hosts have to do with a VM."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import positions as p
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.whereabouts import holders, strays
from holdfast.model.enums import HistoryAction
from tests.unit.lifecycle.subjects import EVERY_POSITION, HERE, OLD, THERE, name_of, parked, vm_at


@pytest.mark.parametrize("position", EVERY_POSITION, ids=name_of)
def test_a_placed_vm_takes_capacity_of_its_host_and_no_other_does(position: Position) -> None:
    expected = (HERE, OLD) if position in p.ON_TWO_HOSTS else (HERE,) if position in p.PLACED else ()
    assert holders(vm_at(position)) == expected


@pytest.mark.parametrize("position", [p.EPILOG, p.EPILOG_FAILURE], ids=name_of)
def test_a_vm_that_ends_on_the_front_end_takes_none(position: Position) -> None:
    vm = vm_at(position)
    assert holders(replace(vm, history=(parked(HistoryAction.TERMINATE),))) == ()


@pytest.mark.parametrize("position", p.ON_TWO_HOSTS, ids=name_of)
def test_a_move_to_another_datastore_of_the_same_host_takes_capacity_once(position: Position) -> None:
    vm = vm_at(position)
    assert holders(replace(vm, history=(replace(vm.history[0], hid=HERE), vm.history[1]))) == (HERE,)


def test_a_vm_that_was_never_placed_is_nowhere() -> None:
    vm = replace(vm_at(p.PENDING), history=())
    assert holders(vm) == strays(vm) == ()


def test_hosts_that_may_run_a_vm_without_holding_it_are_strays() -> None:
    assert strays(vm_at(p.RUNNING)) == ()
    assert strays(vm_at(p.RUNNING, (HERE, THERE))) == (THERE,)
    assert strays(vm_at(p.MIGRATE)) == ()
    assert strays(vm_at(p.PENDING, (HERE,))) == (HERE,)
    assert strays(vm_at(p.CLEANUP_DELETE, (HERE, OLD))) == (HERE, OLD)
