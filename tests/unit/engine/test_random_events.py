"""The production engine under random events (see :mod:`.story`).

Hypothesis looks for a short story that breaks an invariant and shrinks it; seeds tell long ones, for breadth.  A
failing story is printed as the calls that tell it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.unit.engine.story import MOVES, VALUES, Story

SEEDS = range(60)
STEPS = 150
NUMBERS = st.lists(st.integers(0, 5039), min_size=4, max_size=4)


class ShortStories(RuleBasedStateMachine):
    """Told by hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()

    @rule(move=st.sampled_from(MOVES), numbers=NUMBERS)
    def next(self, move: str, numbers: list[int]) -> None:
        """One more move; each of its arguments is one of the numbers."""
        left = iter(numbers)

        def choose(values: Sequence[Any]) -> Any:
            return values[next(left) % len(values)]

        self.story.tell(move, choose)

    def teardown(self) -> None:
        """Every story must end well."""
        if self.story.sound:
            self.story.end_well()


TestShortStories = ShortStories.TestCase
TestShortStories.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_long_story_starts_a_vm_twice_or_leaves_anything_undone(seed: int) -> None:
    random = Random(seed)
    story = Story()
    try:
        for _ in range(STEPS):
            story.tell(random.choice(MOVES), random.choice)
        story.end_well()
    except Exception:
        print(f"seed {seed}; the story so far:", *story.told, sep="\n")
        raise


def test_every_value_is_an_argument_of_some_move() -> None:
    told = Story()
    for move in MOVES:
        told.tell(move, lambda values: values[0])
    assert all(f"{name}=" in " ".join(told.told) for name in VALUES)
