"""The start: credentials, the agents' master key, the objects every OpenNebula has, and the collector's exemption."""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.engine.engine import Batch, Engine
from holdfast.engine.ports import Changes, Stored
from holdfast.engine.tm_conf import TmConf
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.user import User
from holdfast.serve.config import ConfigError

FIRST_DATASTORE = 100


def credentials(path: Path) -> tuple[str, str]:
    """oneadmin's name and password from the file; one with a random password is made if there is none."""
    if not path.exists():
        _write_secret(path, f"oneadmin:{secrets.token_urlsafe(18)}\n".encode())
    line = path.read_bytes().decode("utf-8", "replace").strip()
    name, _, password = line.partition(":")
    if not name or not password or "\n" in line or "\ufffd" in line:
        raise ConfigError(f"{path} must hold one line of UTF-8 text, name:password.")
    return name, password


def master_key(path: Path) -> bytes:
    """The key from which each host's agent key is derived; made at the first start."""
    if not path.exists():
        _write_secret(path, secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) < 32:
        raise ConfigError(
            f"{path} is damaged: it must hold 32 bytes. Restore it, or remove it and give agents new keys."
        )
    return key


def installation_id(master: bytes) -> str:
    """Tells this installation's VMs from those of any other: their UUIDs are derived from it."""
    return hashlib.sha256(b"holdfast installation " + master).hexdigest()[:32]


def _write_secret(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


@contextmanager
def loading() -> Iterator[None]:
    """What is made within stays: Python's collector of cycles does not look through it, now or later.

    With 100,000 VMs each look would stop the controller for seconds.  Objects that are replaced are freed all the same:
    they hold no cycles.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def first_objects(engine: Engine, name: str, password: str, datastores_path: Path) -> None:
    """Creates what a new installation lacks, and takes over a changed password of oneadmin."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    known = engine.state.users.get(0)
    if known is None:
        counters = {"User": 2, "Datastore": FIRST_DATASTORE}
        changes = Changes(engine.state.epoch, _new_objects(name, digest, datastores_path), counters=counters)
    elif (known.name, known.password) != (name, digest):
        changes = Changes(engine.state.epoch, [User(0, name, digest)])
    else:
        return
    batch = Batch((), changes=changes)
    engine.commit(batch)
    engine.publish(batch, time.time())


def _new_objects(name: str, digest: str, datastores_path: Path) -> list[Stored]:
    unusable = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    return [
        User(0, name, digest),
        User(1, "serveradmin", unusable, auth_driver="server_cipher"),
        _datastore(0, "system", DatastoreType.SYSTEM_DS, datastores_path),
        _datastore(1, "default", DatastoreType.IMAGE_DS, datastores_path),
        _datastore(2, "files", DatastoreType.FILE_DS, datastores_path),
    ]


def _datastore(oid: int, name: str, kind: DatastoreType, datastores_path: Path) -> Datastore:
    ds_mad = "-" if kind is DatastoreType.SYSTEM_DS else "fs"
    template = Template(
        sorted({**TmConf().attributes_of("shared", kind), "TM_MAD": "shared", "TYPE": kind.name}.items())
    )
    return Datastore(oid, name, kind, "shared", ds_mad, f"{datastores_path}/{oid}", template=template)


def prepare_directories(var: Path, datastores_path: Path) -> None:
    """The directories the daemon writes to; raises ConfigError naming the one that cannot be made."""
    for path, mode in ((var, 0o700), (var / "vms", 0o700), (datastores_path, 0o755)):
        try:
            path.mkdir(parents=True, exist_ok=True, mode=mode)
        except OSError as error:
            raise ConfigError(f"Cannot make directory {path}: {error.strerror}.") from None
    for oid in (0, 1, 2):
        try:
            (datastores_path / str(oid)).mkdir(exist_ok=True, mode=0o755)
        except OSError as error:
            raise HoldfastError(
                f"Cannot make datastore directory {datastores_path / str(oid)}: {error.strerror}."
            ) from None
