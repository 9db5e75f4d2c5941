"""The database file: made whole or not at all, recognised as ours before anything writes to it, readable by us alone.

A new database is built beside its final place and renamed into it, so that a file at that place is always complete: one
that is empty or half there was damaged by someone else, and starting afresh on it would forget every VM.  Ours carry
our application id in the file's header.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert
from sqlalchemy.pool import NullPool

from holdfast.model.errors import StoreError
from holdfast.store.epoch import FIRST_EPOCH
from holdfast.store.schema import META, METADATA, SCHEMA_VERSION

MAGIC = b"SQLite format 3\0"
APPLICATION_ID = int.from_bytes(b"Hold")
APPLICATION_ID_AT = slice(68, 72)
"""Where the file format has the application id, big-endian."""


def ensure_directory(directory: Path) -> None:
    """Makes the directory, closed to others, unless there is one."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The store's directory {directory} cannot be made: {error.strerror}.") from error


def prepare(path: Path) -> None:
    """Makes the database unless there is one; refuses a file that is not ours, and leaves it as it is."""
    try:
        if path.exists():
            _recognise(path)
            path.chmod(0o600)
        else:
            _refuse_orphaned_log(path)
            _create(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error.strerror}.") from error


def engine_on(path: Path, busy_timeout_s: float = 0) -> Engine:
    """SQLAlchemy's way to the file, one database transaction for each of its own."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
    )
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin)
    return engine


def identity(path: Path) -> tuple[int, int]:
    """Tells the file from another one of the same name."""
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)


def _leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver's own ones begin late and leave out the definition of tables


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _recognise(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(APPLICATION_ID_AT.stop)
    if not header.startswith(MAGIC):
        raise StoreError(
            f"{path} is not a Holdfast store: it is no SQLite database, or it was damaged. It was left as it is: "
            "put back a copy of the store, or give another path."
        )
    if int.from_bytes(header[APPLICATION_ID_AT]) != APPLICATION_ID:
        raise StoreError(
            f"{path} is not a Holdfast store but the SQLite database of another program. It was left as it is: "
            "give another path."
        )


def _refuse_orphaned_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise StoreError(
            f"{path} is missing, but its log {log.name} is there and may hold the newest changes. Put the database "
            "back beside it; or, to begin with an empty store, move the log away."
        )


def _create(path: Path) -> None:
    growing = path.with_name(path.name + ".new")
    for leftover in (growing, growing.with_name(growing.name + "-journal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(growing, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with engine_on(growing).begin() as connection:
        _lay_out(connection)
    growing.rename(path)
    _sync_directory(path.parent)


def _lay_out(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    METADATA.create_all(connection)
    connection.execute(
        insert(META), [{"key": "schema", "value": str(SCHEMA_VERSION)}, {"key": "epoch", "value": str(FIRST_EPOCH)}]
    )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
