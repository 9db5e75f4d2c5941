"""The table of deviations itself: it speaks of rows that are there, of all their variants, for reasons with a name."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.unit.lifecycle.reference import deviations, event_rows, recover_rows
from tests.unit.lifecycle.reference.deviation_names import NAMES
from tests.unit.lifecycle.reference.expectation import Deviation
from tests.unit.lifecycle.reference.rows import EVENTS, RECOVERY_BY_KEY, Row

EVENT_BY_KEY = {row.key: row for row in EVENTS}
ENTRIES: list[tuple[ModuleType, Row | None, Deviation, str]] = [
    *((event_rows, EVENT_BY_KEY.get(key), entry, key) for key, entry in deviations.EVENTS.items()),
    *((recover_rows, RECOVERY_BY_KEY.get(key), entry, key) for key, entry in deviations.RECOVERIES.items()),
]


@pytest.mark.parametrize(("reader", "row", "entry", "key"), ENTRIES, ids=[key for *_, key in ENTRIES])
def test_an_entry_covers_its_row_in_all_variants(
    reader: ModuleType, row: Row | None, entry: Deviation, key: str
) -> None:
    assert row is not None, f"no row is called {key}"
    assert entry.names
    assert set(entry.names) <= set(NAMES)
    own = set(reader.variants(row))
    covered = {variant for case in entry.cases if not case.circumstances for variant in case.variants or own}
    assert own <= covered


def test_entries_about_other_circumstances_say_which() -> None:
    assert set(deviations.EVENTS_BESIDES) <= set(EVENT_BY_KEY)
    assert set(deviations.RECOVERIES_BESIDES) <= set(RECOVERY_BY_KEY)
    for entry in (*deviations.EVENTS_BESIDES.values(), *deviations.RECOVERIES_BESIDES.values()):
        assert set(entry.names) <= set(NAMES)
        assert all(case.variants or case.circumstances for case in entry.cases)


def test_every_reason_is_the_reason_of_a_row() -> None:
    tables = (deviations.EVENTS, deviations.EVENTS_BESIDES, deviations.RECOVERIES, deviations.RECOVERIES_BESIDES)
    assert {name for table in tables for entry in table.values() for name in entry.names} == set(NAMES)


def test_rows_are_compared_and_not_only_run() -> None:
    """A row whose every column is changed differs in every one of them."""
    row = EVENT_BY_KEY["suspend in RUNNING"]
    slips = {
        "to_lcm_state": "SAVE_STOP",
        "driver_action": "VMM:shutdown",
        "driver_host": "previous",
        "history_effect": "ACTION=9",
        "capacity_effect": "release current",
        "resched_effect": "unchanged",
        "notes": "scheduler woken",
    }
    (step,) = event_rows.steps(row)
    assert event_rows.differences_of(row, step) == []
    for column, slip in slips.items():
        assert len(event_rows.differences_of(row.but({column: slip}), step)) == 1, column


def test_a_phrase_that_nobody_can_read_fails() -> None:
    row = EVENT_BY_KEY["suspend in RUNNING"]
    (step,) = event_rows.steps(row)
    for column in ("driver_action", "history_effect", "capacity_effect", "resched_effect", "notes"):
        with pytest.raises(KeyError, match="no such phrase"):
            event_rows.differences_of(row.but({column: "no such phrase"}), step)
    recovery = RECOVERY_BY_KEY["--retry in PROLOG"]
    with pytest.raises(AssertionError, match="no such phrase"):
        recover_rows.differences_of(
            recovery.but({"side_effects": "no such phrase"}), next(recover_rows.steps(recovery))
        )
