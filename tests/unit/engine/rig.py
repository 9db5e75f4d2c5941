"""The production engine over a store in memory, with a clock the test moves and drivers the test speaks for."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.engine import commands as c
from holdfast.engine.commands import Command
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Answered, Called, Event, HostAlive, HostSilent, Resumed
from holdfast.engine.ports import Changes, HookMatcher, HookOrder
from holdfast.engine.settings import Settings
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import DatastoreType, EffectKind
from holdfast.model.failover import Evidence, Failover
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.user import Actor
from holdfast.model.vm import Vm
from holdfast.store.memory import MemoryStore

ONEADMIN = Actor(0, 0, "oneadmin")
SYSTEM = {"TOTALCPU": "400", "TOTALMEMORY": str(8 * 1024 * 1024), "HYPERVISOR": "qemu"}


class NoHooks:
    """A matcher that wakes nothing."""

    def match(
        self, before: Vm | Host | Image | None, after: Vm | Host | Image, hooks: Sequence[Hook]
    ) -> Sequence[HookOrder]:
        """Nothing."""
        return ()


class Rig:
    """An engine to play with; ``orders`` are the effects handed out and not yet answered."""

    def __init__(self, hosts: int = 0, matcher: HookMatcher | None = None, settings: Settings | None = None) -> None:
        self.store = MemoryStore()
        self.now = 1_000_000.0
        self.matcher = matcher or NoHooks()
        self.settings = settings or Settings()
        self._seed()
        self.engine = Engine(self.store, self.settings, self.matcher, self.now)
        self.orders: list[Effect] = []
        for number in range(1, hosts + 1):
            self.add_host(f"host{number}")

    def _seed(self) -> None:
        snapshot = self.store.load()
        system = Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0")
        images = Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", "/ds/1")
        self.store.commit(Changes(snapshot.epoch, [system, images], counters={"Datastore": 100}))

    def restart(self) -> None:
        """The controller is killed and started again: only what was committed is left."""
        self.engine = Engine(self.store, self.settings, self.matcher, self.now)
        self.engine.handle_batch([Resumed()], self.now)
        self.orders = self.engine.open_effects()

    def tell(self, *events: Event) -> Batch:
        """Events reach the engine."""
        batch = self.engine.handle_batch(events, self.now)
        self._collect(batch)
        return batch

    def call(self, command: Command, actor: Actor = ONEADMIN) -> int:
        """A user's call; raises its error."""
        batch = self.engine.handle(Called(actor, command), self.now)
        self._collect(batch)
        answer = batch.answers[0]
        assert isinstance(answer, int)
        return answer

    def _collect(self, batch: Batch) -> None:
        self.orders.extend(batch.effects)
        self.orders = [order for order in self.orders if order.oid in self.engine.state.effects]

    def tick(self, seconds: float = 0.0) -> None:
        """Time passes, in one step, and what is due happens."""
        self.now += seconds
        for _ in range(100):
            events = self.engine.due(self.now)
            if not events:
                return
            self.tell(*events)
        raise AssertionError("the engine does not come to rest")

    def order(self, kind: EffectKind) -> Effect:
        """The one open order of this kind."""
        found = [order for order in self.orders if order.kind is kind]
        assert len(found) == 1, f"{kind}: {[(order.kind.value, order.subject) for order in self.orders]}"
        return found[0]

    def answer(self, kind: EffectKind, ok: bool = True, message: str = "", certain: bool = True, **values: str) -> None:
        """The driver answers its one open order of this kind."""
        self.reply(self.order(kind), Answer(ok, message, certain, values))

    def reply(self, order: Effect, answer: Answer) -> None:
        """The driver answers this order."""
        self.tell(Answered(order.oid, answer))
        self.tick()

    def settle(self, *but: EffectKind) -> None:
        """All drivers succeed, until nothing is left to do (except orders of the kinds named)."""
        for _ in range(1000):
            self.tick()
            open_orders = [order for order in self.orders if order.kind not in but]
            if not open_orders:
                return
            for order in open_orders:
                self.tell(Answered(order.oid, Answer(True)))
        raise AssertionError("the drivers never come to rest")

    def add_host(self, name: str, fence: bool = True) -> int:
        """A host that its agent has reported."""
        oid = self.call(c.AllocateHost(name, "qemu", "qemu"))
        if fence:
            self.call(c.UpdateHost(oid, 'FENCE_AGENT="fence_dummy"', append=True))
        self.tell(HostAlive(oid, f"boot-{name}-1", (), SYSTEM))
        return oid

    def running_vm(self, hid: int, name: str = "vm", memory_mb: int = 96) -> int:
        """A VM that runs on the host."""
        oid = self.call(c.AllocateVm(f'NAME="{name}"\nCPU=0.1\nMEMORY={memory_mb}', hold=True))
        self.call(c.DeployVm(oid, hid))
        self.settle()
        return oid

    def lose(self, hid: int) -> None:
        """The host falls silent."""
        evidence = (Evidence("agent", self.now - 3, "silent", "last beacon 3.0 s ago"),)
        self.tell(HostSilent(hid, self.now - 3, False, evidence))

    def open_failover(self, hid: int, mode: str = "migrate", flags: str = 'PAUSE="2"') -> int:
        """What the hook does."""
        oid = self.call(c.AllocateFailover(hid, mode, flags))
        self.tick()
        return oid

    def vm(self, oid: int) -> Vm:
        """The committed VM."""
        return self.engine.state.vms[oid]

    def host(self, oid: int) -> Host:
        """The committed host."""
        return self.engine.state.hosts[oid]

    def failover(self, oid: int) -> Failover:
        """The committed failover."""
        return self.engine.state.failovers[oid]

    def starts(self) -> list[Effect]:
        """Open orders to start a domain."""
        return [order for order in self.orders if order.kind in (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)]


def template_of(**values: str) -> Template:
    """A template of single values."""
    return Template(values.items())
