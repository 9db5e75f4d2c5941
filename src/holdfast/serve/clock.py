"""The controller's clock: epoch seconds that never jump.

A wall clock that is set back would stop detection for hours, one that is set forward would declare every host silent.
This one runs with the monotonic clock and follows the wall clock by at most a tenth of the time that passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLEW = 0.1


class SteadyClock:
    """Call it for the time."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._now = wall()
        self._at = monotonic()

    def __call__(self) -> float:
        """Epoch seconds; later than at any call before."""
        at = self._monotonic()
        passed, self._at = at - self._at, at
        self._now += passed
        behind = self._wall() - self._now
        self._now += max(-SLEW * passed, min(SLEW * passed, behind))
        return self._now
