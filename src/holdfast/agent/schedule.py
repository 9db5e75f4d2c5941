"""Doing something every so often without drift: the n-th turn is due n periods after the first.

A turn that comes too late (the host was frozen, the disk hung) is made once; those missed meanwhile are not made up
for.
"""

import math


def next_due_s(due_s: float, period_s: float, now_s: float) -> float:
    """The first turn after now, on the grid that `due_s` and the period make."""
    if now_s < due_s:
        return due_s
    return due_s + period_s * (math.floor((now_s - due_s) / period_s) + 1)
