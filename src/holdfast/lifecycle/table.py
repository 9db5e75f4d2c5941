"""The VM's transition table.

One row says: in any of these positions, on this event, when the guard holds, go there, make these changes, ask the
driver for this effect.  Rows are tried in order; the first whose guard holds wins; when none holds, the last guard's
refusal is the answer.  A (position, event) pair without a row is not available.  ``to=None`` stays.

Source: OpenNebula's life cycle (positions, numbers, history records, what each recovery does), except where Holdfast
deviates on purpose: a start needs :data:`Guard.MOVABLE`, and a VM whose host is proven dead is resolved instead of
left behind (``docs/adr/0003-proof-before-start.md``); the other deviations are in ``docs/adr/0012-whole-lifecycle.md``.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.lifecycle.events import VmEvent
from holdfast.lifecycle.positions import PLACED, Position
from holdfast.lifecycle.row import Row
from holdfast.lifecycle.transitions import endings, monitoring, moves, operations, placement, recoveries, removal, stops

__all__ = ["ALL_ROWS", "BY_POSITION", "PARTS", "PLACED", "Position", "Row"]

PARTS: dict[str, tuple[Row, ...]] = {
    "placement": (*placement.WAITS, *placement.DEPLOYS, *placement.BOOTS),
    "moves": (*moves.ORDERS, *moves.LEGS, *moves.LIVE_FAILURE),
    "stops": (*stops.POWEROFFS, *stops.SAVES, *stops.UNDEPLOYS, *stops.SIGNALS),
    "endings": endings.TERMINATIONS,
    "operations": (
        *(*operations.DEVICES, *operations.SNAPSHOTS, *operations.SIZES, *operations.COPIES),
        *operations.ENDS,
    ),
    "removal": (*removal.DELETIONS, *removal.RECREATIONS, *removal.FORGETTING, *removal.CLEANUPS),
    "recoveries": (*recoveries.RETRIES, *recoveries.SUCCESSES, *recoveries.FAILURES, *recoveries.BY_WORD),
    "monitoring": (*monitoring.SIGHTINGS, *monitoring.DEATHS),
}
"""The rows by theme."""

ALL_ROWS: tuple[Row, ...] = tuple(row for part in PARTS.values() for row in part)


def _index(rows: Iterable[Row]) -> dict[tuple[Position, VmEvent], tuple[Row, ...]]:
    found: dict[tuple[Position, VmEvent], tuple[Row, ...]] = {}
    for row in rows:
        for source in dict.fromkeys(row.sources):
            found[source, row.event] = (*found.get((source, row.event), ()), row)
    return found


BY_POSITION = _index(ALL_ROWS)
