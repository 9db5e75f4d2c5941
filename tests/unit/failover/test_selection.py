"""Which VMs take part in a failover, as the options of the hook say."""

from dataclasses import replace

import pytest

from holdfast.failover.selection import row_for
from holdfast.model.enums import DatastoreType, FailoverMode, RowState
from holdfast.model.storage import Datastore
from holdfast.model.template import EMPTY, Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.failover.subjects import a_failover

SHARED = Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0")
LOCAL = Datastore(
    100, "local", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/100", template=Template([("SHARED", "no")])
)
M, R, D = FailoverMode.MIGRATE, FailoverMode.RECREATE, FailoverMode.DELETE


def a_vm(state: VmState, lcm_state: LcmState = LcmState.LCM_INIT) -> Vm:
    """VM 8."""
    return Vm(8, 0, 0, "web", state, lcm_state, EMPTY)


@pytest.mark.parametrize("mode", FailoverMode)
def test_an_active_vm_takes_part_in_every_mode_and_its_row_names_the_proof(mode: FailoverMode) -> None:
    row = row_for(a_failover(mode=mode, proof_id=6), a_vm(VmState.ACTIVE, LcmState.UNKNOWN), SHARED)
    assert (row.vm_id, row.name, row.state, row.from_hid, row.proof_id) == (8, "web", RowState.WAITING, 3, 6)


@pytest.mark.parametrize("state", [VmState.POWEROFF, VmState.SUSPENDED])
@pytest.mark.parametrize(
    ("mode", "force", "takes_part"),
    [(M, False, True), (R, False, False), (R, True, True), (D, False, True)],
)
def test_a_parked_vm_is_moved_or_deleted_but_recreated_only_when_forced(
    state: VmState, mode: FailoverMode, force: bool, takes_part: bool
) -> None:
    row = row_for(a_failover(mode=mode, force=force), a_vm(state), SHARED)
    assert row.state is (RowState.WAITING if takes_part else RowState.SKIPPED)
    assert ("only with -f" in row.reason) is not takes_part


@pytest.mark.parametrize("state", [VmState.PENDING, VmState.HOLD, VmState.STOPPED, VmState.UNDEPLOYED, VmState.DONE])
def test_a_vm_that_is_on_no_host_needs_no_restart(state: VmState) -> None:
    row = row_for(a_failover(), a_vm(state), None)
    assert row.state is RowState.SKIPPED
    assert row.reason == f"in state {state.name}: nothing to restart"


def test_a_vm_whose_disks_stay_on_the_dead_host_is_skipped_with_the_command_that_helps() -> None:
    vm = a_vm(VmState.ACTIVE, LcmState.UNKNOWN)
    row = row_for(a_failover(), vm, LOCAL)
    assert row.state is RowState.SKIPPED
    assert "datastore 100 (local)" in row.reason
    assert "onevm recover --recreate 8" in row.reason
    assert row_for(a_failover(mode=R), vm, LOCAL).state is RowState.WAITING


@pytest.mark.parametrize(
    "lcm_state",
    [
        *(LcmState.PROLOG, LcmState.PROLOG_FAILURE, LcmState.PROLOG_RESUME, LcmState.PROLOG_UNDEPLOY_FAILURE),
        *(LcmState.PROLOG_MIGRATE, LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE, LcmState.SHUTDOWN, LcmState.EPILOG),
    ],
)
def test_a_vm_whose_files_are_not_yet_on_the_dead_host_or_not_wanted_any_more_takes_part(lcm_state: LcmState) -> None:
    assert row_for(a_failover(), a_vm(VmState.ACTIVE, lcm_state), LOCAL).state is RowState.WAITING


@pytest.mark.parametrize("lcm_state", [LcmState.MIGRATE, LcmState.SAVE_MIGRATE])
@pytest.mark.parametrize(("source", "state"), [(3, RowState.SKIPPED), (4, RowState.WAITING)])
def test_a_vm_between_two_hosts_is_lost_with_the_one_that_it_was_leaving(
    lcm_state: LcmState, source: int, state: RowState
) -> None:
    stays = tuple(History(n, hid, f"host{hid}", 0, 100, "kvm", "ssh") for n, hid in enumerate((source, 7 - source)))
    row = row_for(a_failover(), replace(a_vm(VmState.ACTIVE, lcm_state), history=stays), LOCAL)
    assert row.state is state
    assert ("its disks are on host3 alone" in row.reason) is (state is RowState.SKIPPED)


def test_a_vm_whose_host_is_back_takes_part_again() -> None:
    vm = a_vm(VmState.ACTIVE, LcmState.UNKNOWN)
    assert row_for(a_failover(), vm, LOCAL, lost=False).state is RowState.WAITING
