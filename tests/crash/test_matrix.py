"""The controller is killed at each journal point of each workflow and started again: it ends as if it had not been.

The points of a workflow are found in an undisturbed run: for each effect before the commit that plans it, between that
commit and the action, within the action (at each step of a hypervisor, at each change that a transfer makes to a file),
and after the action, before its answer is stored.  A failure names the workflow and the point, and how to see it alone.
"""

from __future__ import annotations

import pytest

from tests.crash.conftest import Outcomes
from tests.crash.matrix import UNDISTURBED
from tests.crash.points import BEFORE_COMMIT, COMMITTED, DONE
from tests.crash.workflows import WORKFLOWS

LIMIT_S = 600.0
NAMES = [workflow.name for workflow in WORKFLOWS]


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_point_it_ends_as_if_it_had_not_been(name: str, outcomes: Outcomes) -> None:
    parts = [part.result(LIMIT_S) for part in outcomes[name]]
    points = [point for part in parts for point in part.points]
    print(f"{len(points)} points in {sum(part.took_s for part in parts):.1f} s")
    failures = [again(name, point, why) for part in parts for point, why in part.failures.items()]
    assert not failures, f"{len(failures)} of {len(points)} points\n" + "\n".join(failures)
    for wanted in (BEFORE_COMMIT, COMMITTED, DONE):
        assert any(point.endswith(wanted) for point in points), f"no point {wanted}"


def again(name: str, point: str, why: str) -> str:
    """How to see a failure alone, and what it was."""
    alone = "" if point == UNDISTURBED else f' "{point}"'
    return f'.venv/bin/python -m tests.crash "{name}"{alone}\n{point}: {why}'
