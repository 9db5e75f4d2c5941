"""Rows where Holdfast differs on purpose: each row's key, the names of the reasons, and what Holdfast does instead.

A row that differs without being here fails, and so does an entry whose row has come to hold as it is written.
"""

from __future__ import annotations

from tests.unit.lifecycle.reference import event_deviations, recovery_deviations, removal_deviations
from tests.unit.lifecycle.reference.expectation import Table

_REMOVALS: Table = {
    **removal_deviations.FROM_A_HOST,
    **removal_deviations.FROM_THE_FRONTEND,
    **removal_deviations.FROM_THE_RECORDS,
}

EVENTS: Table = {
    **{key: entry for key, entry in _REMOVALS.items() if not key.startswith("--")},
    **event_deviations.ROWS,
}
"""Of the table of events."""
EVENTS_BESIDES: Table = event_deviations.BESIDES
"""Of events in circumstances that OpenNebula does not tell apart; a row may be in :data:`EVENTS` for another reason."""
RECOVERIES: Table = {
    **{key: entry for key, entry in _REMOVALS.items() if key.startswith("--")},
    **recovery_deviations.STEPS,
    **recovery_deviations.OUTCOMES,
    **recovery_deviations.OPERATIONS,
}
"""Of the matrix of recoveries."""
RECOVERIES_BESIDES: Table = recovery_deviations.BESIDES
"""Of recoveries in such circumstances."""
