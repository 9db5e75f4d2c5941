"""One simulated host: power, boots, agent, libvirtd, links, and the domains that are really there.

A domain writes to its VM's disk while it runs.  Whoever wants to know of every change of a domain (the checker of
promise 1, libvirt's events) is told at once.  When the power goes, everything on the host is gone, also the work that
libvirtd had accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from holdfast.simulation.kernel import Kernel, Process, Promise, Script


class Life(Enum):
    """What a domain is doing; only a running one writes."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    SAVING = "saving"
    INCOMING = "incoming"
    ARRIVED = "arrived"
    """It came by a migration, and waits for leave to run."""


class End(Enum):
    """Why a domain is gone."""

    ORDERED = "ordered"
    GUEST = "guest"
    CRASHED = "crashed"
    FAILED = "failed to start"
    MOVED = "moved"
    POWER = "power"


@dataclass(slots=True)
class Domain:
    """A domain of a VM on a host; ``boot_id`` is that of the host when it came."""

    vm_id: int
    hid: int
    life: Life
    boot_id: str
    deaf: bool = False
    """Its guest takes no notice of the power button."""
    abort: bool = False
    """Somebody wants its migration or saving to end."""
    busy: bool = False
    """Libvirt is at work on it: migrating, saving, restoring."""
    confirmed: str = ""
    """The migration that brought it, and whose source was seen to be gone."""
    memory: int = 0
    """Which memory it has (:class:`.world.Memories`)."""


DomainChanged = Callable[[Domain, "End | None"], None]
"""Called after a change: with why it ended, or None while it is there."""


class Machine:
    """A host; ``told`` hears of every change of a domain."""

    def __init__(self, kernel: Kernel, hid: int, name: str, told: DomainChanged) -> None:
        self.hid = hid
        self.name = name
        self.powered = True
        self.boots = 1
        self.agent = True
        self.libvirtd = True
        self.hung = False
        """Libvirtd accepts calls and does not answer them."""
        self.hears = True
        """What the controller sends gets here."""
        self.speaks = True
        """What is sent from here gets to the controller."""
        self.storage = True
        self.beats_every_s = 1.0
        self.session = 0
        """The controller's session, as the agent last heard it."""
        self.seq = 0
        self.domains: dict[int, Domain] = {}
        self.ended: dict[int, tuple[End, str, float]] = {}
        """How the last domain of a VM ended here, in which boot, and when."""
        self.booted_at = 0.0
        self._kernel = kernel
        self._told = told
        self._jobs: list[Process] = []
        self._changed = Promise()
        self.connection_changed: Callable[[], None] = lambda: None
        """Told when power, libvirtd or the network have changed."""
        self._listed: tuple[tuple[int, str], ...] | None = None

    @property
    def boot_id(self) -> str:
        """Another one after each boot."""
        return f"boot-{self.hid}-{self.boots}"

    @property
    def up_s(self) -> float:
        """How long it has been up."""
        return self._kernel.now - self.booted_at

    @property
    def reachable(self) -> bool:
        """Packets get through in both directions."""
        return self.powered and self.hears and self.speaks

    @property
    def writes_heartbeats(self) -> bool:
        """Its agent writes to the shared datastore."""
        return self.powered and self.agent and self.storage

    def processes(self) -> tuple[tuple[int, str], ...]:
        """What the agent finds in /proc: every domain has its process, whatever it does."""
        if self._listed is None:
            self._listed = tuple((vm_id, "RUNNING") for vm_id in sorted(self.domains))
        return self._listed

    def put(self, vm_id: int, life: Life) -> Domain:
        """A domain appears, or does something else from now on."""
        domain = self.domains.get(vm_id)
        if domain is None:
            domain = self.domains[vm_id] = Domain(vm_id, self.hid, life, self.boot_id)
            self._listed = None
        else:
            domain.life = life
        self._told(domain, None)
        return domain

    def drop(self, vm_id: int, why: End) -> None:
        """A domain is gone, if it was there."""
        domain = self.domains.pop(vm_id, None)
        if domain is not None:
            self._listed = None
            self.ended[vm_id] = (why, domain.boot_id, self._kernel.now)
            self._told(domain, why)

    def work(self, script: Script) -> Process:
        """Libvirtd works on a call; the work ends with the host or with libvirtd, not with the caller."""
        process = self._kernel.spawn(script)
        if len(self._jobs) > 20:
            self._jobs = [job for job in self._jobs if job.alive]
        self._jobs.append(process)
        return process

    def change(self) -> Promise:
        """Kept when power, storage or libvirtd change next."""
        return self._changed

    def notify(self) -> None:
        """Something about the host has changed."""
        changed, self._changed = self._changed, Promise()
        changed.keep()
        self.connection_changed()

    def power_off(self) -> None:
        """At once, as if the plug were pulled."""
        if not self.powered:
            return
        self.powered = False
        self._abandon()
        for vm_id in list(self.domains):
            self.drop(vm_id, End.POWER)
        self.notify()

    def power_on(self) -> None:
        """The host boots; none of its domains comes back by itself."""
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self.booted_at = self._kernel.now
        self.agent = self.libvirtd = True
        self.hung = False
        self.session = 0
        self.notify()

    def crash_libvirtd(self) -> None:
        """Its work is lost; the guests live on, but one that was just starting is killed at the restart."""
        self.libvirtd = self.hung = False
        self._abandon()
        self.notify()

    def restart_libvirtd(self) -> None:
        """It runs again, if the host does, and clears what it finds half done."""
        if not self.powered or self.libvirtd:
            return
        self.libvirtd = True
        for domain in list(self.domains.values()):
            if domain.life is Life.STARTING or (domain.life is Life.INCOMING and domain.busy):
                self.drop(domain.vm_id, End.CRASHED)
            elif domain.life is Life.SAVING:
                self.put(domain.vm_id, Life.RUNNING)
            domain.busy = False
        self.notify()

    def _abandon(self) -> None:
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.kill()
