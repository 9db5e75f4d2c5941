"""What happened to VMs and their orders, in order: what a VM's log is written from.

A batch of events tells in its changes only how things stand at its end; these notices tell each step on the way.  They
are not stored, and nothing depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.lifecycle.positions import Position
from holdfast.model.effect import Effect


@dataclass(frozen=True, slots=True)
class Moved:
    """A VM went from one position of its lifecycle to another."""

    vm_id: int
    before: Position
    after: Position


@dataclass(frozen=True, slots=True)
class Ordered:
    """An effect was planned."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Ended:
    """An effect has its end: done, failed or superseded."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Repaired:
    """Somebody did something in the repair of a VM's transfer."""

    vm_id: int
    text: str


Notice = Moved | Ordered | Ended | Repaired
