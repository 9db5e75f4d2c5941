"""Hypervisors that outlive the controller: hosts, domains and what guests have lived through, in one file.

Every change is one transaction on that file, under a lock which the kernel drops with the process that holds it, so a
controller may be killed at any instruction and the next one finds the world as it was left.  After each change the
world looks at itself: a VM that is live twice is written down as a violation, and stays written down.

A domain's ``memory`` names the boot that the guest has lived through since, so that a lost or doubled memory shows.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

INCOMING = "incoming"
"""Where a live migration goes to: it executes nothing and writes to no disk until it is handed over."""
STARTING = "starting"
RUNNING = "running"
STOPPING = "shutting down"
SAVING = "being saved"
RESTORING = "being restored"
HANDED_OVER = "handed over"
"""Where a live migration came from: paused, all of its memory is on the other side."""


@dataclass
class Domain:
    """One VM on one host."""

    vm_id: int
    host_id: int
    state: str
    memory: str = ""
    devices: dict[str, str] = field(default_factory=dict)
    """What is plugged in, by name (disk 0, nic 1), and where it leads."""
    snapshots: dict[str, str] = field(default_factory=dict)
    """The memory that each system snapshot holds."""
    size: dict[str, str] = field(default_factory=dict)


@dataclass
class Hosts:
    """All that is true outside the controller."""

    domains: list[Domain] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    """Hosts that nobody can reach; their guests go on."""
    power: dict[str, str] = field(default_factory=dict)
    """By host id, the file in which the host's power switch keeps its position."""
    boots: dict[str, int] = field(default_factory=dict)
    """How often each VM's guest has booted."""
    refusals: list[str] = field(default_factory=list)
    """Actions that fail, as ``action@host``; a test asks for it."""
    violations: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def find(self, vm_id: int, host_id: int) -> Domain | None:
        """The VM's domain on this host."""
        return next((one for one in self.domains if (one.vm_id, one.host_id) == (vm_id, host_id)), None)

    def create(self, vm_id: int, host_id: int, state: str, memory: str = "") -> Domain:
        """A new domain; a hypervisor has one of a name at most."""
        if self.find(vm_id, host_id) is not None:
            self.violations.append(f"VM {vm_id} was created on host {host_id} where it is already")
        domain = Domain(vm_id, host_id, state, memory)
        self.domains.append(domain)
        return domain

    def boot(self, domain: Domain) -> None:
        """The guest begins anew."""
        number = self.boots.get(str(domain.vm_id), 0) + 1
        self.boots[str(domain.vm_id)] = number
        domain.memory = f"of boot {number}"
        domain.state = RUNNING

    def is_on(self, host_id: int) -> bool:
        """Whether the host has power; one without a switch always has."""
        switch = self.power.get(str(host_id))
        return switch is None or Path(switch).read_text(encoding="ascii").strip() != "off"

    def reaches(self, host_id: int) -> bool:
        """Whether the host answers."""
        return host_id not in self.cut and self.is_on(host_id)

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.story.append(text)

    def settle(self) -> None:
        """Hosts that are off have no domains; nothing may be live twice."""
        gone = [one for one in self.domains if not self.is_on(one.host_id)]
        self.domains = [one for one in self.domains if one not in gone]
        self.story.extend(f"power cut: VM {one.vm_id} on host {one.host_id}" for one in gone)
        live = Counter(one.vm_id for one in self.domains if one.state not in (INCOMING, HANDED_OVER))
        self.violations.extend(f"VM {vm_id} is live {count} times" for vm_id, count in live.items() if count > 1)


class World:
    """The file; any process may look at it and change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def change(self) -> Iterator[Hosts]:
        """One transaction: what is done within is there as a whole, and was looked at."""
        with self._locked():
            hosts = self._read()
            hosts.settle()
            yield hosts
            hosts.settle()
            self._write(hosts)

    def look(self) -> Hosts:
        """The world as it is now."""
        with self._locked():
            hosts = self._read()
            known = len(hosts.story), len(hosts.violations)
            hosts.settle()
            if (len(hosts.story), len(hosts.violations)) != known:
                self._write(hosts)
            return hosts

    def reaches(self, host_id: int) -> bool:
        """Whether the host answers."""
        return self.look().reaches(host_id)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> Hosts:
        if not self.path.exists():
            return Hosts()
        raw = json.loads(self.path.read_text(encoding="utf-8"))
        return Hosts(**{**raw, "domains": [Domain(**one) for one in raw["domains"]]})

    def _write(self, hosts: Hosts) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(hosts)), encoding="utf-8")
        draft.replace(self.path)
