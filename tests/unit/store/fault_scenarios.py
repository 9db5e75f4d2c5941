"""Controllers in trouble, each run as a process of its own by ``test_sqlite_faults.py``: NAME DIRECTORY.

A scenario asserts what it sees and ends with 0; what it leaves on the disk is looked at by the test.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

from holdfast.engine.ports import Changes
from holdfast.model.errors import StoreError
from holdfast.model.user import User
from holdfast.store.sqlite import SqliteStore

MANY = 5
PADDING = "x" * 20_000
LIMIT_BYTES = 400_000


def changes(generation: int, padding: str = "") -> Changes:
    """One transaction that is easy to tell from half of it: several objects and a counter say the same."""
    users = [User(oid, f"generation {generation}", padding) for oid in range(MANY)]
    return Changes(1, users, counters={"generation": generation})


def growing(generation: int) -> Changes:
    """One transaction that needs new room on the disk."""
    return Changes(1, [User(generation, "u", PADDING)], counters={"generation": generation})


def refused(store: SqliteStore, change: Changes) -> str:
    """Why the store does not take it; checks that it is as it was before."""
    before = store.load()
    try:
        store.commit(change)
    except StoreError as error:
        assert store.load() == before, "a refused commit left a trace"
        return error.message
    return ""


def fill(store: SqliteStore) -> tuple[int, str]:
    """Commits until the store refuses; the number of the refused commit and the reason."""
    for generation in range(1000):
        reason = refused(store, growing(generation))
        if reason:
            return generation, reason
    raise AssertionError("this never fills")


def refused_opening(path: Path) -> str:
    """Why the store cannot be opened."""
    try:
        SqliteStore(path).close()
    except StoreError as error:
        return error.message
    return ""


def disk_full(directory: Path) -> None:
    """A disk of 3 MB, on which somebody else's file takes the room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(directory)], check=True, timeout=20)
    (directory / "other.log").write_bytes(bytes(1_000_000))
    store = SqliteStore(directory / "one.db")
    last, reason = fill(store)
    assert "its disk is full" in reason, reason
    assert "Free space there" in reason, reason
    assert "its disk is full" in refused(store, growing(last)), "it stays full"
    (directory / "other.log").unlink()
    store.commit(growing(last))
    expected = store.load()
    assert len(expected.objects) == last + 1
    store.close()
    again = SqliteStore(directory / "one.db")
    assert again.load() == expected
    again.close()


def disk_full_at_birth(directory: Path) -> None:
    """No room for a new store; room comes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)], check=True, timeout=20)
    (directory / "other.log").write_bytes(bytes(50_000))
    assert "its disk is full" in refused_opening(directory / "one.db")
    assert not (directory / "one.db").exists()
    subprocess.run(["mount", "-o", "remount,size=3m", str(directory)], check=True, timeout=20)
    store = SqliteStore(directory / "one.db")
    store.commit(changes(1))
    store.close()


def read_only(directory: Path) -> None:
    """The file system was mounted read-only: the directory, then the file alone."""
    store = SqliteStore(directory / "one.db")
    store.commit(changes(1))
    expected = store.load()
    store.close()
    content = (directory / "one.db").read_bytes()
    for mounted in (directory / "one.db", directory):
        subprocess.run(["mount", "--bind", str(mounted), str(mounted)], check=True, timeout=20)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True, timeout=20)
        assert "Read-only file system" in refused_opening(directory / "one.db"), mounted
        subprocess.run(["umount", str(mounted)], check=True, timeout=20)
    assert (directory / "one.db").read_bytes() == content
    again = SqliteStore(directory / "one.db")
    assert again.load() == expected
    again.commit(changes(2))
    again.close()


def write_error(directory: Path) -> None:
    """Writing fails in the middle of a commit: files may not grow past a limit."""
    store = SqliteStore(directory / "one.db")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
    last, reason = fill(store)
    assert "reading or writing its disk failed" in reason, reason
    assert last > 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.commit(growing(last))
    expected = store.load()
    store.close()
    again = SqliteStore(directory / "one.db")
    assert again.load() == expected
    again.close()


def sync_error(directory: Path) -> None:
    """The disk fails to sync, recovers, fails again; then the power goes."""
    switch = directory / "failing"
    store = SqliteStore(directory / "one.db")
    store.commit(changes(1))
    switch.touch()
    assert "its disk failed" in refused(store, changes(2, PADDING))
    switch.unlink()
    store.commit(changes(3))
    switch.touch()
    assert "its disk failed" in refused(store, changes(4, PADDING))
    os.kill(os.getpid(), signal.SIGKILL)


def stream(directory: Path) -> None:
    """Commits without end and says so after each one."""
    store = SqliteStore(directory / "one.db")
    first = store.load().counters.get("generation", 0) + 1
    for generation in count(first):
        store.commit(changes(generation, PADDING[: generation % 7 * 1000]))
        print(generation, flush=True)


if __name__ == "__main__":
    scenario, place = sys.argv[1:]
    {
        "disk_full": disk_full,
        "disk_full_at_birth": disk_full_at_birth,
        "read_only": read_only,
        "write_error": write_error,
        "sync_error": sync_error,
        "stream": stream,
    }[scenario](Path(place))
