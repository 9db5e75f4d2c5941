"""The tables, portable between SQLite and PostgreSQL.

An object is its id and its text (see :mod:`holdfast.store.codec`), in one table per kind.  Columns beside the text
exist where the store itself selects by them: the state of an effect, the owner and order of a hook's log records.
``meta`` holds the version of this schema and the epoch of the controller that may write.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, literal_column

from holdfast.model.enums import EffectState
from holdfast.model.failover import Failover, Proof
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.repair import Repair
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User
from holdfast.model.vm import Vm

SCHEMA_VERSION = 1
FIRST_EPOCH = 1

# SQLite makes a column the row's own key only when its type is spelt INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData()


def _id(name: str) -> Column[int]:
    return Column(name, _Id, primary_key=True, autoincrement=False)


POOLS: dict[type[Any], Table] = {
    kind: Table(f"{kind.__name__.lower()}_pool", METADATA, _id("oid"), Column("body", Text, nullable=False))
    for kind in (Vm, Host, Datastore, Image, Hook, User, Failover, Proof, Repair)
}

EFFECT = Table(
    "effect",
    METADATA,
    _id("oid"),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

# Literals, not bound values: a database uses a partial index only where it sees the index's own condition.
EFFECT_IS_OPEN = EFFECT.c.state.in_([literal_column(f"'{state.value}'") for state in EffectState if state.is_open])
Index("effect_open", EFFECT.c.oid, sqlite_where=EFFECT_IS_OPEN, postgresql_where=EFFECT_IS_OPEN)

HOOK_LOG = Table(
    "hook_log",
    METADATA,
    _id("hook_id"),
    _id("execution_id"),
    Column("timestamp", BigInteger, nullable=False),
    Column("rc", Integer, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

COUNTER = Table(
    "counter", METADATA, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)

META = Table("meta", METADATA, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
