"""Every state is known, every transition in the reference or a deviation, every transient state awaits an effect."""

from __future__ import annotations

from holdfast.engine.state import State
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.reference import ALLOWED, KNOWN, STABLE, is_path, name_of, position_of
from holdfast.simulation.checkers.violation import Violation

STATES = "every state is in the table"
TRANSITIONS = "each transition is in the reference or a deviation"
WAITING = "a transient state waits for an open effect, a stable one for none"


def check_position(state: State, before: Vm | None, after: Vm) -> None:
    """The VM as it was stored before, and as it is stored now."""
    position = position_of(after)
    if position not in KNOWN:
        raise Violation(STATES, f"VM {after.oid} is in {position}")
    awaited = state.effects.get(after.effect_id)
    if position in STABLE:
        if after.effect_id >= 0:
            raise Violation(WAITING, f"VM {after.oid} is in {position} and waits for effect {after.effect_id}")
    elif awaited is None or awaited.subject != after.oid:
        raise Violation(WAITING, f"VM {after.oid} is in {position} and waits for no open effect ({after.effect_id})")
    if before is not None and position_of(before) != position:
        _check_step(before, after, position)


def _check_step(before: Vm, after: Vm, position: str) -> None:
    """A batch may take several steps: the last is known to the letter, the ones before it must be possible."""
    came_from = name_of(after.prev_state, after.prev_lcm_state)
    if came_from != position and (came_from, position) not in ALLOWED:
        raise Violation(TRANSITIONS, f"VM {after.oid}: {came_from} -> {position}")
    if not is_path(position_of(before), came_from, steps=2):
        raise Violation(TRANSITIONS, f"VM {after.oid}: {position_of(before)} -> … -> {came_from} -> {position}")
