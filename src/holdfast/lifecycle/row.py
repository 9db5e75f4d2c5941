"""One row of the transition table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from holdfast.lifecycle.events import VmEvent
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.vocabulary import Change, Guard
from holdfast.model.enums import EffectKind


class At(Enum):
    """Which of the VM's hosts an effect is about."""

    CURRENT = auto()
    PREVIOUS = auto()
    """The host that the VM leaves."""
    BOTH = auto()
    """The current host and the one before."""
    WHERE_IT_MAY_RUN = auto()
    """Every host that may have a domain of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One transition: in any of ``sources``, on ``event``, if ``guard`` holds, go ``to`` (None: stay)."""

    sources: tuple[Position, ...]
    event: VmEvent
    to: Position | None
    changes: tuple[Change, ...] = ()
    effect: EffectKind | None = None
    guard: Guard = Guard.ALWAYS
    at: At = At.CURRENT


def rows(*given: Row) -> tuple[Row, ...]:
    """A part of the table."""
    return given
