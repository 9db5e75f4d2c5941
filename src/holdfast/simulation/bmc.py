"""A host's BMC, through which it is fenced: well, slow, dead, refusing, flapping, or lying.

A liar says "off" of a host that is on.  Two witnesses stand against each other then, the device and the heartbeat on
the shared datastore; nobody can tell the truth when both are wrong at the same time, so a liar stays silent while the
heartbeat of a living host cannot be seen, or has only just begun again.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from holdfast.simulation.machine import Machine

if TYPE_CHECKING:
    from holdfast.simulation.world import Storage


BEATS_AFTER_S = 10.0


class Mood(Enum):
    """How a BMC behaves."""

    WELL = "well"
    SLOW = "slow"
    DEAD = "dead"
    REFUSES = "refuses"
    FLAPPING = "flapping"
    LIES = "lies"


class Bmc:
    """Answers readings and orders; ``ask`` and ``switch_off`` say what came of it."""

    def __init__(self, machine: Machine, storage: Storage) -> None:
        self.machine = machine
        self.mood = Mood.WELL
        self._storage = storage
        self._turn = 0

    def mood_now(self) -> Mood:
        """The mood for one order: a flapping device answers, then fails, then does not answer at all."""
        if self.mood is Mood.FLAPPING:
            self._turn += 1
            return (Mood.WELL, Mood.REFUSES, Mood.DEAD)[self._turn % 3]
        if self.mood is Mood.LIES and not self._can_be_caught():
            return Mood.DEAD
        return self.mood

    def _can_be_caught(self) -> bool:
        machine = self.machine
        beats = machine.writes_heartbeats and machine.up_s > BEATS_AFTER_S
        return not machine.powered or (beats and self._storage.answers_controller)

    def reads_off(self, mood: Mood) -> bool:
        """What a reading says."""
        return mood is Mood.LIES or not self.machine.powered
