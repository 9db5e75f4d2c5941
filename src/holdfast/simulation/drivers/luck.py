"""What chance, or a plan, has in store for one order of a driver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from holdfast.engine.ports import Order
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.simulation.chance import Chance

_NUMBER = {kind: number for number, kind in enumerate(EffectKind)}


class Turn(Enum):
    """How it goes."""

    WELL = auto()
    FAILS = auto()
    SLOWLY = auto()
    """Longer than the order's time, perhaps."""
    LOST = auto()
    """It is carried out, and the answer gets lost."""
    LATE = auto()
    """It is carried out, and the answer takes its time; the effect may have been superseded or expired by then."""
    MUTE = auto()
    """The driver never says anything."""


_SHARES = ((Turn.FAILS, 0.05), (Turn.SLOWLY, 0.04), (Turn.LOST, 0.02), (Turn.LATE, 0.04), (Turn.MUTE, 0.005))


TURNS = {turn.name.lower(): turn for turn in Turn}


@dataclass(slots=True)
class Fated:
    """Steps that go wrong because the plan says so: which ones, how, and how many more of them."""

    kind: EffectKind
    turn: Turn
    vm_id: int | None = None
    hid: int | None = None
    times: int | None = None
    """None: for ever."""

    def takes(self, effect: Effect) -> bool:
        """Whether this order is one of them; it is counted then."""
        if self.times == 0 or effect.kind is not self.kind:
            return False
        if self.vm_id not in (None, effect.subject) or self.hid not in (None, effect.host_id):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Luck:
    """How an order goes, and how quick its driver is (0 to 1, 1 is slowest)."""

    turn: Turn
    pace: float
    other: float
    """Another number from 0 to 1, for what the order alone knows."""

    def takes_s(self, low: float, high: float, slow: float) -> float:
        """How long it takes: between low and high, or up to slow when it goes SLOWLY."""
        top = slow if self.turn is Turn.SLOWLY else high
        return low + (top - low) * self.pace

    @property
    def fails(self) -> bool:
        """It is going to fail."""
        return self.turn is Turn.FAILS


class Fortune:
    """Luck for every order; ``trouble`` scales how often things go wrong, 0 means never."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.trouble = 0.0
        self.fated: list[Fated] = []
        """What a plan says comes before chance; the newest first."""

    def of(self, order: Order) -> Luck:
        """This order's luck; a repetition has its own."""
        effect = order.effect
        question = (_NUMBER[effect.kind], effect.subject, effect.host_id)
        told = next((fated.turn for fated in reversed(self.fated) if fated.takes(effect)), None)
        drawn = self._turn(question)
        return Luck(told or drawn, self._chance.draw(1, *question), self._chance.draw(2, *question))

    def _turn(self, question: tuple[int, ...]) -> Turn:
        if not self.trouble:
            return Turn.WELL
        drawn = self._chance.draw(0, *question) / self.trouble
        for turn, share in _SHARES:
            drawn -= share
            if drawn < 0:
                return turn
        return Turn.WELL
