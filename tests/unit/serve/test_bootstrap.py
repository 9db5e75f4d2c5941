"""The first start: credentials, the master key, and the objects that every installation has."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from holdfast.engine.engine import Engine
from holdfast.engine.settings import Settings
from holdfast.model.errors import HoldfastError
from holdfast.serve.bootstrap import credentials, first_objects, master_key, prepare_directories
from holdfast.serve.config import ConfigError
from holdfast.store.memory import MemoryStore
from tests.unit.engine.rig import NoHooks

NOW = 1_000_000.0


def test_credentials_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / ".one" / "one_auth"
    name, password = credentials(path)
    assert name == "oneadmin"
    assert len(password) >= 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials(path) == (name, password)
    assert [entry.name for entry in path.parent.iterdir()] == ["one_auth"], "no draft is left"


@pytest.mark.parametrize("content", [b"", b"oneadmin", b":secret", b"oneadmin:", b"\n", b"a:b\nc:d\n", b"a:\xff"])
def test_credentials_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one_auth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="must hold one line of UTF-8 text, name:password"):
        credentials(path)


def test_a_password_may_hold_colons(tmp_path: Path) -> None:
    path = tmp_path / "one_auth"
    path.write_text("oneadmin:a:b:c\n")
    assert credentials(path) == ("oneadmin", "a:b:c")


def test_the_master_key_is_made_once_and_a_damaged_one_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent_master.key"
    key = master_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert master_key(path) == key
    path.write_bytes(key[:31])
    with pytest.raises(ConfigError, match="is damaged"):
        master_key(path)
    assert path.read_bytes() == key[:31]


def started(store: MemoryStore, name: str, password: str) -> Engine:
    """What the daemon does when it starts."""
    engine = Engine(store, Settings(), NoHooks(), NOW)
    first_objects(engine, name, password, Path("/ds"))
    return engine


def test_a_new_store_gets_its_users_and_datastores_and_an_old_one_keeps_its_own() -> None:
    store = MemoryStore()
    state = started(store, "oneadmin", "secret").state
    assert sorted(state.users) == [0, 1]
    assert [state.datastores[oid].name for oid in (0, 1, 2)] == ["system", "default", "files"]
    assert state.datastores[0].base_path == "/ds/0"
    assert store.load().counters == {"User": 2, "Datastore": 100}
    store = store.reload()
    before = store.load()
    started(store, "oneadmin", "secret")
    assert store.load() == before, "nothing to do"


def test_a_changed_password_is_taken_over_and_nothing_else_changes() -> None:
    store = MemoryStore()
    before = started(store, "oneadmin", "old").state
    store = store.reload()
    state = started(store, "admin", "new").state
    assert (state.users[0].name, state.users[0].password) == ("admin", hashlib.sha256(b"new").hexdigest())
    assert state.datastores == before.datastores
    assert state.users[1] == before.users[1]


def test_directories_are_made_and_one_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    prepare_directories(tmp_path / "var", tmp_path / "ds")
    prepare_directories(tmp_path / "var", tmp_path / "ds")
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    assert sorted(entry.name for entry in (tmp_path / "ds").iterdir()) == ["0", "1", "2"]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"Cannot make directory {tmp_path}/file/var: Not a directory"):
        prepare_directories(tmp_path / "file" / "var", tmp_path / "ds")
    (tmp_path / "ds" / "1").rmdir()
    (tmp_path / "ds" / "1").touch()
    with pytest.raises(HoldfastError, match=f"Cannot make datastore directory {tmp_path}/ds/1: File exists"):
        prepare_directories(tmp_path / "var", tmp_path / "ds")
