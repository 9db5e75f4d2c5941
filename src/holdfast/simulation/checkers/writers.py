"""Promise 1, against what is really there: no VM writes to its disk from two hosts, and nothing moves files in use."""

from __future__ import annotations

from holdfast.model.enums import EffectKind
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.machine import Domain, End, Life
from holdfast.simulation.world import World

ONE_WRITER = "no VM is live on two hosts"
NO_RETURN = "no guest goes on from a memory that is older than its disks"
FILES = "no files are moved or removed under a running domain"


class Writers:
    """Told of every change of a domain, at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running: dict[int, set[int]] = {}
        world.watchers.append(self.changed)

    def changed(self, domain: Domain, why: End | None) -> None:
        """A domain appeared, changed or went."""
        running = self._running.setdefault(domain.vm_id, set())
        if why is None and domain.life is Life.RUNNING:
            running.add(domain.hid)
            if len(running) > 1:
                raise Violation(ONE_WRITER, f"VM {domain.vm_id} runs on hosts {sorted(running)}")
            if not self._world.memories.runs(domain):
                raise Violation(NO_RETURN, f"VM {domain.vm_id} goes on on host {domain.hid}, it has run since")
        else:
            running.discard(domain.hid)

    def touched(self, vm_id: int, kind: EffectKind) -> None:
        """A transfer moves or removes the VM's files."""
        at = self._world.running_on(vm_id)
        if at:
            raise Violation(FILES, f"{kind.value} of VM {vm_id}, which runs on host {at[0]}")
