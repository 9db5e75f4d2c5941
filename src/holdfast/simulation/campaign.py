"""Many runs: one seed after the other, on several cores, the first failure shrunk and kept."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.model.errors import HoldfastError
from holdfast.simulation.plan import Options, Plan, draw
from holdfast.simulation.run import Outcome, Simulation
from holdfast.simulation.shrink import Shrinker

CHUNK = 4


class StoryError(HoldfastError):
    """A kept story cannot be read; the message names file, rule and way out."""


@dataclass(slots=True)
class Result:
    """One run of a campaign."""

    seed: int
    outcome: Outcome


def judge(plan: Plan) -> Outcome:
    """What comes of a plan."""
    return Simulation(plan).run()


def explained(plan: Plan) -> Plan:
    """The plan with what its people chose, instead of the numbers that made them choose."""
    simulation = Simulation(plan)
    simulation.run()
    chosen = simulation.operators.chosen
    entries = tuple(found for entry in plan.entries if (found := chosen.get(entry, entry)) is not None)
    return replace(plan, entries=entries)


def _judge_seed(options: Options) -> Result:
    return Result(options.seed, judge(draw(options)))


def campaign(options: Options, runs: int, jobs: int) -> Iterator[Result]:
    """The runs of so many seeds, in order, beginning with that of the options."""
    told = [replace(options, seed=options.seed + number) for number in range(runs)]
    if jobs <= 1 or runs == 1:
        yield from map(_judge_seed, told)
        return
    with closing(_pool(jobs)) as pool:
        yield from pool.imap(_judge_seed, told, CHUNK)


def _pool(jobs: int) -> multiprocessing.pool.Pool:
    return multiprocessing.get_context("fork").Pool(jobs)


def shortest(plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
    """The shortest story that breaks the same rule."""
    return Shrinker(judge, explained).shrink(plan, outcome)


def keep(path: Path, plan: Plan, outcome: Outcome) -> None:
    """Writes a story that can be replayed and kept as a test."""
    told = {"rule": outcome.rule, "found": outcome.text, "plan": plan.as_json()}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def kept(path: Path) -> Plan:
    """The plan of a story that was kept; raises StoryError."""
    try:
        return Plan.from_json(json.loads(path.read_text(encoding="utf-8"))["plan"])
    except OSError as error:
        raise StoryError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoryError(f"{path} is not a story that holdfast simulate has kept: {error!r}.") from None


def full_story(plan: Plan) -> tuple[Iterable[str], Outcome]:
    """Every line of a run, and what came of it."""
    simulation = Simulation(plan, story_limit=None)
    outcome = simulation.run()
    return simulation.story.lines(), outcome
