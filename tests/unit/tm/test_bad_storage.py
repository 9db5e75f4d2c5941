"""Steps fail on storage that is full, read-only, forbidden or without the image; mended, they are done again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.tm.storage_scenarios import SCENARIOS

ROOT = Path(__file__).parents[3]
LIMIT_S = 120


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def may_mount() -> bool:
    if os.geteuid() or not shutil.which("unshare"):
        return False
    return run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).returncode == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_step_fails_with_its_reason_and_succeeds_when_the_storage_is_mended(name: str) -> None:
    if not may_mount():
        pytest.skip("needs root, who may mount in a namespace of its own (unshare -m)")
    with tempfile.TemporaryDirectory() as directory:
        done = run(["unshare", "-m", sys.executable, "-m", "tests.unit.tm.storage_scenarios", name, directory])
    assert done.returncode == 0, done.stdout + done.stderr
