"""The SQLite store on real disks that are full, read-only or broken, and under controllers that are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from holdfast.engine.ports import Snapshot
from holdfast.model.errors import StoreError
from holdfast.model.user import User
from holdfast.store.sqlite import SqliteStore

HERE = Path(__file__).parent
LIMIT_S = 60
ROUNDS = 6


def scenario(name: str, directory: Path) -> list[str]:
    return [sys.executable, str(HERE / "fault_scenarios.py"), name, str(directory)]


def run(command: list[str], environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).returncode == 0


@pytest.mark.parametrize("name", ["disk_full", "disk_full_at_birth", "read_only"])
def test_a_disk_that_takes_nothing_is_named_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("needs the right to mount in a namespace of its own (unshare -rm)")
    done = run(["unshare", "-rm", *scenario(name, tmp_path)])
    assert done.returncode == 0, done.stderr


def test_a_write_error_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    done = run(scenario("write_error", tmp_path))
    assert done.returncode == 0, done.stderr


def generation_in(directory: Path) -> int:
    """The one generation that all objects and the counter agree on: only whole transactions are there."""
    store = SqliteStore(directory / "one.db")
    snapshot = store.load()
    store.close()
    return agreed(snapshot)


def agreed(snapshot: Snapshot) -> int:
    generation = snapshot.counters.get("generation", 0)
    names = [stored.name for stored in snapshot.objects if isinstance(stored, User)]
    assert names == ([f"generation {generation}"] * 5 if generation else [])
    return generation


def test_a_commit_refused_because_the_disk_did_not_sync_does_not_come_back_after_a_crash(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("needs gcc to make a disk that fails to sync")
    library = tmp_path / "failing_sync.so"
    built = run([compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "failing_sync.c")])
    assert built.returncode == 0, built.stderr
    environment = {**os.environ, "LD_PRELOAD": str(library), "FAILING_SYNC": str(tmp_path / "failing")}
    done = run(scenario("sync_error", tmp_path), environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert generation_in(tmp_path) == 3


def killed_in_mid_stream(directory: Path, acknowledgements: int) -> int:
    """Kills a controller after that many commits; the last generation it had promised to keep."""
    with subprocess.Popen(scenario("stream", directory), stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        promised = 0
        try:
            for _ in range(acknowledgements):
                promised = int(controller.stdout.readline())
            with pytest.raises(StoreError, match=f"in use by (process {controller.pid}|another process)"):
                SqliteStore(directory / "one.db")
        finally:
            controller.kill()
        rest = controller.stdout.read().splitlines()
        return int(rest[-1]) if rest else promised


def test_a_killed_controller_leaves_whole_transactions_and_the_last_acknowledged_one(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    generation = 0
    for _ in range(ROUNDS):
        promised = killed_in_mid_stream(tmp_path, dice.randrange(1, 120))
        assert promised > generation
        generation = generation_in(tmp_path)
        assert generation in (promised, promised + 1)
