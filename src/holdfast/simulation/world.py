"""What is really there, whatever the controller believes: machines, the shared storage, BMCs, and the VMs' files.

The world is changed by faults, by the drivers' orders and by its guests.  It is the only source of truth of the
checkers of promise 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.simulation.bmc import Bmc
from holdfast.simulation.chance import Chance
from holdfast.simulation.kernel import Kernel, Promise
from holdfast.simulation.machine import Domain, End, Life, Machine
from holdfast.simulation.story import Story

FRONT_END, NOWHERE = -1, -2
"""Where the files of a VM can be besides hosts."""
SKEW_S = 60.0
"""By how much the clock of the storage may differ from the controller's (as ``drivers/vmm/checkpoint.py``)."""
Watcher = Callable[[Domain, End | None], None]


@dataclass(frozen=True, slots=True)
class Saved:
    """A guest's memory in a file, and when that was written."""

    memory: int
    at: float


class Memories:
    """Which memory of a guest fits its disks: the one that ran last.

    A guest that begins, or goes on where another copy of it might go on as well, has another memory from then on; a
    copy of an older one must never run again, for the disks have changed since.
    """

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}

    def of(self, vm_id: int) -> int:
        """The memory that may run."""
        return self._newest.get(vm_id, 0)

    def runs(self, domain: Domain) -> bool:
        """The domain begins to run; whether it may, with the memory that it has."""
        fits = domain.memory == self.of(domain.vm_id)
        domain.memory = self._newest[domain.vm_id] = self.of(domain.vm_id) + 1
        return fits


class Storage:
    """The shared datastore as the controller reaches it; hosts have paths of their own."""

    def __init__(self) -> None:
        self.stalled = False
        """Nobody gets an answer from it."""
        self.controller_path = True
        self.files: set[int] = set()
        """VMs that have their disks."""
        self.places: dict[int, int] = {}
        """VMs whose system datastore is not shared, and who has their files: a host, FRONT_END or NOWHERE."""
        self.unanswered: dict[int, int] = {}
        """The effect that moved the files of such a VM last, until the controller was told that it did."""
        self.drafts: dict[int, Saved] = {}
        """What hypervisors have written."""
        self.checkpoints: dict[int, Saved] = {}
        """What the controller has seen to be complete."""
        self.used: set[int] = set()
        """VMs that have run from their checkpoint since it was made."""
        self._changed = Promise()

    @property
    def answers_controller(self) -> bool:
        """The controller's own reads and writes get through."""
        return self.controller_path and not self.stalled

    def complete(self, vm_id: int, since: float, now: float) -> bool:
        """The domain is gone: whether its memory was saved in this stay on its host."""
        draft = self.drafts.get(vm_id)
        if draft is not None and draft.at >= since - SKEW_S:
            self.checkpoints[vm_id] = Saved(self.drafts.pop(vm_id).memory, now)
        saved = self.checkpoints.get(vm_id)
        return saved is not None and saved.at >= since

    def use(self, vm_id: int) -> None:
        """The restored guest is about to run."""
        if self.checkpoints.pop(vm_id, None) is not None:
            self.used.add(vm_id)

    def discard(self, vm_id: int) -> None:
        """No memory of the guest is kept."""
        self.drafts.pop(vm_id, None)
        self.checkpoints.pop(vm_id, None)
        self.used.discard(vm_id)

    def remove(self, vm_id: int) -> None:
        """All files of the VM go."""
        self.files.discard(vm_id)
        self.discard(vm_id)

    def change(self) -> Promise:
        """Kept when the storage changes next."""
        return self._changed

    def notify(self) -> None:
        """Something has changed."""
        changed, self._changed = self._changed, Promise()
        changed.keep()


class World:
    """Everything outside the controller."""

    def __init__(self, kernel: Kernel, chance: Chance, story: Story, hosts: int) -> None:
        self.kernel = kernel
        self.chance = chance
        self.story = story
        self.storage = Storage()
        self.memories = Memories()
        self.watchers: list[Watcher] = []
        self.machines = {hid: Machine(kernel, hid, f"host{hid}", self._changed) for hid in range(hosts)}
        self.bmcs = {hid: Bmc(machine, self.storage) for hid, machine in self.machines.items()}
        self.ended_by_itself: set[int] = set()
        """VMs whose guest shut down, or whose QEMU crashed, and which have not run since."""

    def _changed(self, domain: Domain, why: End | None) -> None:
        what = domain.life.value if why is None else f"gone ({why.value})"
        self.story.tell("world: domain of VM {} on {}: {}", domain.vm_id, domain.hid, what)
        if why in (End.GUEST, End.CRASHED):
            self.ended_by_itself.add(domain.vm_id)
        elif domain.life is Life.RUNNING:
            self.ended_by_itself.discard(domain.vm_id)
        for watcher in self.watchers:
            watcher(domain, why)

    def domains_of(self, vm_id: int) -> list[Domain]:
        """Wherever the VM has a domain, and whatever that does."""
        return [machine.domains[vm_id] for machine in self.machines.values() if vm_id in machine.domains]

    def running_on(self, vm_id: int) -> list[int]:
        """The hosts where the VM writes to its disk."""
        return [domain.hid for domain in self.domains_of(vm_id) if domain.life is Life.RUNNING]

    def has_storage(self, machine: Machine) -> bool:
        """The host's reads and writes get through."""
        return machine.storage and not self.storage.stalled

    def peers(self, one: Machine, other: Machine) -> bool:
        """Two hosts hear each other: only a host that is cut off altogether is cut off from its peers."""
        return all(m.powered and (m.hears or m.speaks) for m in (one, other))

    def guest_ends(self, vm_id: int, crashed: bool) -> None:
        """The guest shuts itself down, or its QEMU dies; without a running domain nothing happens."""
        for domain in self.domains_of(vm_id):
            if domain.life is Life.RUNNING:
                self.machines[domain.hid].drop(vm_id, End.CRASHED if crashed else End.GUEST)
