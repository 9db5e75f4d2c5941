"""A failing plan becomes the shortest one that breaks the same rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.simulation.campaign import StoryError, explained, keep, kept
from holdfast.simulation.plan import Entry, Options, Plan, draw
from holdfast.simulation.run import Outcome, Simulation
from holdfast.simulation.shrink import Shrinker, as_story
from tests.simulation.planted import WithoutCapacityRelease


def _as_it_is(plan: Plan) -> Plan:
    return plan


def test_only_the_entries_that_matter_are_left() -> None:
    entries = tuple(Entry(float(at), "create", {"number": at}) for at in range(64))
    plan = Plan(1, 5, 40, 600.0, 390.0, "migrate PAUSE=0", 1.0, entries)

    def judge(tried: Plan) -> Outcome:
        numbers = {entry.args["number"] for entry in tried.entries}
        return Outcome("rule" if {17, 42} <= numbers else "", at=600.0)

    shrinker = Shrinker(judge, _as_it_is)
    shortest, _ = shrinker.shrink(plan, judge(plan))
    assert [entry.args["number"] for entry in shortest.entries] == [17, 42]
    assert (shortest.hosts, shortest.trouble) == (2, 0.0)
    assert shrinker.runs < 120


def test_another_rule_is_not_taken_for_the_same_one() -> None:
    plan = Plan(1, 5, 40, 600.0, 390.0, "migrate PAUSE=0", 0.0, (Entry(1.0, "create"), Entry(2.0, "create")))
    shortest, _ = Shrinker(lambda tried: Outcome("other"), _as_it_is).shrink(plan, Outcome("rule", at=600.0))
    assert shortest.entries == plan.entries


def test_a_planted_fault_shrinks_to_a_short_story_that_can_be_kept(tmp_path: Path) -> None:
    def judge(plan: Plan) -> Outcome:
        return Simulation(plan, WithoutCapacityRelease).run()

    plan = draw(Options(1))
    outcome = judge(plan)
    shortest, found = Shrinker(judge, explained).shrink(plan, outcome)
    assert found.rule == outcome.rule
    assert len(shortest.entries) <= 2
    keep(tmp_path / "story.json", shortest, found)
    again = kept(tmp_path / "story.json")
    assert judge(again).text == found.text
    assert len(as_story(again)) == 1 + len(shortest.entries)


def test_a_file_that_is_no_story_is_refused(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_text("{}")
    with pytest.raises(StoryError, match="is not a story"):
        kept(tmp_path / "story.json")
