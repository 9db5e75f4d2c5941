"""Short scenarios with assertions, told in TOML files.

A scenario is a plan that people have written: the size of the world, what is done when (``[[do]]``, the entries of
:mod:`.plan`, :mod:`.faults` and :mod:`.operators`), and what must come of it (``[[expect]]``, :mod:`.expectations`).
The checkers of every run look at scenarios too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.model.errors import HoldfastError
from holdfast.simulation.entries import entries_of
from holdfast.simulation.expectations import Expectation, expectation
from holdfast.simulation.foundation import BEGIN, VMS_PER_HOST
from holdfast.simulation.plan import MODES, Plan
from holdfast.simulation.run import Simulation

KEYS = {"title", "hosts", "vms", "seconds", "heal_at", "mode", "pause", "force", "fencing", "seed", "trouble", "apart"}


class ScenarioError(HoldfastError):
    """A scenario file cannot be used; the message names file, rule and way out."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done, and what is expected."""

    title: str
    plan: Plan
    expectations: tuple[Expectation, ...]


@dataclass(slots=True)
class Verdict:
    """What came of a scenario: every expectation that was disappointed."""

    title: str
    wrong: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)


def load(path: Path) -> Scenario:
    """Reads a file; raises ScenarioError."""
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
        return _scenario(told)
    except OSError as error:
        raise ScenarioError(f"Cannot read scenario {path}: {error.strerror}.") from None
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"Scenario {path}: {error}") from None


def _scenario(told: dict[str, Any]) -> Scenario:
    steps, expected = told.pop("do", []), told.pop("expect", [])
    unknown = sorted(told.keys() - KEYS)
    if unknown:
        raise ValueError(f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(KEYS))}")
    title, mode = told.get("title"), told.get("mode", "migrate")
    if not isinstance(title, str) or not title:
        raise ValueError("it needs a title, which says what is to come of it")
    if mode not in MODES:
        raise ValueError(f'mode is "{mode}", it must be one of {", ".join(sorted(MODES))}')
    seconds = _number(told, "seconds", 120)
    sizes = [int(_number(told, name, usual)) for name, usual in (("seed", 1), ("hosts", 3), ("vms", 6))]
    if not 0 < sizes[2] <= sizes[1] * VMS_PER_HOST:
        raise ValueError(f"vms is {sizes[2]}: {sizes[1]} hosts have room for 1 to {sizes[1] * VMS_PER_HOST}")
    apart = int(_number(told, "apart", 0))
    heal_at, trouble = _number(told, "heal_at", seconds), _number(told, "trouble", 0)
    plan = Plan(sizes[0], sizes[1], sizes[2], seconds, heal_at, _hook(told), trouble, entries_of(steps), apart)
    return Scenario(title, plan, tuple(expectation(dict(item)) for item in expected))


def _number(told: Mapping[str, Any], name: str, usual: float) -> float:
    value = told.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name} is {value!r}, it must be a number, not below 0")
    return float(value)


def _hook(told: Mapping[str, Any]) -> str:
    flags = [f"PAUSE={int(_number(told, 'pause', 0))}"]
    if told.get("force"):
        flags.append("FORCE=YES")
    if told.get("fencing") is False:
        flags.append("FENCING=NO")
    return f"{told.get('mode', 'migrate')} " + "\n".join(flags)


def play(scenario: Scenario) -> Verdict:
    """Runs it, and holds what came of it against what was expected."""
    simulation = Simulation(scenario.plan, story_limit=None)
    wrong: list[str] = []
    for expected in scenario.expectations:
        if expected.at is not None:
            simulation.kernel.at(BEGIN + expected.at, lambda one: wrong.extend(one.disappointed(simulation)), expected)
    outcome = simulation.run()
    if outcome.rule:
        wrong.append(f"{outcome.rule}: {outcome.text} (after {outcome.at:.1f} s)")
    for expected in scenario.expectations:
        if expected.at is None:
            wrong.extend(expected.disappointed(simulation))
    return Verdict(scenario.title, wrong, simulation.story.tail(60) if wrong else [])


def play_all(paths: Iterable[Path]) -> Iterable[tuple[Path, Verdict]]:
    """One file after the other."""
    for path in paths:
        yield path, play(load(path))
