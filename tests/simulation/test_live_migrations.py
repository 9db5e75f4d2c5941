"""The simulated driver's steps of a live migration, held against those of the real one."""

from __future__ import annotations

import itertools

import pytest

from holdfast.simulation.drivers.moves import next_step
from holdfast.simulation.links import Fate, Reply
from holdfast.simulation.machine import Life

real = pytest.importorskip("holdfast.drivers.vmm.moves", reason="needs libvirt-python")
PRESENCE = {
    None: "ABSENT",
    Life.RUNNING: "RUNNING",
    Life.PAUSED: "HALTED",
    Life.ARRIVED: "INCOMING",
}


@pytest.mark.parametrize("failure", [None, "", "it failed"])
@pytest.mark.parametrize("busy", [False, True])
def test_every_step_is_the_one_of_the_real_driver(busy: bool, failure: str | None) -> None:
    """A side that cannot be seen is None there, and a call without an answer here."""
    sides = [*PRESENCE, "out of sight"]
    for here, there in itertools.product(sides, sides):
        real_step = real.next_step(_presence(here), _presence(there), busy, failure)
        assert next_step(_reply(here), _reply(there), busy, failure).name == real_step.name, (here, there)


def _presence(side: Life | str | None) -> object:
    return None if isinstance(side, str) else real.Presence[PRESENCE[side]]


def _reply(side: Life | str | None) -> Reply:
    return Reply(Fate.UNKNOWN) if isinstance(side, str) else Reply(Fate.DONE, "", side)
