"""The SQLite store's file: whose it is, who may use it, what is refused, and that a refusal leaves it as it was."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdfast.engine.ports import Changes
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.model.errors import StoreError
from holdfast.model.repair import Repair
from holdfast.model.user import User
from holdfast.model.vm_states import LcmState
from holdfast.store.sqlite import SqliteStore
from holdfast.store.writing import EFFECT_RETENTION

USER = User(0, "oneadmin", "00ff")
PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store with one user lies, closed."""
    with closing(SqliteStore(tmp_path / "one.db")) as store:
        store.commit(Changes(1, [USER], counters={"User": 1}))
    return tmp_path / "one.db"


@contextmanager
def edited(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as another program sees it."""
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        yield connection
        connection.commit()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_file_and_its_directory_are_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqliteStore(tmp_path / "var" / "holdfast" / "one.db")) as store:
            store.commit(Changes(1, [USER]))
            assert {entry.name: mode_of(entry) for entry in store.path.parent.iterdir()} == {
                "one.db": 0o600,
                "one.db-wal": 0o600,
                "one.db-shm": 0o600,
                "one.db.lock": 0o600,
            }
        assert mode_of(tmp_path / "var" / "holdfast") == 0o700
    finally:
        os.umask(before)


def test_a_file_open_to_others_is_closed_but_the_users_directory_is_left_alone(path: Path) -> None:
    path.chmod(0o644)
    path.parent.chmod(0o755)
    SqliteStore(path).close()
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o755)


def test_a_path_with_odd_characters_is_just_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "a b?mode=ro#%41.db"
    SqliteStore(odd).close()
    assert odd.exists()


def test_a_second_controller_is_refused_until_the_first_one_ends(path: Path) -> None:
    alias = path.parent / "alias.db"
    alias.symlink_to(path)
    with closing(SqliteStore(path)):
        for name in (path, alias):
            with pytest.raises(StoreError, match=f"in use by (process {os.getpid()}|another process). One controller"):
                SqliteStore(name)
    SqliteStore(alias).close()


def test_a_copy_can_be_taken_while_the_controller_works(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.commit(Changes(1, [User(1, "serveradmin", "00ff")]))
        with edited(path) as reader, closing(sqlite3.connect(path.parent / "copy.db")) as copy:
            reader.backup(copy)
        expected = store.load()
    with closing(SqliteStore(path.parent / "copy.db")) as restored:
        assert restored.load() == expected


def test_a_commit_waits_for_another_programs_lock_only_so_long(path: Path) -> None:
    with closing(SqliteStore(path, busy_timeout_s=0.1)) as store, edited(path) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(StoreError, match="another program holds a lock on it"):
            store.commit(Changes(1, [User(1, "serveradmin", "00ff")]))
        assert time.monotonic() - started < 10, "the wait has a limit"
        other.rollback()
        assert store.load().objects == [USER]
        store.commit(Changes(1, [User(1, "serveradmin", "00ff")]))
        assert len(store.load().objects) == 2


def test_an_election_that_raised_the_epoch_deposes_the_controller(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        with edited(path) as election:
            election.execute("UPDATE meta SET value = '2' WHERE key = 'epoch'")
        with pytest.raises(StoreError, match="of epoch 1, but the store is at epoch 2"):
            store.commit(Changes(1, [User(0, "usurper", "00ff")]))
        assert (store.load().epoch, store.load().objects) == (2, [USER])
        store.commit(Changes(2, [User(1, "serveradmin", "00ff")]))


def test_a_file_that_is_moved_away_under_a_running_controller_is_noticed(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        path.rename(path.parent / "elsewhere.db")
        with pytest.raises(StoreError, match="was moved, removed or replaced while it was in use"):
            store.commit(Changes(1, [User(1, "serveradmin", "00ff")]))
        (path.parent / "elsewhere.db").rename(path)
        store.commit(Changes(1, [User(1, "serveradmin", "00ff")]))
        assert len(store.load().objects) == 2


def test_a_file_of_an_older_version_gets_the_tables_of_kinds_that_came_later(path: Path) -> None:
    with edited(path) as older:
        older.execute("DROP TABLE repair_pool")
    repair = Repair(3, LcmState.PROLOG_FAILURE, "transfer.0.prolog", ("CLONE x",))
    with closing(SqliteStore(path)) as store:
        store.commit(Changes(1, [repair]))
        assert repair in store.load().objects


def text_file(path: Path) -> None:
    path.write_text("My notes, longer than a database header, on what to buy: milk, bread, a BMC that works.\n" * 3)


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def database_of_another_program(path: Path) -> None:
    path.unlink()
    with edited(path) as other:
        other.execute("CREATE TABLE vm_pool (oid INTEGER PRIMARY KEY, body MEDIUMTEXT)")


def store_of_a_newer_version(path: Path) -> None:
    with edited(path) as newer:
        newer.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")


def store_without_schema(path: Path) -> None:
    with edited(path) as broken:
        broken.execute("DELETE FROM meta")


def store_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: PAGE_BYTES * 2])


def store_of_garbage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (text_file, "is no SQLite database, or it was damaged. It was left as it is: put back a copy"),
        (empty_file, "is no SQLite database, or it was damaged"),
        (database_of_another_program, "database of another program. It was left as it is: give another path"),
        (store_of_a_newer_version, "it has schema 2, this version of Holdfast knows 1. Run the version that wrote it"),
        (store_without_schema, "its schema is None where a number should be. Put back a copy"),
        (store_cut_short, "it is damaged .* put back a copy of the store"),
        (store_of_garbage, "it is damaged .* put back a copy of the store"),
    ],
)
def test_a_file_that_is_not_a_sound_store_is_named_and_left_as_it_is(
    path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    sound = path.read_bytes()
    damage(path)
    damaged = path.read_bytes()
    with pytest.raises(StoreError, match=reason) as refusal:
        SqliteStore(path)
    assert str(path) in refusal.value.message
    assert path.read_bytes() == damaged
    path.write_bytes(sound)
    with closing(SqliteStore(path)) as repaired:
        assert repaired.load().objects == [USER]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"oid":0,"name":"a","password":"b","shoe_size":"44"}', "field shoe_size of User is unknown. Run the version"),
    ],
)
def test_an_object_that_cannot_be_read_is_named(path: Path, body: str, reason: str) -> None:
    with edited(path) as other:
        other.execute("UPDATE user_pool SET body = ?", (body,))
    with (
        closing(SqliteStore(path)) as store,
        pytest.raises(StoreError, match=f"{path}: User 0 cannot be read: {reason}"),
    ):
        store.load()


def test_a_damaged_page_is_found_when_the_store_is_loaded(path: Path) -> None:
    with edited(path) as other:
        (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'user_pool'").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE_BYTES : root * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    with closing(SqliteStore(path)) as store, pytest.raises(StoreError, match=f"{path}: it is damaged"):
        store.load()
    assert path.read_bytes() == bytes(content)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.db").mkdir()
    with pytest.raises(StoreError, match=r"one\.db cannot be used: Is a directory"):
        SqliteStore(tmp_path / "one.db")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(StoreError, match=r"The store's directory .*var cannot be made: File exists"):
        SqliteStore(tmp_path / "var" / "one.db")


def test_a_log_without_its_database_is_not_taken_for_a_new_store(path: Path) -> None:
    path.rename(path.parent / "elsewhere.db")
    log = path.with_name("one.db-wal")
    log.write_bytes(b"the newest changes")
    with pytest.raises(StoreError, match=r"is missing, but its log one\.db-wal is there"):
        SqliteStore(path)
    assert log.read_bytes() == b"the newest changes"
    assert not path.exists()


def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "one.db.new").write_bytes(b"half")
    (tmp_path / "one.db.new-journal").write_bytes(b"half")
    with closing(SqliteStore(tmp_path / "one.db")) as store:
        assert store.load().objects == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["one.db", "one.db.lock"]


def test_closed_effects_stay_for_the_audit_until_they_are_old(path: Path) -> None:
    def effect(oid: int, state: EffectState) -> Effect:
        return Effect(oid, EffectKind.VMM_DEPLOY, 17, 5, 1.0, 2.0, 1, state)

    with closing(SqliteStore(path)) as store:
        store.commit(Changes(1, [effect(0, EffectState.DONE), effect(1, EffectState.RUNNING)]))
        store.commit(Changes(1, [effect(2, EffectState.FAILED), effect(3, EffectState.SUPERSEDED)]))
        store.commit(Changes(1, [effect(EFFECT_RETENTION + 1, EffectState.DONE)]))
        with edited(path) as auditor:
            rows = auditor.execute("SELECT oid, state, kind, subject FROM effect ORDER BY oid").fetchall()
    assert rows == [
        (1, "running", "vmm.deploy", 17),
        (2, "failed", "vmm.deploy", 17),
        (3, "superseded", "vmm.deploy", 17),
        (EFFECT_RETENTION + 1, "done", "vmm.deploy", 17),
    ]
