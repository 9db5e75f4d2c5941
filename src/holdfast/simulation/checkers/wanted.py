"""A VM whose user wanted it off is not started."""

from __future__ import annotations

from holdfast.model.effect import Effect
from holdfast.simulation.checkers.starts import STARTS
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.wishes import Wish, Wishes

OFF = "a VM whose user wanted it off is not started"


def check_wish(wishes: Wishes, effect: Effect) -> None:
    """A start was stored."""
    if effect.kind not in STARTS or effect.subject in wishes.doubted:
        return
    if wishes.of.get(effect.subject) in (Wish.OFF, Wish.GONE):
        raise Violation(
            OFF, f"VM {effect.subject} is to start on host {effect.host_id}; {wishes.by[effect.subject]} was accepted"
        )
