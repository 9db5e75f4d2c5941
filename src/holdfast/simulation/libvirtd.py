"""What libvirtd does on its host when it is told to: start, destroy, save, restore, migrate, operations.

Scripts of the host, not of the controller: they go on when nobody listens any more.  Each returns "" when it did what
it was told, or why not.  The VM's files are on shared storage: a start waits for it, and so does saving.
"""

from __future__ import annotations

from holdfast.simulation.kernel import FOREVER_S, Script
from holdfast.simulation.machine import Domain, End, Life, Machine
from holdfast.simulation.world import World

GONE = "Domain not found"
LOST_AFTER = 3


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

    def start(self, vm_id: int, takes_s: float, fails: str, from_checkpoint: bool = False) -> Script:
        """Creates the domain; one that is there and runs is left, one left over by a migration is made anew."""
        machine = self._machine
        known = machine.domains.get(vm_id)
        if known is not None and known.life is Life.INCOMING:
            machine.drop(vm_id, End.ORDERED)
            known = None
        if known is not None and known.life is Life.STARTING:
            while vm_id in machine.domains and machine.domains[vm_id].life is Life.STARTING:
                yield 0.2
            return "" if vm_id in machine.domains else GONE
        if known is not None:
            if known.life is Life.PAUSED:
                machine.drop(vm_id, End.ORDERED)
            else:
                return ""
        return (yield from self._create(vm_id, takes_s, fails, from_checkpoint))

    def _create(self, vm_id: int, takes_s: float, fails: str, from_checkpoint: bool) -> Script:
        machine, storage = self._machine, self._world.storage
        domain = machine.put(vm_id, Life.STARTING)
        yield from self._storage()
        yield takes_s
        if machine.domains.get(vm_id) is not domain:
            return "the domain was destroyed while it started"
        if vm_id not in storage.files:
            fails = "its disk is not there"
        elif from_checkpoint and vm_id not in storage.checkpoints:
            fails = "there is no checkpoint"
        if fails:
            machine.drop(vm_id, End.FAILED)
            return fails
        machine.put(vm_id, Life.RUNNING)
        if from_checkpoint:
            storage.checkpoints.discard(vm_id)
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
        domain.abort = False
        machine.put(vm_id, Life.SAVING)
        yield from self._storage()
        yield takes_s
        if machine.domains.get(vm_id) is not domain:
            return GONE
        if fails or domain.abort:
            machine.put(vm_id, Life.RUNNING)
            return fails or "the saving was aborted"
        self._world.storage.checkpoints.add(vm_id)
        machine.drop(vm_id, End.ORDERED)
        return ""

    def operate(self, vm_id: int, takes_s: float, fails: str) -> Script:
        """A change to devices, snapshots or size of a running domain."""
        domain = self._machine.domains.get(vm_id)
        if domain is None or domain.life is not Life.RUNNING:
            return GONE
        yield takes_s
        return fails if self._machine.domains.get(vm_id) is domain else GONE

    def migrate(self, vm_id: int, to: Machine, takes_s: float, fails: str) -> Script:
        """Moves the running domain; at every moment at most one side runs."""
        machine, world = self._machine, self._world
        domain = machine.domains.get(vm_id)
        if domain is None or domain.life is not Life.RUNNING:
            return GONE
        if not world.peers(machine, to) or not to.libvirtd or to.hung:
            return f"{to.name} cannot be reached from {machine.name}"
        if vm_id in to.domains:
            return f"there is a domain of VM {vm_id} on {to.name} already"
        domain.abort = False
        incoming = to.put(vm_id, Life.INCOMING)
        to.work(self._until_given_up(domain, to, incoming))
        for _ in range(max(1, round(takes_s))):
            yield 1.0
            if machine.domains.get(vm_id) is not domain or domain.life is not Life.RUNNING:
                self._give_up(to, incoming)
                return "the guest ended while it was moved"
            if not world.peers(machine, to) or to.domains.get(vm_id) is not incoming:
                self._give_up(to, incoming)
                return f"the destination {to.name} was lost"
            if domain.abort:
                self._give_up(to, incoming)
                return "the migration was aborted"
        if fails or not world.has_storage(to):
            self._give_up(to, incoming)
            return fails or f"{to.name} has no storage"
        return (yield from self._switch(domain, to, incoming))

    def _until_given_up(self, domain: Domain, to: Machine, incoming: Domain) -> Script:
        """The destination waits for a lost source as long as its keepalive does, and then forgets the guest."""
        missed = 0
        while missed < LOST_AFTER and to.domains.get(incoming.vm_id) is incoming and incoming.life is Life.INCOMING:
            yield 10.0
            there = self._machine.domains.get(domain.vm_id) is domain and self._world.peers(self._machine, to)
            missed = 0 if there else missed + 1
        if to.domains.get(incoming.vm_id) is incoming and incoming.life is Life.INCOMING:
            to.drop(incoming.vm_id, End.FAILED)

    def _give_up(self, to: Machine, incoming: Domain) -> None:
        """The destination forgets the guest, if it can still be told."""
        if self._world.peers(self._machine, to) and to.libvirtd and to.domains.get(incoming.vm_id) is incoming:
            to.drop(incoming.vm_id, End.ORDERED)

    def _switch(self, domain: Domain, to: Machine, incoming: Domain) -> Script:
        """The source stops before the destination runs; who loses the other in between stays paused for good."""
        machine, vm_id = self._machine, domain.vm_id
        machine.put(vm_id, Life.PAUSED)
        yield 0.1
        if to.domains.get(vm_id) is not incoming:
            machine.put(vm_id, Life.RUNNING)
            return f"the destination {to.name} was lost"
        if not self._world.peers(machine, to):
            return "the end of the migration is not known"
        to.put(vm_id, Life.RUNNING)
        yield 0.1
        if machine.domains.get(vm_id) is domain:
            machine.drop(vm_id, End.MOVED)
        return ""
