"""Every row of the table of states: numbers, names, what the CLI shows, who is waited for, who holds capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pytest

from holdfast.cli.states import vm_word
from holdfast.lifecycle import positions
from holdfast.lifecycle.decide import AWAITED
from holdfast.lifecycle.events import OPERATIONS
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION
from holdfast.lifecycle.whereabouts import holders
from holdfast.model.host import Host
from holdfast.model.user import User
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.lifecycle.reference.deviation_names import WHOLE
from tests.unit.lifecycle.reference.record_words import holds
from tests.unit.lifecycle.reference.rows import STATES, position
from tests.unit.lifecycle.reference.subjects import subject, variants_of

Columns = Mapping[str, str]
FAIL_WORD = "fail"

DIFFERENT: dict[str, tuple[str, dict[str, str]]] = {
    "LCM_STATE LCM_INIT": (WHOLE, {"short": "actv"}),
    "LCM_STATE DISK_SNAPSHOT_REVERT": (WHOLE, {"short": "snap"}),
    "LCM_STATE CLEANUP_DELETE": (WHOLE, {"waits_on": "VMM or TM"}),
}
"""States of which Holdfast has another notion: the name of the deviation, and the columns as they should be for us."""


def key_of(row: Columns) -> str:
    """The name of a row."""
    return f"{row['kind']} {row['name']}"


def differences(row: Columns) -> set[str]:
    """The columns in which Holdfast differs."""
    return {column for column, check in CHECKS.items() if not check(row)}


def at(row: Columns) -> positions.Position:
    """The position that a row is about."""
    return position(*((row["name"], "LCM_INIT") if row["kind"] == "STATE" else ("ACTIVE", row["name"])))


def _is_named(row: Columns) -> bool:
    states = VmState if row["kind"] == "STATE" else LcmState
    return states[row["name"]] == int(row["number"])


def _is_shown(row: Columns) -> bool:
    number = int(row["number"])
    shown = vm_word(number, 0) if row["kind"] == "STATE" else vm_word(VmState.ACTIVE, number)
    return shown == row["short"]


def _shows_failure(row: Columns) -> bool:
    number = int(row["number"])
    shown = vm_word(number, 0) if row["kind"] == "STATE" else vm_word(VmState.ACTIVE, number)
    return (shown == FAIL_WORD) is (row["cli_shows_fail"] == "yes")


def _is_in_the_table(row: Columns) -> bool:
    """A number that is not used any more is no position of ours; ACTIVE alone is none of anybody's."""
    if row["category"] == "container":
        return True
    here = at(row)
    known = any(here in (source, table_row.to) for (source, _), found in BY_POSITION.items() for table_row in found)
    named = here in vars(positions).values()
    return (known, named) == ((False, False) if row["category"] == "gap" else (True, True))


def _awaited_kinds(here: positions.Position) -> set[str]:
    """Which drivers a VM in this position may be waiting for."""
    arrivals = (
        row.effect
        for row in ALL_ROWS
        for source in row.sources
        if (row.to or source) == here and row.effect in AWAITED and row.effect is not None
    )
    return {effect.value.partition(".")[0].upper() for effect in arrivals}


def _is_waited_for(row: Columns) -> bool:
    if row["kind"] == "STATE" or row["category"] == "gap":
        return not row["waits_on"] or row["waits_on"] == "none"
    wanted = set() if row["waits_on"].startswith("none") else set(row["waits_on"].split(" or "))
    return _awaited_kinds(at(row)) == wanted


def _holds_capacity(row: Columns) -> bool:
    if row["category"] in ("gap", "container"):
        return True
    here = at(row)
    return all(set(holders(vm)) == set(holds(vm)) for vm in (subject(here, variant) for variant in variants_of(here)))


def _counts_no_quota(row: Columns) -> bool:
    """Holdfast has no quotas; once it has, this column has to be checked."""
    return not any("quota" in field.name for model in (Vm, Host, User) for field in fields(model))


CHECKS = {
    "number": _is_named,
    "short": _is_shown,
    "cli_shows_fail": _shows_failure,
    "category": _is_in_the_table,
    "waits_on": _is_waited_for,
    "host_capacity_held_on": _holds_capacity,
    "counts_in_running_quota": _counts_no_quota,
}


def test_the_table_is_complete() -> None:
    assert len(STATES) == len(VmState) + len(LcmState) == 12 + 72
    assert len({key_of(row) for row in STATES}) == len(STATES)
    assert set(DIFFERENT) <= {key_of(row) for row in STATES}


@pytest.mark.parametrize("row", STATES, ids=key_of)
def test_the_state_is_what_opennebula_has(row: Columns) -> None:
    if key_of(row) in DIFFERENT:
        _, ours = DIFFERENT[key_of(row)]
        assert differences(row) == set(ours)
        assert differences({**row, **ours}) == set()
    else:
        assert differences(row) == set()


def test_operations_are_done_by_drivers() -> None:
    assert set(OPERATIONS) <= AWAITED
