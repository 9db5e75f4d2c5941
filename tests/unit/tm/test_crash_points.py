"""A controller that dies at any moment of a step leaves the old state or the new one, and the step ends as wanted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.tm.crash_points import SCENARIOS

ROOT = Path(__file__).parents[3]
LIMIT_S = 120


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_step_survives_the_death_of_the_controller_before_each_change(name: str, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.tm.crash_points", name, str(tmp_path)],
            cwd=ROOT, env={**os.environ, "OTHER_FILE_SYSTEM": f"{other}/files"},
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= 5, "so many changes at least are made, the transfer file among them"
