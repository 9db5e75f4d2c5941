"""Stored deadlines in order of time: of effects, and of failovers.

An entry whose object has moved on is skipped by the reader.  Most effects end long before their deadline, so their
entries are thrown out when they are the greater part.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Sized
from typing import Protocol

from holdfast.model.effect import Effect
from holdfast.model.enums import FailoverState
from holdfast.model.failover import Failover

SLACK = 1000
"""So many outdated entries are always tolerated."""


class Ids(Container[int], Sized, Protocol):
    """The ids of open effects."""


class Timers:
    """Two heaps; single entries are never removed, only overtaken."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._effects: list[tuple[float, int]] = []
        self._failovers: list[tuple[float, int]] = []

    def watch_effect(self, effect: Effect) -> None:
        """Notes the effect's deadline."""
        if effect.state.is_open:
            heapq.heappush(self._effects, (effect.deadline + self._grace_s, effect.oid))

    def tidy(self, open_effects: Ids) -> None:
        """Throws out the entries of closed effects, when there are many of them."""
        if len(self._effects) > 2 * len(open_effects) + SLACK:
            self._effects = [entry for entry in self._effects if entry[1] in open_effects]
            heapq.heapify(self._effects)

    def watch_failover(self, failover: Failover) -> None:
        """Notes the failover's deadline and its next reading."""
        if failover.state is FailoverState.WATCHING:
            heapq.heappush(self._failovers, (failover.deadline, failover.oid))
            if failover.next_probe:
                heapq.heappush(self._failovers, (failover.next_probe, failover.oid))

    def due_effects(self, now: float) -> list[int]:
        """Effects whose deadline has passed."""
        return _due(self._effects, now)

    def due_failovers(self, now: float) -> list[int]:
        """Failovers that have something to do by the clock."""
        return _due(self._failovers, now)

    def next_at(self) -> float | None:
        """When the next entry is due; None when there is none."""
        firsts = [heap[0][0] for heap in (self._effects, self._failovers) if heap]
        return min(firsts, default=None)


def _due(heap: list[tuple[float, int]], now: float) -> list[int]:
    found: list[int] = []
    while heap and heap[0][0] <= now:
        found.append(heapq.heappop(heap)[1])
    return list(dict.fromkeys(found))
