"""The committed state in memory, and the draft in which a batch of events is staged.

Readers only ever see :class:`State`; it changes in :meth:`State.publish` alone, after the commit.  A :class:`Draft`
is a layer of new versions over it; drafts nest, so that one refused event of a batch leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from holdfast.engine.ports import Changes, Snapshot, Stored
from holdfast.model.effect import Effect
from holdfast.model.failover import Failover, Proof
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User
from holdfast.model.vm import Vm

T = TypeVar("T", Vm, Host, Datastore, Image, Hook, User, Failover, Proof, Effect)
POOLS: tuple[type[Any], ...] = (Vm, Host, Datastore, Image, Hook, User, Failover, Proof, Effect)
LOG_RETENTION = 20


class State:
    """All committed objects by id."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.epoch = snapshot.epoch
        self.pools: dict[type[Any], dict[int, Any]] = {kind: {} for kind in POOLS}
        self.counters = dict(snapshot.counters)
        self.executions: dict[int, list[HookExecution]] = {}
        for stored in snapshot.objects:
            self.pools[type(stored)][stored.oid] = stored
        for execution in snapshot.executions:
            self._log(execution)

    @property
    def vms(self) -> dict[int, Vm]:
        """All VMs."""
        return self.pools[Vm]

    @property
    def hosts(self) -> dict[int, Host]:
        """All hosts."""
        return self.pools[Host]

    @property
    def datastores(self) -> dict[int, Datastore]:
        """All datastores."""
        return self.pools[Datastore]

    @property
    def images(self) -> dict[int, Image]:
        """All images."""
        return self.pools[Image]

    @property
    def hooks(self) -> dict[int, Hook]:
        """All hooks."""
        return self.pools[Hook]

    @property
    def users(self) -> dict[int, User]:
        """All users."""
        return self.pools[User]

    @property
    def failovers(self) -> dict[int, Failover]:
        """All failovers, finished ones too."""
        return self.pools[Failover]

    @property
    def proofs(self) -> dict[int, Proof]:
        """All proofs of death."""
        return self.pools[Proof]

    @property
    def effects(self) -> dict[int, Effect]:
        """The open effects."""
        return self.pools[Effect]

    def publish(self, changes: Changes) -> None:
        """Makes committed changes visible."""
        self.counters.update(changes.counters)
        for kind, oid in changes.deletes:
            self.pools[kind].pop(oid, None)
            if kind is Hook:
                self.executions.pop(oid, None)
        for stored in changes.puts:
            if isinstance(stored, Effect) and not stored.state.is_open:
                self.pools[Effect].pop(stored.oid, None)
            else:
                self.pools[type(stored)][stored.oid] = stored
        for execution in changes.executions:
            self._log(execution)

    def _log(self, execution: HookExecution) -> None:
        records = self.executions.setdefault(execution.hook_id, [])
        records.append(execution)
        del records[:-LOG_RETENTION]


class Draft:
    """New versions over a base (the state or another draft)."""

    def __init__(self, base: State | Draft) -> None:
        self._base = base
        self._pools: dict[type[Any], dict[int, Any]] = {}
        self.executions: list[HookExecution] = []
        self.counters: dict[str, int] = {}

    def find(self, kind: type[T], oid: int) -> T | None:
        """The newest version, or None."""
        staged = self._pools.get(kind)
        if staged is not None and oid in staged:
            found: T | None = staged[oid]
            return found
        if isinstance(self._base, Draft):
            return self._base.find(kind, oid)
        return self._base.pools[kind].get(oid)

    def put(self, stored: Stored) -> None:
        """Stages a new version."""
        self._pools.setdefault(type(stored), {})[stored.oid] = stored

    def delete(self, kind: type[Any], oid: int) -> None:
        """Stages the removal."""
        self._pools.setdefault(kind, {})[oid] = None

    def all(self, kind: type[T]) -> Iterator[T]:
        """Every object of the kind in its newest version: costs as much as the pool is large."""
        staged = self._pools.get(kind, {})
        for candidate in self._base.all(kind) if isinstance(self._base, Draft) else self._base.pools[kind].values():
            if candidate.oid not in staged:
                yield candidate
        yield from (version for version in list(staged.values()) if version is not None)

    def log(self, execution: HookExecution) -> None:
        """Stages a hook execution record."""
        self.executions.append(execution)

    def counter(self, name: str) -> int:
        """The next value of the counter."""
        if name in self.counters:
            return self.counters[name]
        return self._base.counter(name) if isinstance(self._base, Draft) else self._base.counters.get(name, 0)

    def next_id(self, kind: type[Any]) -> int:
        """A new id of the kind; ids are never used again."""
        value = self.counter(kind.__name__)
        self.counters[kind.__name__] = value + 1
        return value

    def staged(self, kind: type[T]) -> Iterable[T]:
        """What this draft itself changed, without removals."""
        return [version for version in self._pools.get(kind, {}).values() if version is not None]

    def merge(self, child: Draft) -> None:
        """Takes over what a nested draft staged."""
        for kind, versions in child._pools.items():
            self._pools.setdefault(kind, {}).update(versions)
        self.executions.extend(child.executions)
        self.counters.update(child.counters)

    def changes(self, epoch: int) -> Changes:
        """The transaction that makes this draft durable."""
        puts: list[Stored] = []
        deletes: list[tuple[type[Any], int]] = []
        for kind, versions in self._pools.items():
            for oid, version in versions.items():
                if version is None:
                    deletes.append((kind, oid))
                else:
                    puts.append(version)
        return Changes(epoch, puts, deletes, tuple(self.executions), dict(self.counters))
