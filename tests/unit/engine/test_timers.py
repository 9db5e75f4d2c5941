"""Stored deadlines, in order of time."""

from dataclasses import replace

from holdfast.engine.timers import SLACK, Timers
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState, FailoverState
from tests.unit.failover.subjects import a_failover


def effect(oid: int, deadline: float, state: EffectState = EffectState.RUNNING) -> Effect:
    """An effect with this deadline."""
    return Effect(oid, EffectKind.TM_PROLOG, 1, 0, 0.0, deadline, 1, state)


def test_an_effect_is_due_a_little_after_its_deadline_and_only_once() -> None:
    timers = Timers(grace_s=2.0)
    timers.watch_effect(effect(1, 100.0))
    assert timers.next_at() == 102.0
    assert timers.due_effects(101.9) == []
    assert timers.due_effects(102.0) == [1]
    assert timers.due_effects(1000.0) == []
    assert timers.next_at() is None


def test_effects_are_due_in_order_of_time_each_once() -> None:
    timers = Timers(grace_s=0.0)
    for oid, deadline in ((1, 30.0), (2, 10.0), (3, 20.0), (2, 15.0)):
        timers.watch_effect(effect(oid, deadline))
    assert timers.due_effects(25.0) == [2, 3]
    assert timers.due_effects(30.0) == [1]


def test_a_closed_effect_is_not_watched() -> None:
    timers = Timers(grace_s=0.0)
    timers.watch_effect(effect(1, 10.0, EffectState.DONE))
    assert timers.next_at() is None


def test_a_failover_is_due_at_its_next_reading_and_at_its_deadline() -> None:
    timers = Timers(grace_s=2.0)
    timers.watch_failover(replace(a_failover(), deadline=50.0, next_probe=12.0))
    assert timers.next_at() == 12.0
    assert timers.due_failovers(12.0) == [5]
    assert timers.due_failovers(50.0) == [5]


def test_only_the_watch_of_a_failover_has_a_time() -> None:
    timers = Timers(grace_s=2.0)
    for state in FailoverState:
        if state is not FailoverState.WATCHING:
            timers.watch_failover(replace(a_failover(state), deadline=50.0, next_probe=12.0))
    assert timers.next_at() is None


def test_entries_of_effects_that_ended_in_time_do_not_pile_up() -> None:
    timers = Timers(grace_s=0.0)
    for oid in range(10 * SLACK):
        timers.watch_effect(effect(oid, 3600.0 + oid))
        timers.tidy({oid})
    assert len(timers.due_effects(1e9)) <= 2 * SLACK
