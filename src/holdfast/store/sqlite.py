"""The store of a single controller: one SQLite file, used by this process alone.

A commit is on the disk when :meth:`SqliteStore.commit` returns (write-ahead log, synced at every commit); one that
raises has changed nothing, and the next one finds the store usable.  Others may read the file meanwhile, for a backup
or a look; whoever writes to it makes our commits fail after a bounded wait.

Neighbours: :mod:`~holdfast.store.database_file` makes and recognises the file, :mod:`~holdfast.store.exclusive` keeps
other controllers out, :mod:`~holdfast.store.writing` and :mod:`~holdfast.store.reading` hold the SQL.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.ports import Changes, Snapshot
from holdfast.model.errors import StoreError
from holdfast.store.database_file import engine_on, ensure_directory, identity, prepare
from holdfast.store.epoch import refuse_deposed
from holdfast.store.exclusive import ExclusiveUse
from holdfast.store.faults import explain, may_have_reached_the_disk
from holdfast.store.reading import Unfit, read, read_number
from holdfast.store.schema import METADATA, SCHEMA_VERSION
from holdfast.store.writing import overwrite_refused, steps_of, write

LOG_LIMIT_BYTES = 64 * 1024 * 1024
"""How much of the write-ahead log a burst may leave on the disk."""


class SqliteStore:
    """Implements ``engine.ports.Store``; any thread may call it, one call runs at a time."""

    def __init__(self, path: Path | str, busy_timeout_s: float = 2.0) -> None:
        self.path = Path(path).resolve()
        self._turn = threading.Lock()
        ensure_directory(self.path.parent)
        with ExitStack() as held, self._explained():
            held.callback(ExclusiveUse(self.path).release)
            prepare(self.path)
            self._identity = identity(self.path)
            self._connection = engine_on(self.path, busy_timeout_s).connect()
            held.callback(self._connection.close)
            _configure(self._connection)
            _refuse_other_schema(self._connection)
            _add_new_tables(self._connection)
            self._held = held.pop_all()

    def load(self) -> Snapshot:
        """All that was committed; raises StoreError when the file is damaged."""
        with self._turn, self._explained():
            self._refuse_unusable()
            with self._connection.begin():
                return read(self._connection)

    def commit(self, changes: Changes) -> None:
        """Stores the changes durably, all or none; raises StoreError with the reason."""
        steps = steps_of(changes)
        with self._turn, self._explained():
            self._refuse_unusable()
            try:
                with self._connection.begin():
                    refuse_deposed(changes.epoch, stored=read_number(self._connection, "epoch"))
                    write(self._connection, steps)
            except SQLAlchemyError as error:
                if may_have_reached_the_disk(error):
                    self._overwrite_refused()
                raise

    def close(self) -> None:
        """Gives the file back; the store is of no use afterwards."""
        with self._turn:
            self._held.close()

    def _refuse_unusable(self) -> None:
        if self._connection.closed:
            raise StoreError(f"{self.path} is closed: this controller is stopping.")
        if identity(self.path) != self._identity:
            raise StoreError(
                f"{self.path} was moved, removed or replaced while it was in use; nothing was stored. "
                "Put it back, or restart the controller on the file that is there now."
            )

    def _overwrite_refused(self) -> None:
        """Keeps a refused commit from coming back.

        When the disk fails to sync, the commit has been written to the log all the same, and whoever opens the file
        after a crash would find it there and believe it.  A commit of no consequence takes its place in the log; it
        does so even when it cannot be synced either, hence its own failure means nothing.
        """
        with suppress(SQLAlchemyError), self._connection.begin():
            overwrite_refused(self._connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(explain(self.path, error)) from error
        except Unfit as error:
            raise StoreError(f"{self.path}: {error.message}") from error


def _configure(connection: Connection) -> None:
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    (mode,) = driver.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Unfit(f"its file system cannot keep a write-ahead log (journal mode {mode}). Use a local disk.")
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
    driver.execute("PRAGMA temp_store = MEMORY")


def _add_new_tables(connection: Connection) -> None:
    """An older version's file lacks the tables of kinds that came later."""
    with connection.begin():
        METADATA.create_all(connection)


def _refuse_other_schema(connection: Connection) -> None:
    with connection.begin():
        version = read_number(connection, "schema")
    if version != SCHEMA_VERSION:
        raise Unfit(
            f"it has schema {version}, this version of Holdfast knows {SCHEMA_VERSION}. "
            "Run the version that wrote it; it was left as it is."
        )
