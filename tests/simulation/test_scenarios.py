"""Every scenario file comes out as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.simulation.scenario import load, play

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_comes_out_as_it_says(path: Path) -> None:
    verdict = play(load(path))
    assert not verdict.wrong, "\n".join([verdict.title, *verdict.wrong, *verdict.tail])
