"""The committed state in memory, and the draft in which a batch of events is staged.

Readers only ever see :class:`State`; it changes in :meth:`State.publish` alone, after the commit.  A :class:`Draft`
is a layer of new versions over it; drafts nest, so that one refused event of a batch leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, TypeVar, cast

from holdfast.engine.lookup import Key, Lookup, key_of
from holdfast.engine.ports import Changes, Snapshot, Stored
from holdfast.engine.room import RoomOrder
from holdfast.failover.placement import Room
from holdfast.model.effect import Effect
from holdfast.model.failover import Failover, Proof
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host
from holdfast.model.repair import Repair
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User
from holdfast.model.vm import Vm

T = TypeVar("T", Vm, Host, Datastore, Image, Hook, User, Failover, Proof, Effect, Repair)
POOLS: tuple[type[Any], ...] = (Vm, Host, Datastore, Image, Hook, User, Failover, Proof, Effect, Repair)
LOG_RETENTION = 20


class State:
    """All committed objects by id; pools are in the order of ids."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.epoch = snapshot.epoch
        self.pools: dict[type[Any], dict[int, Any]] = {kind: {} for kind in POOLS}
        self.counters = dict(snapshot.counters)
        self.executions: dict[int, list[HookExecution]] = {}
        for stored in sorted(snapshot.objects, key=attrgetter("oid")):
            self.pools[type(stored)][stored.oid] = stored
        for execution in snapshot.executions:
            self._log(execution)
        self.lookup = Lookup()
        for stored in snapshot.objects:
            self.lookup.add(stored)
        self.room = RoomOrder(self.hosts.values())

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
    def repairs(self) -> dict[int, Repair]:
        """The repairs of failed transfers, by VM."""
        return self.pools[Repair]

    @property
    def effects(self) -> dict[int, Effect]:
        """The open effects."""
        return self.pools[Effect]

    def matching(self, kind: type[T], key: Key) -> list[T]:
        """The objects that are found by this key (see :mod:`.lookup`), oldest first."""
        return [self.pools[kind][oid] for oid in sorted(self.lookup.ids(kind, key))]

    def publish(self, changes: Changes) -> None:
        """Makes committed changes visible."""
        self.counters.update(changes.counters)
        for kind, oid in changes.deletes:
            self._follow(self.pools[kind].pop(oid, None), None)
            if kind is Hook:
                self.executions.pop(oid, None)
        for stored in changes.puts:
            if isinstance(stored, Effect) and not stored.state.is_open:
                self.pools[Effect].pop(stored.oid, None)
            else:
                pool = self.pools[type(stored)]
                self._follow(pool.get(stored.oid), stored)
                _keep(pool, stored)
        for execution in changes.executions:
            self._log(execution)

    def _follow(self, before: Stored | None, after: Stored | None) -> None:
        """Keeps in step what objects are found by."""
        if key_of(before) != key_of(after):
            self.lookup.drop(before)
            self.lookup.add(after)
        if isinstance(before, Host) or isinstance(after, Host):
            self.room.follow(cast(Host | None, before), cast(Host | None, after))

    def _log(self, execution: HookExecution) -> None:
        records = self.executions.setdefault(execution.hook_id, [])
        records.append(execution)
        del records[:-LOG_RETENTION]


def _keep(pool: dict[int, Any], stored: Stored) -> None:
    """Puts the object into the pool, which stays in the order of ids."""
    is_late = bool(pool) and stored.oid not in pool and stored.oid < next(reversed(pool))
    pool[stored.oid] = stored
    if is_late:
        ordered = sorted(pool.items())
        pool.clear()
        pool.update(ordered)


class Draft:
    """New versions over a base (the state or another draft)."""

    def __init__(self, base: State | Draft) -> None:
        self._base = base
        self._pools: dict[type[Any], dict[int, Any]] = {}
        self._lookup = Lookup()
        self._room: RoomOrder | None = None
        """The order of rooms below and in this draft, once a draft above it has asked."""
        self.executions: list[HookExecution] = []
        self.counters: dict[str, int] = {}

    def find(self, kind: type[T], oid: int) -> T | None:
        """The newest version, or None."""
        staged = self._pools.get(kind)
        if staged is not None and oid in staged:
            found: T | None = staged[oid]
            return found
        return self._find_below(kind, oid)

    def _find_below(self, kind: type[T], oid: int) -> T | None:
        if isinstance(self._base, Draft):
            return self._base.find(kind, oid)
        return self._base.pools[kind].get(oid)

    def put(self, stored: Stored) -> None:
        """Stages a new version."""
        self._pools.setdefault(type(stored), {})[stored.oid] = stored
        self._lookup.add(stored)
        self._room = None

    def delete(self, kind: type[Any], oid: int) -> None:
        """Stages the removal."""
        self._pools.setdefault(kind, {})[oid] = None
        self._room = None

    def all(self, kind: type[T]) -> Iterator[T]:
        """Every object of the kind in its newest version: costs as much as the pool is large."""
        staged = self._pools.get(kind, {})
        for candidate in self._base.all(kind) if isinstance(self._base, Draft) else self._base.pools[kind].values():
            if candidate.oid not in staged:
                yield candidate
        yield from (version for version in list(staged.values()) if version is not None)

    def matching(self, kind: type[T], key: Key) -> list[T]:
        """As :meth:`State.matching`, in their newest version."""
        candidates = (self.find(kind, oid) for oid in sorted(self._ids(kind, key)))
        return [found for found in candidates if found is not None and key_of(found) == key]

    def _ids(self, kind: type[T], key: Key) -> set[int]:
        base = self._base
        below: Iterable[int] = base._ids(kind, key) if isinstance(base, Draft) else base.lookup.ids(kind, key)
        return {*below, *self._lookup.ids(kind, key)}

    def room(self) -> Iterator[Room]:
        """The usable hosts in falling order of free memory."""
        return self._room_below().with_changed(self._pools.get(Host, {}))

    def _room_below(self) -> RoomOrder:
        return self._base._room_so_far() if isinstance(self._base, Draft) else self._base.room

    def _room_so_far(self) -> RoomOrder:
        if self._room is None:
            self._room = self._room_below().copy()
            for oid, version in self._pools.get(Host, {}).items():
                self._room.follow(self._find_below(Host, oid), version)
        return self._room

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

    def staged_anywhere(self, kind: type[T]) -> Iterator[T]:
        """What this draft and those below it changed; an object may come in several versions."""
        yield from self.staged(kind)
        if isinstance(self._base, Draft):
            yield from self._base.staged_anywhere(kind)

    def merge(self, child: Draft) -> None:
        """Takes over what a nested draft staged."""
        if self._room is not None:
            for oid, version in child._pools.get(Host, {}).items():
                self._room.follow(self.find(Host, oid), version)
        for kind, versions in child._pools.items():
            self._pools.setdefault(kind, {}).update(versions)
        self._lookup.update(child._lookup)
        self.executions.extend(child.executions)
        self.counters.update(child.counters)

    def size(self) -> int:
        """How many changes are staged."""
        return sum(map(len, self._pools.values()))

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
