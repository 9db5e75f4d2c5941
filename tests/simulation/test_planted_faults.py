"""A fault planted in the engine on purpose is found within 200 seeds."""

from __future__ import annotations

import pytest

from holdfast.engine.engine import Engine
from holdfast.simulation.plan import Options, draw
from holdfast.simulation.run import Simulation
from tests.simulation.planted import (
    WithoutCapacityRelease,
    WithoutProofCheck,
    WithoutSharedCheck,
    WithoutStaleAnswerCheck,
)

SEEDS = range(1, 201)
PROOF = {
    "no VM is live on two hosts",
    "no start on another host without proof of death of the old one",
    "no files are moved or removed under a running domain",
}
CAPACITY = {"capacity adds up on every host"}
OWN_FILES = {
    "nothing of a failover asks the dead host",
    "a VM whose files died with its host runs nowhere else, except when it is made anew",
}
STALE = {"an answer to a closed effect changes nothing"}


@pytest.mark.parametrize(
    ("engine", "rules"),
    [
        (WithoutProofCheck, PROOF),
        (WithoutCapacityRelease, CAPACITY),
        (WithoutStaleAnswerCheck, STALE),
        (WithoutSharedCheck, OWN_FILES),
    ],
)
def test_a_planted_fault_is_found_within_two_hundred_seeds(engine: type[Engine], rules: set[str]) -> None:
    for seed in SEEDS:
        plan = draw(Options(seed))
        if Simulation(plan, engine).run().rule in rules and not Simulation(plan).run().rule:
            return
    raise AssertionError(f"{engine.__name__} was not found with {len(SEEDS)} seeds")
