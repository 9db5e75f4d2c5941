"""What libvirtd does on its host when it is told to: start, destroy, save, restore, migrate, go on, operations.

Scripts of the host, not of the controller: they go on when nobody listens any more.  Each returns "" when it did what
it was told, or why not.  The VM's files are on shared storage: a start waits for it, and so does saving.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.simulation.kernel import FOREVER_S, Script
from holdfast.simulation.machine import Domain, End, Life, Machine
from holdfast.simulation.world import Saved, World

GONE = "Domain not found"


@dataclass(frozen=True, slots=True)
class Led:
    """The connections through which the controller leads a migration; each tells whether it is still there."""

    source: Callable[[], bool]
    destination: Callable[[], bool]


class Libvirtd:
    """The calls that one host's libvirtd serves; ``trouble`` is what chance has in store for the order."""

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine

    def look(self) -> Script:
        """Nothing is done: the answer tells what the domain does."""
        yield 0.0
        return ""

    def abort(self, vm_id: int) -> Script:
        """Ends a migration or a saving that is under way."""
        yield 0.01
        domain = self._machine.domains.get(vm_id)
        if domain is not None:
            domain.abort = True
        return ""

    def _storage(self) -> Script:
        while not self._world.has_storage(self._machine):
            waits_for = self._machine if not self._machine.storage else self._world.storage
            yield waits_for.change(), FOREVER_S

    def start(self, vm_id: int, takes_s: float, fails: str) -> Script:
        """Creates the domain; one that is there and runs is left, one left over by a move or a restore made anew."""
        machine = self._machine
        known = machine.domains.get(vm_id)
        if known is not None and known.life in (Life.INCOMING, Life.ARRIVED, Life.PAUSED):
            machine.drop(vm_id, End.ORDERED)
            known = None
        if known is not None and known.life is Life.STARTING:
            while vm_id in machine.domains and machine.domains[vm_id].life is Life.STARTING:
                yield 0.2
            return "" if vm_id in machine.domains else GONE
        if known is not None:
            return ""
        domain = machine.put(vm_id, Life.STARTING)
        trouble = yield from self._comes_up(domain, takes_s, fails)
        if not trouble:
            domain.memory = self._world.memories.of(vm_id)
            machine.put(vm_id, Life.RUNNING)
        return trouble

    def _comes_up(self, domain: Domain, takes_s: float, fails: str) -> Script:
        """The domain's process is there, and opens the disks; why that came to nothing."""
        machine, vm_id = self._machine, domain.vm_id
        yield from self._storage()
        yield takes_s
        if machine.domains.get(vm_id) is not domain:
            return "the domain was destroyed while it started"
        trouble = fails if vm_id in self._world.storage.files else "its disk is not there"
        if trouble:
            machine.drop(vm_id, End.FAILED)
        return trouble

    def restore(self, vm_id: int, takes_s: float, fails: str) -> Script:
        """Creates the domain from its checkpoint, held."""
        machine = self._machine
        saved = self._world.storage.checkpoints.get(vm_id)
        if vm_id in machine.domains:
            return f"there is a domain of VM {vm_id} already"
        if saved is None:
            return "the checkpoint cannot be read"
        domain = machine.put(vm_id, Life.STARTING)
        domain.busy = True
        trouble = yield from self._comes_up(domain, takes_s, fails)
        domain.busy = False
        if not trouble:
            domain.memory = saved.memory
            machine.put(vm_id, Life.PAUSED)
        return trouble

    def go_on(self, vm_id: int) -> Script:
        """Lets a domain that is held, or paused, run."""
        yield 0.01
        domain = self._machine.domains.get(vm_id)
        if domain is not None and domain.life in (Life.PAUSED, Life.ARRIVED):
            self._machine.put(vm_id, Life.RUNNING)
        return ""

    def destroy(self, vm_id: int, fails: str) -> Script:
        """Kills the domain; absent is fine."""
        yield 0.05
        if fails:
            return fails
        self._machine.drop(vm_id, End.ORDERED)
        return ""

    def press_button(self, vm_id: int, takes_s: float, deaf: bool) -> Script:
        """Asks the guest to shut down; it does so later, or takes no notice."""
        yield 0.01
        domain = self._machine.domains.get(vm_id)
        if domain is None:
            return GONE
        domain.deaf = deaf
        if not deaf:
            self._machine.work(self._guest_shuts_down(domain, takes_s))
        return ""

    def _guest_shuts_down(self, domain: Domain, takes_s: float) -> Script:
        yield takes_s
        while domain.life is not Life.RUNNING and self._machine.domains.get(domain.vm_id) is domain:
            yield 1.0
        if self._machine.domains.get(domain.vm_id) is domain:
            self._machine.drop(domain.vm_id, End.GUEST)

    def save(self, vm_id: int, takes_s: float, fails: str) -> Script:
        """Writes the guest's memory to the checkpoint; when that fails the guest goes on."""
        machine = self._machine
        domain = machine.domains.get(vm_id)
        if domain is None:
            return GONE
        if domain.life is not Life.RUNNING:
            return f"the domain is {domain.life.value}"
        domain.abort, domain.busy = False, True
        self._world.storage.drafts.pop(vm_id, None)
        machine.put(vm_id, Life.SAVING)
        yield from self._storage()
        yield takes_s
        domain.busy = False
        if machine.domains.get(vm_id) is not domain:
            return GONE
        if fails or domain.abort:
            machine.put(vm_id, Life.RUNNING)
            return fails or "the saving was aborted"
        self._world.storage.drafts[vm_id] = Saved(domain.memory, self._world.kernel.now)
        machine.drop(vm_id, End.ORDERED)
        return ""

    def operate(self, vm_id: int, takes_s: float, fails: str) -> Script:
        """A change to devices, snapshots or size of a running domain."""
        domain = self._machine.domains.get(vm_id)
        if domain is None or domain.life is not Life.RUNNING:
            return GONE
        yield takes_s
        return fails if self._machine.domains.get(vm_id) is domain else GONE

    def confirm(self, vm_id: int, move: str) -> Script:
        """Marks what has arrived as the newest state of the guest."""
        yield 0.01
        domain = self._machine.domains.get(vm_id)
        if domain is not None:
            domain.confirmed = move
        return ""

    def mark(self, vm_id: int) -> Script:
        """What that mark says."""
        yield 0.01
        domain = self._machine.domains.get(vm_id)
        return domain.confirmed if domain is not None else ""

    def migrate(self, vm_id: int, to: Machine, takes_s: float, fails: str, led: Led) -> Script:
        """Moves the running domain, which is held at the destination then; the controller leads both sides."""
        source, world = self._machine, self._world
        domain = source.domains.get(vm_id)
        if domain is None:
            return ""
        if domain.life is not Life.RUNNING or domain.busy:
            return f"the domain is {domain.life.value}"
        if not world.peers(source, to) or not to.libvirtd or to.hung:
            return f"{to.name} cannot be reached from {source.name}"
        if vm_id in to.domains:
            return f"there is a domain of VM {vm_id} on {to.name} already"
        domain.abort, domain.busy = False, True
        incoming = to.put(vm_id, Life.INCOMING)
        incoming.busy = True
        to.work(self._until_given_up(domain, to, incoming, led))
        try:
            trouble = yield from self._transfer(domain, to, incoming, takes_s, led)
            return trouble or fails or (yield from self._switch(domain, to, incoming, led))
        finally:
            domain.busy = False

    def _transfer(self, domain: Domain, to: Machine, incoming: Domain, takes_s: float, led: Led) -> Script:
        """The guest runs on while its memory goes over."""
        source, world = self._machine, self._world
        for _ in range(max(1, round(takes_s))):
            yield 1.0
            if source.domains.get(domain.vm_id) is not domain or domain.life is not Life.RUNNING:
                return "the guest ended while it was moved"
            if not world.peers(source, to) or to.domains.get(incoming.vm_id) is not incoming:
                return f"the destination {to.name} was lost"
            if domain.abort or not (led.source() and led.destination()):
                return "the migration was aborted"
        return "" if world.has_storage(to) else f"{to.name} has no storage"

    def _until_given_up(self, domain: Domain, to: Machine, incoming: Domain, led: Led) -> Script:
        """The destination forgets a guest that will not arrive: its source or its leader has gone."""
        while to.domains.get(incoming.vm_id) is incoming and incoming.busy:
            if not to.hung and not (domain.busy and led.destination()):
                to.drop(incoming.vm_id, End.FAILED)
                return
            yield 0.5

    def _switch(self, domain: Domain, to: Machine, incoming: Domain, led: Led) -> Script:
        """The source stops, the guest arrives, the source goes.  Whoever loses the leader in between stays held.

        When the leader loses the destination, libvirt lets the source go on, although the guest may have arrived.
        """
        source, vm_id = self._machine, domain.vm_id
        source.put(vm_id, Life.PAUSED)
        yield 0.1
        if to.domains.get(vm_id) is incoming and led.destination() and not to.hung:
            incoming.busy, incoming.memory = False, domain.memory
            to.put(vm_id, Life.ARRIVED)
            yield 0.1
            if led.source() and led.destination():
                if source.domains.get(vm_id) is domain:
                    source.drop(vm_id, End.MOVED)
                return ""
        if led.source() and source.domains.get(vm_id) is domain and domain.life is Life.PAUSED:
            source.put(vm_id, Life.RUNNING)
        return f"the destination {to.name} was lost"
