"""A load in SQL: every object, the effects that are still open, the hooks' log, the counters, the epoch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select

from holdfast.engine.ports import Snapshot, Stored
from holdfast.model.effect import Effect
from holdfast.model.errors import StoreError
from holdfast.model.hook import HookExecution
from holdfast.store.codec import decode
from holdfast.store.schema import COUNTER, EFFECT, EFFECT_IS_OPEN, HOOK_LOG, META, POOLS

T = TypeVar("T")

_POOLS = {kind: select(table.c.oid, table.c.body).order_by(table.c.oid) for kind, table in POOLS.items()}
_OPEN_EFFECTS = select(EFFECT.c.oid, EFFECT.c.body).where(EFFECT_IS_OPEN).order_by(EFFECT.c.oid)
_LOG = select(HOOK_LOG.c.hook_id, HOOK_LOG.c.body).order_by(HOOK_LOG.c.hook_id, HOOK_LOG.c.execution_id)
_COUNTERS = select(COUNTER.c.name, COUNTER.c.value)


class Unfit(StoreError):
    """The database holds what this version cannot read; the message leaves it to the store to name the file."""


def read(connection: Connection) -> Snapshot:
    """Everything that is still of use."""
    with _no_collection():
        return _snapshot(connection)


def _snapshot(connection: Connection) -> Snapshot:
    objects: list[Stored] = []
    for kind, statement in _POOLS.items():
        objects.extend(_decoded(connection, kind, statement))
    objects.extend(_decoded(connection, Effect, _OPEN_EFFECTS))
    return Snapshot(
        epoch=read_number(connection, "epoch"),
        objects=objects,
        executions=list(_decoded(connection, HookExecution, _LOG)),
        counters={row.name: row.value for row in connection.execute(_COUNTERS)},
    )


def read_number(connection: Connection, key: str) -> int:
    """A number that the store keeps about itself."""
    found = connection.execute(select(META.c.value).where(META.c.key == key)).scalar_one_or_none()
    if found is None or not found.isdecimal():
        raise Unfit(f"its {key} is {found!r} where a number should be. Put back a copy of the store.")
    return int(found)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing that is loaded can be garbage, yet looking for it again and again took two thirds of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _decoded(connection: Connection, kind: type[T], statement: Select[Any]) -> Iterator[T]:
    for oid, body in connection.execute(statement):
        try:
            yield decode(kind, body)
        except StoreError as error:
            raise Unfit(
                f"{kind.__name__} {oid} cannot be read: {error.message} Run the version of Holdfast that wrote it, "
                "or put back a copy of the store."
            ) from error
