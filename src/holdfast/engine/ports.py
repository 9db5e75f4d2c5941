"""What the engine needs from outside, as small protocols, and the values that cross the border.

``Store`` keeps what was decided, ``Driver`` does it, ``HookMatcher`` says which hooks a change wakes.  Production wires
the real ones (``holdfast.serve``), tests and the simulation their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.model.effect import Answer, Effect
from holdfast.model.failover import Failover, Proof
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host
from holdfast.model.repair import Repair
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User
from holdfast.model.vm import Vm

Stored = Vm | Host | Datastore | Image | Hook | User | Failover | Proof | Effect | Repair


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction: objects in their new version, objects that go, log records, and the id counters."""

    epoch: int
    puts: Sequence[Stored] = ()
    deletes: Sequence[tuple[type[Any], int]] = ()
    executions: Sequence[HookExecution] = ()
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the store holds that is still of use: all objects, open effects, the newest log records per hook."""

    epoch: int
    objects: Sequence[Stored] = ()
    executions: Sequence[HookExecution] = ()
    counters: Mapping[str, int] = field(default_factory=dict)


class Store(Protocol):
    """The durable copy of the engine's state."""

    def load(self) -> Snapshot:
        """All that was committed."""

    def commit(self, changes: Changes) -> None:
        """Stores the changes durably, all or none; raises StoreError with the reason."""


@dataclass(frozen=True, slots=True)
class Order:
    """An effect with the objects it speaks of, as they were when it was committed."""

    effect: Effect
    vm: Vm | None = None
    host: Host | None = None
    other: Host | None = None
    """The second host of an order that concerns two: where a live migration goes, where a clean-up looks too."""
    image: Image | None = None
    hook: Hook | None = None
    datastores: Mapping[int, Datastore] = field(default_factory=dict)


class Driver(Protocol):
    """Carries out effects.  Neither method may raise: what goes wrong is an answer."""

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: the answer if it has been done (or has failed for good), None to do it now."""


class HookMatcher(Protocol):
    """Which hooks a state change wakes."""

    def match(
        self, before: Vm | Host | Image | None, after: Vm | Host | Image, hooks: Sequence[Hook]
    ) -> Sequence[HookOrder]:
        """One order for each hook that fires."""


@dataclass(frozen=True, slots=True)
class HookOrder:
    """One execution to come: the argument string is final."""

    hook_id: int
    arguments: str
    remote_host: str = ""
