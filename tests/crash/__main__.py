"""Runs one workflow of the matrix, or some of its points: ``python -m tests.crash WORKFLOW [POINT…]``."""

from __future__ import annotations

import sys

from tests.crash.matrix import bench, run
from tests.crash.workflows import WORKFLOWS

if __name__ == "__main__":
    named = {workflow.name: workflow for workflow in WORKFLOWS}
    if len(sys.argv) < 2 or sys.argv[1] not in named:
        sys.exit("usage: python -m tests.crash WORKFLOW [POINT…]; workflows:\n  " + "\n  ".join(named))
    place = bench()
    try:
        wanted = sys.argv[2:]
        outcome = run(named[sys.argv[1]], place, lambda points: wanted or points)
    finally:
        place.close()
    for point in outcome.points:
        print(f"{'FAILED' if point in outcome.failures else 'ok    '} {point}")
    for point, failure in outcome.failures.items():
        print(f"=== {point}\n{failure}")
    print(f"{len(outcome.points)} points, {len(outcome.failures)} failures, {outcome.took_s:.1f} s")
    sys.exit(bool(outcome.failures))
