"""Many runs: one seed after the other, on several cores, the first failure shrunk and kept.

Each process has its own pipe to write its results to.  When nobody reads them any more it ends, so that none is left
behind by a campaign that was killed.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from holdfast.model.errors import HoldfastError
from holdfast.simulation.entries import plan_from
from holdfast.simulation.plan import Options, Plan, draw
from holdfast.simulation.run import Outcome, Simulation
from holdfast.simulation.shrink import Shrinker

END_LIMIT_S = 5.0


class WorkerError(HoldfastError):
    """A process that should judge runs is gone."""


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


def campaign(options: Options, runs: int, jobs: int) -> Iterator[Result]:
    """The runs of so many seeds, in order, beginning with that of the options; raises WorkerError."""
    seeds = range(options.seed, options.seed + runs)
    if jobs <= 1 or runs == 1:
        yield from (_judged(options, seed) for seed in seeds)
        return
    workers: list[_Worker] = []
    try:
        for number in range(min(jobs, runs)):
            workers.append(_Worker(options, seeds[number::jobs]))
        for number in range(runs):
            yield workers[number % len(workers)].next()
    finally:
        for worker in workers:
            worker.end()


def _judged(options: Options, seed: int) -> Result:
    return Result(seed, judge(draw(replace(options, seed=seed))))


class _Worker:
    """A process that judges its share of the seeds; it ends with whoever reads its results."""

    def __init__(self, options: Options, seeds: Sequence[int]) -> None:
        context = multiprocessing.get_context("fork")
        self._results, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=self._work, args=(options, seeds, answers), daemon=True)
        self._process.start()
        answers.close()

    def _work(self, options: Options, seeds: Sequence[int], answers: Connection) -> None:
        """In the process.  A run leaves cycles behind: they are collected after it, not again and again during it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._results.close()
        gc.freeze()
        gc.disable()
        try:
            for seed in seeds:
                answers.send(_judged(options, seed))
                gc.collect()
        except BrokenPipeError:
            return

    def next(self) -> Result:
        """Its next result."""
        try:
            result: Result = self._results.recv()
        except EOFError:
            raise WorkerError(
                f"A process of the simulation has ended with exit code {self._process.exitcode}, which it must not: "
                f"look for lack of memory in the system's log, or run with --jobs 1."
            ) from None
        return result

    def end(self) -> None:
        """It is not needed any more."""
        self._process.kill()
        self._process.join(END_LIMIT_S)
        self._results.close()


def shortest(plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
    """The shortest story that breaks the same rule."""
    return Shrinker(judge, explained).shrink(plan, outcome)


def keep(path: Path, plan: Plan, outcome: Outcome) -> None:
    """Writes a story that can be replayed and kept as a test; raises StoryError."""
    told = {"rule": outcome.rule, "found": outcome.text, "plan": plan.as_json()}
    try:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoryError(f"Cannot write {path}: {error.strerror}. Give another file with --save.") from None


def kept(path: Path) -> Plan:
    """The plan of a story that was kept; raises StoryError."""
    try:
        return plan_from(json.loads(path.read_text(encoding="utf-8"))["plan"])
    except OSError as error:
        raise StoryError(f"Cannot read {path}: {error.strerror}.") from None
    except KeyError as error:
        raise StoryError(f"{path} is not a story that holdfast simulate has kept: it has no {error}.") from None
    except (ValueError, TypeError) as error:
        raise StoryError(f"{path} is not a story that holdfast simulate has kept: {error}.") from None


def full_story(plan: Plan) -> tuple[Iterable[str], Outcome]:
    """Every line of a run, and what came of it."""
    simulation = Simulation(plan, story_limit=None)
    outcome = simulation.run()
    return simulation.story.lines(), outcome
