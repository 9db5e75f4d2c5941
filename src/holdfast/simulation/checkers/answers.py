"""An answer to an effect that was superseded, or that has expired, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.engine.engine import Batch
from holdfast.engine.events import Answered
from holdfast.model.effect import Effect
from holdfast.simulation.checkers.violation import Violation

STALE = "an answer to a closed effect changes nothing"


class Answers:
    """Keeps its own list of open effects."""

    def __init__(self) -> None:
        self._open: dict[int, Effect] = {}

    def published(self, batch: Batch) -> list[Effect]:
        """A batch that holds nothing but late answers stores nothing; returns the open effects that went well."""
        events = batch.events
        if (
            events
            and not batch.is_empty
            and all(isinstance(e, Answered) and e.effect_id not in self._open for e in events)
        ):
            named = ", ".join(str(event.effect_id) for event in events if isinstance(event, Answered))
            changed = ", ".join(f"{type(stored).__name__} {stored.oid}" for stored in batch.changes.puts)
            raise Violation(STALE, f"effect {named} was closed, its answer changed {changed}")
        well = [
            self._open[event.effect_id]
            for event in events
            if isinstance(event, Answered) and event.answer.ok and event.effect_id in self._open
        ]
        for stored in batch.changes.puts:
            if isinstance(stored, Effect):
                if stored.state.is_open:
                    self._open[stored.oid] = stored
                else:
                    self._open.pop(stored.oid, None)
        return well

    def restarted(self, open_effects: Mapping[int, Effect]) -> None:
        """What a restarted controller takes up."""
        self._open = dict(open_effects)
