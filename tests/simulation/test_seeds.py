"""Seeds without a violation, the same story for the same seed, and kept stories that once broke a rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.simulation.campaign import campaign, full_story, kept
from holdfast.simulation.plan import FAULTS, Options, draw

SEEDS = 300
STORIES = sorted((Path(__file__).parent / "stories").glob("*.json"))


def test_no_order_of_faults_runs_a_vm_twice_or_loses_it() -> None:
    wrong = []
    for result in campaign(Options(1), SEEDS, jobs=os.cpu_count() or 1):
        outcome = result.outcome
        if outcome.rule:
            again = Options(result.seed).command()
            wrong.append("\n".join([*outcome.tail[-20:], f"{outcome.rule}: {outcome.text}", f"again: {again} --story"]))
    assert not wrong, "\n\n".join(wrong)


def test_the_same_seed_tells_the_same_story_to_the_byte() -> None:
    told = ["\n".join(full_story(draw(Options(7)))[0]) for _ in range(2)]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 200


def test_seeds_are_judged_the_same_in_one_process_and_in_several() -> None:
    options = Options(40, hosts=3, vms=12, minutes=2)
    judged = [[(r.seed, r.outcome.rule, r.outcome.events) for r in campaign(options, 9, jobs)] for jobs in (1, 2, 4)]
    assert judged[0] == judged[1] == judged[2]
    assert [seed for seed, _, _ in judged[0]] == list(range(40, 49))


def test_without_faults_nothing_is_told_of_faults() -> None:
    lines, outcome = full_story(draw(Options(3, faults=())))
    assert not outcome.rule
    assert not [line for line in lines if "fault:" in line]


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_can_be_had_alone(kind: str) -> None:
    told = "\n".join(line for seed in (1, 2, 3) for line in full_story(draw(Options(seed, faults=(kind,))))[0])
    assert "fault:" in told


@pytest.mark.parametrize("minutes", [0.1, 1, 3])
@pytest.mark.parametrize(("hosts", "vms"), [(1, 1), (1, 16), (2, 32), (7, 9)])
def test_small_worlds_and_short_times_end_well_too(hosts: int, vms: int, minutes: float) -> None:
    for result in campaign(Options(1, hosts, vms, minutes), 4, jobs=1):
        assert not result.outcome.rule, f"seed {result.seed}: {result.outcome.rule}: {result.outcome.text}"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_that_once_broke_a_rule_does_so_no_more(path: Path) -> None:
    _, outcome = full_story(kept(path))
    assert not outcome.rule, "\n".join([*outcome.tail, f"{outcome.rule}: {outcome.text}"])
