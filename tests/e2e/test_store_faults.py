"""The real controller on disks that are full, read-only or broken: nothing is forgotten, nothing is made up."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.agents import ScriptedAgent
from tests.e2e.daemon import Daemon
from tests.e2e.refusing_store import Observed

ROOT = Path(__file__).parents[2]
LIMIT_S = 120
FILE_LIMIT_BYTES = 16 * 1024


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).returncode == 0


@pytest.mark.parametrize("name", ["disk_full", "read_only"])
def test_a_disk_that_takes_nothing_is_named_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("needs the right to mount in a namespace of its own (unshare -rm)")
    done = run(["unshare", "-rm", sys.executable, "-m", "tests.e2e.store_scenarios", name, str(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def observed(daemon: Daemon) -> Iterator[Observed]:
    """A host with an agent, a VM on it, and a start under way."""
    built = Observed.of(daemon, ScriptedAgent)
    yield built
    built.agent.stop()


def test_a_disk_that_fails_to_write_is_named_and_nothing_is_lost(observed: Observed) -> None:
    pid = observed.daemon.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, hard))
    said = observed.until_refused()
    assert "reading or writing its disk failed" in said
    observed.while_refused(said)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    observed.after_mending()


def test_a_database_that_was_moved_away_is_missed_and_nothing_is_lost(observed: Observed) -> None:
    database = observed.daemon.var / "holdfast.db"
    elsewhere = database.with_name("elsewhere.db")
    database.rename(elsewhere)
    said = observed.until_refused()
    assert f"{database} was moved, removed or replaced while it was in use; nothing was stored." in said
    observed.while_refused(said)
    elsewhere.rename(database)
    observed.after_mending()
