"""What SQLite's errors mean for whoever runs the controller: the cause in plain words, and the way out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

PRIMARY_CODE = 0xFF

AGAIN = "Changes are accepted again as soon as it is, without a restart."
FROM_COPY = "It was left as it is: stop the controller and put back a copy of the store."

CAUSES = {
    sqlite3.SQLITE_FULL: ("its disk is full", f"Free space there. {AGAIN}"),
    sqlite3.SQLITE_READONLY: ("it is read-only", f"Make the file and its directory writable. {AGAIN}"),
    sqlite3.SQLITE_PERM: ("access is denied", f"Make the file and its directory writable. {AGAIN}"),
    sqlite3.SQLITE_IOERR: (
        "reading or writing its disk failed",
        f"Look at the kernel's log and repair the disk. {AGAIN}",
    ),
    sqlite3.SQLITE_BUSY: ("another program holds a lock on it", f"Let that program finish. {AGAIN}"),
    sqlite3.SQLITE_LOCKED: ("another program holds a lock on it", f"Let that program finish. {AGAIN}"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Look at the rights of the file and its directory."),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", FROM_COPY),
    sqlite3.SQLITE_NOTADB: ("it is damaged", FROM_COPY),
}


def explain(path: Path, error: Exception) -> str:
    """One or two sentences on why the database at ``path`` refused; ``error`` is SQLite's or SQLAlchemy's."""
    original = getattr(error, "orig", None) or error
    if _primary_code(error) not in CAUSES:
        return f"{path}: {original}."
    cause, way_out = CAUSES[_primary_code(error)]
    name = getattr(original, "sqlite_errorname", "")
    return f"{path}: {cause} ({original}, {name}). {way_out}"


def may_have_reached_the_disk(error: Exception) -> bool:
    """The disk failed on the way: what was to be refused may yet be found in the log after a crash."""
    return _primary_code(error) == sqlite3.SQLITE_IOERR


def _primary_code(error: Exception) -> int:
    original = getattr(error, "orig", None) or error
    return int(getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & PRIMARY_CODE
