"""A commit in SQL: a list of statements, each with the rows it is executed for, encoded before the database is touched.

What is kept for people to read (closed effects, the hooks' log) is cut back here too, at a cost that depends on what
the commit writes and not on what the store holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Table, bindparam, delete, not_, select
from sqlalchemy.dialects.sqlite import insert  # its ON CONFLICT is PostgreSQL's

from holdfast.engine.ports import Changes, Stored
from holdfast.engine.state import LOG_RETENTION
from holdfast.model.effect import Effect
from holdfast.model.hook import Hook, HookExecution
from holdfast.store.codec import encode
from holdfast.store.schema import COUNTER, EFFECT, EFFECT_IS_OPEN, HOOK_LOG, META, POOLS

EFFECT_RETENTION = 100_000
"""How far below the newest effect's id a closed effect is kept."""

Row = dict[str, Any]
Step = tuple[Executable, list[Row]]

TABLES: Mapping[type[Any], Table] = {**POOLS, Effect: EFFECT}


def _upsert(table: Table) -> Executable:
    statement = insert(table)
    keys = {column.name for column in table.primary_key}
    values = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=sorted(keys), set_=values)


_PUT = {kind: _upsert(table) for kind, table in TABLES.items()}
_DELETE = {kind: delete(table).where(table.c.oid == bindparam("gone")) for kind, table in TABLES.items()}
_FORGET_LOG = delete(HOOK_LOG).where(HOOK_LOG.c.hook_id == bindparam("gone"))
_LOG = _upsert(HOOK_LOG)
_COUNT = _upsert(COUNTER)
_MARK = _upsert(META)
_PRUNE_EFFECTS = delete(EFFECT).where(EFFECT.c.oid <= bindparam("bound"), not_(EFFECT_IS_OPEN))
_PRUNE_LOG = delete(HOOK_LOG).where(
    HOOK_LOG.c.hook_id == bindparam("hook"),
    HOOK_LOG.c.execution_id
    <= select(HOOK_LOG.c.execution_id)
    .where(HOOK_LOG.c.hook_id == bindparam("hook"))
    .order_by(HOOK_LOG.c.execution_id.desc())
    .offset(LOG_RETENTION)
    .limit(1)
    .scalar_subquery(),
)


def steps_of(changes: Changes) -> list[Step]:
    """The statements that store the changes, in the order in which they take effect."""
    return [
        *_deletes(changes.deletes),
        *_puts(changes.puts),
        *_executions(changes.executions),
        *_counters(changes.counters),
    ]


def write(connection: Connection, steps: Sequence[Step]) -> None:
    """Executes the statements, each once for all of its rows."""
    for statement, rows in steps:
        connection.execute(statement, rows)


def overwrite_refused(connection: Connection) -> None:
    """Writes something of no consequence that differs from what is there."""
    connection.execute(_MARK, {"key": "refusals", "value": secrets.token_hex(8)})


def _deletes(deletes: Iterable[tuple[type[Any], int]]) -> Iterator[Step]:
    rows: dict[type[Any], list[Row]] = {}
    for kind, oid in deletes:
        rows.setdefault(kind, []).append({"gone": oid})
    for kind, gone in rows.items():
        yield _DELETE[kind], gone
        if kind is Hook:
            yield _FORGET_LOG, gone


def _puts(puts: Iterable[Stored]) -> Iterator[Step]:
    rows: dict[type[Any], list[Row]] = {}
    for stored in puts:
        rows.setdefault(type(stored), []).append(_row(stored))
    for kind, new in rows.items():
        yield _PUT[kind], new
    bound = max((row["oid"] for row in rows.get(Effect, ())), default=0) - EFFECT_RETENTION
    if bound >= 0:
        yield _PRUNE_EFFECTS, [{"bound": bound}]


def _row(stored: Stored) -> Row:
    row: Row = {"oid": stored.oid, "body": encode(stored)}
    if isinstance(stored, Effect):
        row.update(state=stored.state.value, kind=stored.kind.value, subject=stored.subject)
    return row


def _executions(executions: Sequence[HookExecution]) -> Iterator[Step]:
    if executions:
        yield _LOG, [_log_row(execution) for execution in executions]
        yield _PRUNE_LOG, [{"hook": hook_id} for hook_id in {execution.hook_id for execution in executions}]


def _log_row(execution: HookExecution) -> Row:
    return {
        "hook_id": execution.hook_id,
        "execution_id": execution.execution_id,
        "timestamp": execution.timestamp,
        "rc": execution.code,
        "body": encode(execution),
    }


def _counters(counters: Mapping[str, int]) -> Iterator[Step]:
    if counters:
        yield _COUNT, [{"name": name, "value": value} for name, value in counters.items()]
