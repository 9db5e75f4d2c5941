"""``holdfast simulate``: the production engine under thousands of faults, on virtual time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.simulation.plan import Options, Plan
    from holdfast.simulation.run import Outcome

TAIL = 40
LIMITS = {"hosts": 100, "vms": 1000, "minutes": 1440, "runs": 10_000_000, "jobs": 1024}
INTERRUPTED = 130
_DEFAULTS = {"seed": 1, "runs": 1, "hosts": 5, "vms": 40, "minutes": 10.0, "faults": None, "jobs": os.cpu_count() or 1}
_ELSEWHERE = {"scenario": ("replay", "story", "save", *_DEFAULTS), "replay": ("save", *_DEFAULTS)}
"""What has no meaning beside these two, because their files say it."""
DESCRIPTION = (
    "Runs the engine, the life cycle, failover, detection and store logic of this program against simulated hosts, "
    "disks, BMCs, links and clocks, and checks after every event that no VM runs twice, that capacity adds up, and "
    "that nothing is lost or waits for ever. The same seed tells the same story. Exit code 1: a rule was broken."
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "simulate", help="look for faults with simulated hosts on virtual time", description=DESCRIPTION
    )
    parser.add_argument("--seed", type=int, help="first seed (default 1)")
    parser.add_argument("--runs", type=int, help="how many seeds, one run each (default 1)")
    parser.add_argument("--hosts", type=int, help="simulated hosts (default 5)")
    parser.add_argument("--vms", type=int, help="VMs that run at the beginning (default 40)")
    parser.add_argument("--minutes", type=float, help="simulated time of a run (default 10)")
    parser.add_argument(
        "--faults",
        metavar="KIND,…",
        help="power,network,storage,bmc,clock,agent,controller (default: all of them), or none",
    )
    parser.add_argument("--story", action="store_true", help="print all that happens in the run")
    parser.add_argument("--jobs", type=int, help="processes (default: as many as cores)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="where the shortest failing story is kept")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a story that was kept")
    parser.add_argument("--scenario", type=Path, nargs="+", metavar="FILE", help="run scenario files (TOML)")
    parser.set_defaults(run=_simulate, **_DEFAULTS)


def _simulate(args: argparse.Namespace) -> int:
    from holdfast.model.errors import HoldfastError

    try:
        _refuse_what_would_do_nothing(args)
        if args.scenario:
            return _scenarios(args.scenario)
        if args.replay:
            return _replay(args.replay, args.story)
        options = _options(args)
        if args.save:
            _check_save(args.save)
        return _one(options, args.save) if args.story else _many(options, args)
    except HoldfastError as error:
        print(error.message, file=sys.stderr)
        return 2


def _refuse_what_would_do_nothing(args: argparse.Namespace) -> None:
    from holdfast.model.errors import ArgumentError

    for chosen, idle in _ELSEWHERE.items():
        given = [f"--{name}" for name in idle if getattr(args, name) not in (_DEFAULTS.get(name), False)]
        if getattr(args, chosen) and given:
            raise ArgumentError(f"--{chosen} cannot be combined with {', '.join(given)}.")


def _options(args: argparse.Namespace) -> Options:
    from holdfast.model.errors import ArgumentError
    from holdfast.simulation.foundation import VMS_PER_HOST
    from holdfast.simulation.plan import FAULTS, Options

    given = (
        FAULTS if args.faults is None else tuple(kind for kind in args.faults.split(",") if kind not in ("", "none"))
    )
    unknown = [kind for kind in given if kind not in FAULTS]
    if unknown:
        raise ArgumentError(f"--faults: {', '.join(unknown)} is unknown; there are {', '.join(FAULTS)}, and none.")
    for name in ("hosts", "vms", "minutes", "runs", "jobs"):
        value = getattr(args, name)
        if not 0 < value <= LIMITS[name]:
            raise ArgumentError(f"--{name} must be more than 0 and at most {LIMITS[name]}, it is {value:g}.")
    most = args.hosts * VMS_PER_HOST
    if args.vms > most:
        raise ArgumentError(f"--vms is {args.vms}: {args.hosts} hosts have room for {most}. Ask for more --hosts.")
    if args.story and args.runs > 1:
        raise ArgumentError("--story tells one run: leave --runs out, and name its --seed.")
    return Options(args.seed, args.hosts, args.vms, args.minutes, given)


def _check_save(path: Path) -> None:
    """Before the runs, not after them."""
    from holdfast.model.errors import ArgumentError

    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ArgumentError(f"--save: {path} cannot be written. Name a file in a directory that you may write to.")


def _one(options: Options, save: Path | None) -> int:
    from holdfast.simulation.campaign import full_story
    from holdfast.simulation.plan import draw

    plan = draw(options)
    lines, outcome = full_story(plan)
    _print(lines)
    return _failed(options, plan, outcome, save) if outcome.rule else 0


def _many(options: Options, args: argparse.Namespace) -> int:
    from holdfast.simulation.campaign import campaign
    from holdfast.simulation.plan import draw

    begun = time.monotonic()
    failed: list[tuple[int, Outcome]] = []
    done = 0
    try:
        for result in campaign(options, args.runs, args.jobs):
            done += 1
            if result.outcome.rule:
                failed.append((result.seed, result.outcome))
                print(f"seed {result.seed}: {result.outcome.rule}: {result.outcome.text}", flush=True)
    except KeyboardInterrupt:
        print(
            f"interrupted after {done} of {_count(args.runs, 'run')}, {_count(len(failed), 'violation')}",
            file=sys.stderr,
        )
        return INTERRUPTED
    took_s = time.monotonic() - begun
    print(
        f"{_count(args.runs, 'run')} of {_count(options.minutes, 'simulated minute')}, "
        f"{_count(options.hosts, 'host')}, {_count(options.vms, 'VM')}: {_count(len(failed), 'violation')}, "
        f"{took_s:.1f} s in {_count(min(args.jobs, args.runs), 'process', 'processes')}"
    )
    if not failed:
        return 0
    seed, outcome = failed[0]
    first = replace(options, seed=seed)
    return _failed(first, draw(first), outcome, args.save)


def _count(number: float, one: str, many: str = "") -> str:
    digits = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{digits} {one if number == 1 else many or one + 's'}"


def _failed(options: Options, plan: Plan, outcome: Outcome, save: Path | None) -> int:
    """The rule, the way to see it again, and the shortest story that breaks it."""
    from holdfast.simulation.campaign import keep, shortest
    from holdfast.simulation.shrink import as_story

    print(
        f"\nVIOLATED after {outcome.at:.1f} s: {outcome.rule}\n  {outcome.text}\n  again: {options.command()} --story\n"
    )
    plan, outcome = shortest(plan, outcome)
    print(f"The shortest story ({len(plan.entries)} entries of its plan):")
    _print(as_story(plan))
    print("\nHow it ends:")
    _print(outcome.tail[-TAIL:])
    print(f"\n{outcome.rule}\n  {outcome.text}")
    path = save or Path(f"simulate-{options.seed}.json")
    keep(path, plan, outcome)
    print(f"\nkept; again: holdfast simulate --replay {path} --story")
    return 1


def _replay(path: Path, story: bool) -> int:
    from holdfast.simulation.campaign import full_story, kept

    lines, outcome = full_story(kept(path))
    _print(lines if story else outcome.tail[-TAIL:])
    if not outcome.rule:
        print(f"{path}: no rule is broken.")
        return 0
    print(f"\nVIOLATED after {outcome.at:.1f} s: {outcome.rule}\n  {outcome.text}")
    return 1


def _scenarios(paths: Iterable[Path]) -> int:
    from holdfast.simulation.scenario import load, play

    code = 0
    for path in paths:
        verdict = play(load(path))
        print(f"{'FAILED' if verdict.wrong else 'ok':6}  {path.stem}: {verdict.title}")
        if verdict.wrong:
            code = 1
            _print(f"        {text}" for text in verdict.wrong)
            _print(f"        {line}" for line in verdict.tail[-TAIL:])
    return code


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
