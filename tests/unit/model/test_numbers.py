"""OpenNebula's numbers and names, where clients and transfer scripts compare them."""

from enum import IntEnum

import pytest

from holdfast.model import errors
from holdfast.model.enums import HistoryAction, HostState, ImageState, RecoverOperation
from holdfast.model.vm_states import LcmState, VmState


@pytest.mark.parametrize(("states", "count"), [(VmState, 12), (LcmState, 72), (ImageState, 11), (RecoverOperation, 6)])
def test_the_numbers_have_no_gap(states: type[IntEnum], count: int) -> None:
    assert [state.value for state in states] == list(range(count))


@pytest.mark.parametrize(
    ("state", "number"),
    [
        (LcmState.RUNNING, 3),
        (LcmState.PROLOG_MIGRATE, 8),
        (LcmState.PROLOG_RESUME, 9),
        (LcmState.EPILOG_STOP, 10),
        (LcmState.UNKNOWN, 16),
        (LcmState.PROLOG_UNDEPLOY, 31),
        (LcmState.BOOT_FAILURE, 36),
        (LcmState.EPILOG_STOP_FAILURE, 41),
        (LcmState.PROLOG_RESUME_FAILURE, 49),
        (LcmState.PROLOG_MIGRATE_UNKNOWN, 60),
        (LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE, 61),
        (LcmState.RESTORE, 71),
        (VmState.ACTIVE, 3),
        (VmState.DONE, 6),
        (VmState.POWEROFF, 8),
        (HostState.MONITORED, 2),
        (HostState.ERROR, 3),
        (HostState.DISABLED, 4),
        (HostState.OFFLINE, 8),
        (HistoryAction.DELETE_RECREATE, 14),
        (HistoryAction.TERMINATE, 27),
        (HistoryAction.MONITOR, 44),
    ],
)
def test_the_numbers_that_scripts_and_clients_compare(state: IntEnum, number: int) -> None:
    assert state == number


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AuthenticationError, 256),
        (errors.AuthorizationError, 512),
        (errors.NoSuchObject, 1024),
        (errors.ActionError, 2048),
        (errors.ArgumentError, 4096),
        (errors.TemplateError, 8192),
        (errors.StoreError, 8192),
        (errors.AllocateError, 16384),
    ],
)
def test_every_error_carries_the_code_of_the_api(error: type[errors.HoldfastError], code: int) -> None:
    assert error.code == code


def test_an_error_names_its_object() -> None:
    error = errors.NoSuchObject("virtual machine", 7)
    assert (error.message, error.object_id, str(error)) == (
        "Error getting virtual machine [7].",
        7,
        "Error getting virtual machine [7].",
    )
